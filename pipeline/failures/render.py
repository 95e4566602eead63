"""Show dead letters to people and programs. Interaction tokens are never shown: anybody could send messages with them."""

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

from contracts.text import escape_controls, escape_json, escape_lines
from pipeline.engine.dead_letters import read_round, remove_server_headers
from pipeline.failures.letters import Letter

MASKED_TEXT = "***"
MAX_VALUE_CHARACTERS = 200
"""A longer value, such as a vector, is cut."""

ID_PATTERN = re.compile(r"\b(?:[0-9a-f]{64}|\d{15,20}(?:-\d+)?)\b")
"""Names of blobs, and Discord's ids."""

TOKEN_PATTERN = re.compile(r'("token"\s*:\s*")[^"]*')
"""A token in a body that cannot be parsed."""

DIGEST_PATTERN = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def shorten_digests(text: str) -> str:
    """Shorten the names of blobs in a text to their beginnings."""
    return DIGEST_PATTERN.sub(r"\1...", text)


def render_letters(letters: Sequence[Letter]) -> RenderableType:
    """Return a table with a row for each dead letter, and how often each reason occurs."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, options in (
        ("id", {"no_wrap": True, "overflow": "fold"}),
        ("given up", {"no_wrap": True}),
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
        table.add_row(*(Text(escape_controls(str(cell))) for cell in cells))
    counted = Table(box=None, pad_edge=False, show_header=False)
    for reason, number in count_reasons(letters).most_common():
        counted.add_row(Text(str(number)), Text(escape_controls(reason)))
    return Group(table, counted)


def count_reasons(letters: Iterable[Letter]) -> Counter[str]:
    """Count how often a stage gave up for the same reason. Ids and names of blobs in the reason make no difference."""
    return Counter(f"{letter.worker.stage}: {ID_PATTERN.sub('*', TokenMask(letter)(letter.reason))}" for letter in letters)


def summarise_letter(letter: Letter) -> dict[str, Any]:
    """Return what `--json` shows of a dead letter in a list."""
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
    """Return what `--json` shows of a single dead letter."""
    mask = TokenMask(letter)
    headers = {name: mask(value) for name, value in remove_server_headers(letter.headers).items() if name != "mapseek-traceback"}
    return summarise_letter(letter) | {"headers": headers, "traceback": mask(_read_traceback(letter)), "payload": mask.payload}


def render_letter(letter: Letter) -> RenderableType:
    """Return a page with a dead letter's headers, traceback and payload."""
    shown = describe_letter(letter)
    headers = Table(box=None, pad_edge=False, show_header=False)
    for name, value in sorted(shown["headers"].items()):
        headers.add_row(Text(escape_controls(name), "bold"), Text(escape_controls(value), overflow="fold"))
    payload = shown["payload"]
    is_parsed = not isinstance(payload, str)
    text = escape_json(orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()) if is_parsed else escape_lines(payload)
    parts: list[RenderableType] = [
        Text(escape_controls(letter.id), "bold red"),
        Text(escape_controls(shown["reason"])),
        Text(),
        headers,
        Text(),
    ]
    if shown["traceback"]:
        parts += [Text("Traceback", "bold"), Text(escape_lines(shown["traceback"]))]
    return Group(*parts, Text("Payload", "bold"), Syntax(text, "json", word_wrap=True, background_color="default"))


class TokenMask:
    """Hides a letter's interaction tokens in any text. `payload` is the letter's body without them."""

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
    """Yield every token in a payload."""
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
    """Return the text with all these tokens hidden."""
    for token in tokens:
        text = text.replace(token, MASKED_TEXT)
    return text


def shorten_payload(value: Any) -> Any:
    """Return a payload that may be shown: without tokens, and with long values cut."""
    match value:
        case dict():
            return {name: MASKED_TEXT if name == "token" else shorten_payload(each) for name, each in value.items()}
        case list():
            return [shorten_payload(each) for each in value]
        case str() if len(value) > MAX_VALUE_CHARACTERS:
            return f"{value[:40]}... ({len(value)} characters)"
    return value


def _read_traceback(letter: Letter) -> str:
    return letter.headers.get("mapseek-traceback", "").replace("\\n", "\n")
