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

from pipeline.engine.dead_letters import read_round, remove_server_headers
from pipeline.failures.letters import Letter

MASKED_TEXT = "***"
MAX_VALUE_CHARACTERS = 200
"""Characters of one value: a vector is shown by its beginning."""

ID_PATTERN = re.compile(r"\b(?:[0-9a-f]{64}|\d{15,20}(?:-\d+)?)\b")
"""Blobs, and what Discord numbers."""

TOKEN_PATTERN = re.compile(r'("token"\s*:\s*")[^"]*')
"""In a body that nobody can read."""

DIGEST_PATTERN = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def shorten_digests(text: str) -> str:
    """A blob's name is known by its beginning."""
    return DIGEST_PATTERN.sub(r"\1...", text)


def render_letters(letters: Sequence[Letter]) -> RenderableType:
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
        shown = summarise_letter(letter)
        rounds = f" +{shown['round']}" if shown["round"] else ""
        when = str(shown["buried_at"] or "-")[:19].replace("T", " ")
        cells = (
            letter.id,
            when,
            f"{shown['attempts']}{rounds}",
            shown["entity"] or "-",
            f"{shown['cause']}: {shorten_digests(shown['reason'])}",
        )
        table.add_row(*(Text(str(cell)) for cell in cells))
    counted = Table(box=None, pad_edge=False, show_header=False)
    for reason, number in count_reasons(letters).most_common():
        counted.add_row(Text(str(number)), Text(reason))
    return Group(table, counted)


def count_reasons(letters: Iterable[Letter]) -> Counter[str]:
    """How often a stage gave up for the same reason, whichever image or blob it names."""
    return Counter(f"{letter.worker.stage}: {ID_PATTERN.sub('*', TokenMask(letter)(letter.reason))}" for letter in letters)


def summarise_letter(letter: Letter) -> dict[str, Any]:
    """What a program is told of one in a list."""
    guild, entity = letter.about
    headers, mask = letter.headers, TokenMask(letter)
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
        "round": read_round(headers),
        "buried_at": headers.get("mapseek-buried-at"),
    }


def describe_letter(letter: Letter) -> dict[str, Any]:
    """All of one: what a program is told."""
    mask = TokenMask(letter)
    headers = {name: mask(value) for name, value in remove_server_headers(letter.headers).items() if name != "mapseek-traceback"}
    return summarise_letter(letter) | {"headers": headers, "traceback": mask(_traceback(letter)), "payload": mask.payload}


def render_letter(letter: Letter) -> RenderableType:
    """All of one, for a person."""
    shown = describe_letter(letter)
    headers = Table(box=None, pad_edge=False, show_header=False)
    for name, value in sorted(shown["headers"].items()):
        headers.add_row(Text(name, "bold"), Text(value, overflow="fold"))
    payload = shown["payload"]
    text = payload if isinstance(payload, str) else orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()
    parts: list[RenderableType] = [Text(letter.id, "bold red"), Text(shown["reason"]), Text(), headers, Text()]
    if shown["traceback"]:
        parts += [Text("Traceback", "bold"), Text(shown["traceback"])]
    return Group(*parts, Text("Payload", "bold"), Syntax(text, "json", word_wrap=True, background_color="default"))


class TokenMask:
    """Hides a letter's tokens in any text of it; `payload` is its body without them."""

    def __init__(self, letter: Letter) -> None:
        try:
            body = orjson.loads(letter.body)
        except orjson.JSONDecodeError:
            body = TOKEN_PATTERN.sub(rf"\1{MASKED_TEXT}", letter.body.decode(errors="backslashreplace"))
        self._tokens = set(find_tokens(body))
        self.payload: Any = shorten_payload(body)

    def __call__(self, text: str) -> str:
        return hide_tokens(text, self._tokens)


def find_tokens(value: object) -> Iterable[str]:
    """Every token in a payload."""
    match value:
        case {"token": str() as token, **rest} if token:
            yield token
            yield from find_tokens(rest)
        case dict():
            for each in value.values():
                yield from find_tokens(each)
        case list():
            for each in value:
                yield from find_tokens(each)


def hide_tokens(text: str, tokens: Iterable[str]) -> str:
    """The text with every one of the tokens hidden."""
    for token in tokens:
        text = text.replace(token, MASKED_TEXT)
    return text


def shorten_payload(value: Any) -> Any:
    """A payload as it may be shown: without tokens, long values by their beginning."""
    match value:
        case dict():
            return {name: MASKED_TEXT if name == "token" else shorten_payload(each) for name, each in value.items()}
        case list():
            return [shorten_payload(each) for each in value]
        case str() if len(value) > MAX_VALUE_CHARACTERS:
            return f"{value[:40]}... ({len(value)} characters)"
    return value


def _traceback(letter: Letter) -> str:
    return letter.headers.get("mapseek-traceback", "").replace("\\n", "\n")
