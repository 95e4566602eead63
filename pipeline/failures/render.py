"""Dead letters for people and for programs. Tokens of interactions, by which anybody could answer them, are never shown."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from pipeline.engine.dead_letters import round_of, without_servers
from pipeline.failures.letters import Letter

HIDDEN = "***"
LONGEST = 200
"""Characters of one value: a vector is shown by its beginning."""

NAMES = re.compile(r"\b(?:[0-9a-f]{64}|\d{15,20}(?:-\d+)?)\b")
"""Blobs, and what Discord numbers."""

TOKEN = re.compile(r'("token"\s*:\s*")[^"]*')
"""In a body that nobody can read."""

DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def briefly(text: str) -> str:
    """A blob's name is known by its beginning."""
    return DIGEST.sub(r"\1...", text)


def as_table(letters: Sequence[Letter]) -> RenderableType:
    """A row for each, and at the end how often there is each reason."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, options in (
        ("id", {"no_wrap": True, "overflow": "fold"}),
        ("buried", {"no_wrap": True}),
        ("attempts", {"justify": "right"}),
        ("about", {"overflow": "fold"}),
        ("reason", {"overflow": "fold"}),
    ):
        table.add_column(heading, **options)
    for letter in letters:
        shown = summary(letter)
        rounds = f" +{shown['round']}" if shown["round"] else ""
        when = str(shown["buried_at"] or "-")[:19].replace("T", " ")
        cells = (
            letter.id,
            when,
            f"{shown['attempts']}{rounds}",
            shown["entity"] or "-",
            f"{shown['cause']}: {briefly(shown['reason'])}",
        )
        table.add_row(*(Text(str(cell)) for cell in cells))
    counted = Table(box=None, pad_edge=False, show_header=False)
    for reason, number in by_reason(letters).most_common():
        counted.add_row(Text(str(number)), Text(reason))
    return Group(table, counted)


def by_reason(letters: Iterable[Letter]) -> Counter[str]:
    """How often a stage gave up for the same reason, whichever image or blob it names."""
    return Counter(f"{letter.worker.stage}: {NAMES.sub('*', Mask(letter)(letter.reason))}" for letter in letters)


def summary(letter: Letter) -> dict[str, Any]:
    """What a program is told of one in a list."""
    guild, entity = letter.about
    headers, mask = letter.headers, Mask(letter)
    return {
        "id": letter.id,
        "stage": letter.worker.stage,
        "lane": letter.worker.family,
        "generation": letter.worker.generation,
        "guild_id": guild,
        "entity": entity,
        "cause": headers.get("mapseek-cause"),
        "reason": mask(letter.reason),
        "attempts": int(headers.get("mapseek-attempts", 0)),
        "round": round_of(headers),
        "buried_at": headers.get("mapseek-buried-at"),
    }


def full(letter: Letter) -> dict[str, Any]:
    """All of one: what a program is told."""
    mask = Mask(letter)
    headers = {name: mask(value) for name, value in without_servers(letter.headers).items() if name != "mapseek-traceback"}
    return summary(letter) | {"headers": headers, "traceback": mask(_traceback(letter)), "payload": mask.payload}


def as_page(letter: Letter) -> RenderableType:
    """All of one, for a person."""
    shown = full(letter)
    headers = Table(box=None, pad_edge=False, show_header=False)
    for name, value in sorted(shown["headers"].items()):
        headers.add_row(Text(name, "bold"), Text(value, overflow="fold"))
    payload = shown["payload"]
    text = payload if isinstance(payload, str) else orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()
    parts: list[RenderableType] = [Text(letter.id, "bold red"), Text(shown["reason"]), Text(), headers, Text()]
    if shown["traceback"]:
        parts += [Text("Traceback", "bold"), Text(shown["traceback"])]
    return Group(*parts, Text("Payload", "bold"), Syntax(text, "json", word_wrap=True, background_color="default"))


class Mask:
    """Hides a letter's tokens in any text of it; `payload` is its body without them."""

    def __init__(self, letter: Letter) -> None:
        try:
            body = orjson.loads(letter.body)
        except orjson.JSONDecodeError:
            body = TOKEN.sub(rf"\1{HIDDEN}", letter.body.decode(errors="backslashreplace"))
        self._tokens = set(tokens_in(body))
        self.payload: Any = shown_of(body)

    def __call__(self, text: str) -> str:
        return without_tokens(text, self._tokens)


def tokens_in(value: object) -> Iterable[str]:
    """Every token in a payload."""
    match value:
        case {"token": str() as token, **rest} if token:
            yield token
            yield from tokens_in(rest)
        case dict():
            for each in value.values():
                yield from tokens_in(each)
        case list():
            for each in value:
                yield from tokens_in(each)


def without_tokens(text: str, tokens: Iterable[str]) -> str:
    """The text with every one of the tokens hidden."""
    for token in tokens:
        text = text.replace(token, HIDDEN)
    return text


def shown_of(value: Any) -> Any:
    """A payload as it may be shown: without tokens, long values by their beginning."""
    match value:
        case dict():
            return {name: HIDDEN if name == "token" else shown_of(each) for name, each in value.items()}
        case list():
            return [shown_of(each) for each in value]
        case str() if len(value) > LONGEST:
            return f"{value[:40]}... ({len(value)} characters)"
    return value


def _traceback(letter: Letter) -> str:
    return letter.headers.get("mapseek-traceback", "").replace("\\n", "\n")
