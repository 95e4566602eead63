"""A folder of pictures that are held to compare by: `queries.csv` says of each what is to be found, or that nothing is."""

import asyncio
import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import MapSeekError, Reject
from contracts.ports import BlobStore, Catalogue
from pipeline.cli.paths import why_unreadable
from pipeline.compare.queries import Query
from stages.canonical_image import decode

TABLE = "queries.csv"
COLUMNS = ("file", "expected")
GUILD = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    file: str
    expected: str
    guild: str


async def held_queries(folder: Path, questions: BlobStore, catalogue: Catalogue, max_pixels: int) -> list[Query]:
    """The pictures of a folder in the order of its table; they are put in the store of questions.

    A picture is asked in the guild of its answer. One without an answer is asked in the guild that the column `guild` names, or
    else in the one with the most images. Raises MapSeekError for a table, a picture or an answer that is not there.
    """
    lines = await asyncio.to_thread(_read, folder / TABLE)
    answers, biggest = await _answers({line.expected for line in lines} - {""}, catalogue)
    queries = []
    for line in lines:
        found = answers.get(line.expected, {})
        if line.expected and not found:
            raise MapSeekError(
                f"{folder / TABLE}, line {line.number}: no archived image has the id or the message link {line.expected}: "
                "correct it, or leave it empty if there is no match."
            )
        data = await _read_picture(folder / line.file, max_pixels)
        queries.append(
            Query(
                name=line.file,
                kind="held pictures",
                guild_id=next(iter(found.values()), line.guild or biggest),
                picture=await questions.put(data),
                expected=frozenset(found),
            )
        )
    return queries


def check_held(folder: Path) -> None:
    """Raise MapSeekError for a table, or a picture of it, that cannot be read."""
    for line in _read(folder / TABLE):
        if reason := why_unreadable(folder / line.file):
            raise _unreadable(folder / line.file, reason)


def _read(table: Path) -> list[_Line]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {*COLUMNS} <= {*(reader.fieldnames or ())}:
                raise MapSeekError(f"{table} has no columns called {' and '.join(COLUMNS)}: add a first line that names them.")
            rows = [{name: (value or "").strip() for name, value in row.items() if isinstance(name, str)} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MapSeekError(
            f"{table} cannot be read ({type(error).__name__}): put a table there with the columns {' and '.join(COLUMNS)}."
        ) from None
    lines = [_Line(number, row["file"], row["expected"], row.get("guild", "")) for number, row in enumerate(rows, 2)]
    if not lines:
        raise MapSeekError(f"{table} names no picture: add a line for each.")
    for line in lines:
        if line.guild and not GUILD.fullmatch(line.guild):
            raise MapSeekError(f"{table}, line {line.number}: {line.guild!r} is no id of a guild: correct it, or leave it empty.")
    return lines


async def _read_picture(path: Path, max_pixels: int) -> bytes:
    def usable() -> bytes:
        data = path.read_bytes()
        decode(data, max_pixels)
        return data

    try:
        return await asyncio.to_thread(usable)
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except Reject as rejected:
        raise MapSeekError(f"The picture {path} cannot be used: {rejected.reason}") from None


def _unreadable(path: Path, reason: str | None) -> MapSeekError:
    return MapSeekError(f"The picture {path} cannot be read ({reason}): correct its name in {TABLE}.")


async def _answers(wanted: set[str], catalogue: Catalogue) -> tuple[Mapping[str, dict[str, str]], str]:
    """The guild of each image that is meant by an id or a link, by that id or link; and the guild that has the most images."""
    answers: dict[str, dict[str, str]] = {}
    sizes: dict[str, int] = {}
    async for entry in catalogue.scan():
        if "metadata" not in entry.document:
            continue
        guild = entry.document["metadata"]["guild_id"]
        sizes[guild] = sizes.get(guild, 0) + 1
        for name in wanted & {entry.image_id, entry.document["message_link"]}:
            answers.setdefault(name, {})[entry.image_id] = guild
    return answers, max(sizes, key=lambda guild: sizes[guild], default="local")
