"""What is typed after `/find-text`: words to look for, and words with a minus before them that the picture must not show."""

import re
from dataclasses import dataclass

_EXCLUDED = re.compile(r"""(?:^|(?<=\s))[-\N{MINUS SIGN}](?:["“„”]([^"“„”]*)["“„”]|([^\s"“„”-]\S*))""")


@dataclass(frozen=True, slots=True)
class Words:
    """What to look for, in one line, and what to leave out, in the order in which it was typed. Either may be empty."""

    wanted: str
    excluded: tuple[str, ...]


def words_of(query: str) -> Words:
    """`dragon -night -"stone wall"` looks for a dragon, without night or stone walls. A hyphen inside a word belongs to it."""
    found = [_tidy(quoted or single) for quoted, single in _EXCLUDED.findall(query)]
    excluded = tuple(dict.fromkeys(each for each in found if each))
    return Words(_tidy(_EXCLUDED.sub(" ", query)), excluded)


def _tidy(text: str) -> str:
    return " ".join(text.split())
