"""What generations are compared by: questions of which something is known about the right answer.

Collects the questions of all sorts that there are for an archive.

A folder of pictures that are held to compare by: `queries.csv` says of each what is to be found, or that nothing is.

Archived pictures, changed as pictures are on their way through chats: the answer to each is known without asking anybody.

What a comparison reads: the archive, and the store of what people ask with, to which it adds its own questions.
"""

import asyncio
import csv
import hashlib
import heapq
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from contracts.errors import BlobMissing, MapSeekError, Reject
from contracts.events import Match, SearchJudged, Verdict
from contracts.ports import BlobStore, Catalogue, CatalogueEntry, FeatureSearch
from contracts.subjects import JUDGEMENTS, kind_filter
from infra.blobs.files import open_blob_store
from infra.nats.connection import Client
from infra.nats.reader import decode_or_warn, read_log
from infra.vision.distortions import change_brightness, crop, reencode
from pipeline.cli.paths import why_unreadable
from pipeline.container import open_catalogue
from pipeline.projections.features import open_feature_projection
from pipeline.projections.snapshots import open_vector_projection
from pipeline.projections.vectors import VectorProjection
from pipeline.settings import Settings
from stages.canonical_image import decode_image, encode_canonical_png

QUERY_TABLE = "queries.csv"
QUERY_COLUMNS = ("file", "expected")
GUILD_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")

SAMPLE_DISTORTIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 40": lambda image: reencode(image, 40),
    "cropped by 10 %": lambda image: crop(image, 0.1, anchor=(0.2, 0.8)),
    "25 % darker": lambda image: change_brightness(image, 0.75),
}
"""They take turns. The crop takes more from one side than from the other, as a hand does."""

DEFAULT_SAMPLE = 50
"""Archived pictures that are asked with where nobody judged anything and nothing is held."""


@dataclass(frozen=True, slots=True)
class GenerationAnswer:
    """What a generation answers: `sure` are the pieces that it calls a match. The verdict is `error` for words it cannot read."""

    verdict: Verdict
    pieces: Sequence[Match]
    sure: Sequence[Match]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class CompareQuery:
    """A question: a `picture` in the store of questions, or `words`.

    `expected` are the images that are right answers, `wrong` those that are known to be none. With neither of them it is known that
    no picture in the archive is right.
    """

    name: str
    kind: str
    guild_id: str
    picture: str | None = None
    words: str | None = None
    expected: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()

    @property
    def unmatched(self) -> bool:
        """Whether it is known that nothing is to be found."""
        return not self.expected and not self.wrong


def select_judged_queries(judgements: Sequence[SearchJudged], archived: Collection[str]) -> list[CompareQuery]:
    """The searches that people judged, in the order in which they were. Pure.

    The last vote of a person on an image counts; where people differ the majority does, and where that is a tie none. Images that
    are not `archived` any more, and searches that are left without any, are left out.
    """
    last = {
        (vote.guild_id, vote.search_id, vote.image_id, vote.voter_id): vote
        for vote in sorted(judgements, key=lambda vote: (vote.judged_at, vote.interaction_id))
    }
    searches: dict[tuple[str, str], list[SearchJudged]] = {}
    for vote in last.values():
        if vote.image_id in archived and (vote.pixels or vote.words):
            searches.setdefault((vote.guild_id, vote.search_id), []).append(vote)
    queries = []
    for (guild_id, search_id), votes in searches.items():
        balance = dict.fromkeys((vote.image_id for vote in votes), 0)
        for vote in votes:
            balance[vote.image_id] += 1 if vote.right else -1
        query = CompareQuery(
            name=f"“{votes[0].words}”" if votes[0].words else f"search {search_id}",
            kind="judged searches",
            guild_id=guild_id,
            picture=votes[0].pixels,
            words=votes[0].words,
            expected=frozenset(image for image, votes_for in balance.items() if votes_for > 0),
            wrong=frozenset(image for image, votes_for in balance.items() if votes_for < 0),
        )
        if not query.unmatched:
            queries.append(query)
    return queries


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    file: str
    expected: str
    guild: str


async def read_held_queries(folder: Path, questions: BlobStore, catalogue: Catalogue, max_pixels: int) -> list[CompareQuery]:
    """The pictures of a folder in the order of its table; they are put in the store of questions.

    A picture is asked in the guild of its answer. One without an answer is asked in the guild that the column `guild` names, or
    else in the one with the most images. Raises MapSeekError for a table, a picture or an answer that is not there.
    """
    lines = await asyncio.to_thread(_read, folder / QUERY_TABLE)
    answers, biggest = await _answers({line.expected for line in lines} - {""}, catalogue)
    queries = []
    for line in lines:
        found = answers.get(line.expected, {})
        if line.expected and not found:
            raise MapSeekError(
                f"{folder / QUERY_TABLE}, line {line.number}: no archived image has the id or the message link {line.expected}: "
                "correct it, or leave it empty if there is no match."
            )
        data = await _read_picture(folder / line.file, max_pixels)
        queries.append(
            CompareQuery(
                name=line.file,
                kind="held pictures",
                guild_id=next(iter(found.values()), line.guild or biggest),
                picture=await questions.put(data),
                expected=frozenset(found),
            )
        )
    return queries


def check_query_folder(folder: Path) -> None:
    """Raise MapSeekError for a table, or a picture of it, that cannot be read."""
    for line in _read(folder / QUERY_TABLE):
        if reason := why_unreadable(folder / line.file):
            raise _unreadable(folder / line.file, reason)


def _read(table: Path) -> list[_Line]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {*QUERY_COLUMNS} <= {*(reader.fieldnames or ())}:
                raise MapSeekError(
                    f"{table} has no columns called {' and '.join(QUERY_COLUMNS)}: add a first line that names them."
                )
            rows = [{name: (value or "").strip() for name, value in row.items() if isinstance(name, str)} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MapSeekError(
            f"{table} cannot be read ({type(error).__name__}): put a table there with the columns {' and '.join(QUERY_COLUMNS)}."
        ) from None
    lines = [_Line(number, row["file"], row["expected"], row.get("guild", "")) for number, row in enumerate(rows, 2)]
    if not lines:
        raise MapSeekError(f"{table} names no picture: add a line for each.")
    for line in lines:
        if line.guild and not GUILD_ID_PATTERN.fullmatch(line.guild):
            raise MapSeekError(f"{table}, line {line.number}: {line.guild!r} is no id of a guild: correct it, or leave it empty.")
    return lines


async def _read_picture(path: Path, max_pixels: int) -> bytes:
    def usable() -> bytes:
        data = path.read_bytes()
        decode_image(data, max_pixels)
        return data

    try:
        return await asyncio.to_thread(usable)
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except Reject as rejected:
        raise MapSeekError(f"The picture {path} cannot be used: {rejected.reason}") from None


def _unreadable(path: Path, reason: str | None) -> MapSeekError:
    return MapSeekError(f"The picture {path} cannot be read ({reason}): correct its name in {QUERY_TABLE}.")


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


async def sample_queries(number: int, blobs: BlobStore, questions: BlobStore, catalogue: Catalogue) -> list[CompareQuery]:
    """So many archived pictures, the same ones each time; the changed ones are put in the store of questions.

    Other posts of the same piece are right answers as well. Pictures whose blob is lost are left out.
    """
    chosen = await _chosen(number, catalogue) if number else []
    pieces: dict[str, set[str]] = {_piece(entry): set() for entry in chosen}
    copies: dict[str, set[str]] = {entry.document["media"]["pixels"]: set() for entry in chosen}
    async for entry in catalogue.scan():
        for alike, key in ((pieces, _piece(entry)), (copies, entry.document.get("media", {}).get("pixels", ""))):
            if key in alike:
                alike[key].add(entry.image_id)
    queries = []
    for turn, entry in enumerate(chosen):
        how = list(SAMPLE_DISTORTIONS)[turn % len(SAMPLE_DISTORTIONS)]
        media, metadata = entry.document["media"], entry.document["metadata"]
        try:
            png = await blobs.get(media["pixels"])
        except BlobMissing:
            continue
        queries.append(
            CompareQuery(
                name=f"{metadata['filename']}, {how}",
                kind=f"sample, {how}",
                guild_id=metadata["guild_id"],
                picture=await questions.put(await asyncio.to_thread(_distorted, png, how)),
                expected=frozenset(pieces[_piece(entry)] | copies[media["pixels"]]),
            )
        )
    return queries


async def _chosen(number: int, catalogue: Catalogue) -> list[CatalogueEntry]:
    """Those whose ids have the least digests: as good as chance, but the same each time."""
    least: list[tuple[int, str, CatalogueEntry]] = []
    async for entry in catalogue.scan():
        if "media" in entry.document and "metadata" in entry.document:
            digest = int.from_bytes(hashlib.sha256(entry.image_id.encode()).digest())
            put = heapq.heappush if len(least) < number else heapq.heappushpop
            put(least, (-digest, entry.image_id, entry))
    return [entry for _, _, entry in sorted(least, reverse=True)]


def _piece(entry: CatalogueEntry) -> str:
    """The first post of the piece, as far as the archive has seen that it is one."""
    repost: dict[str, str] = entry.document.get("repost_of", {})
    return repost.get("image_id", entry.image_id)


def _distorted(png: bytes, how: str) -> bytes:
    return encode_canonical_png(SAMPLE_DISTORTIONS[how](Image.open(BytesIO(png)).convert("RGB")))


@dataclass(frozen=True, slots=True)
class ComparedArchive:
    """The open archive. `questions` keeps a picture for a week after it was last asked with."""

    client: Client
    catalogue: Catalogue
    blobs: BlobStore
    questions: BlobStore
    vectors: VectorProjection
    features: FeatureSearch


@asynccontextmanager
async def open_compared_archive(client: Client, settings: Settings, folder: Path) -> AsyncIterator[ComparedArchive]:
    """Open what lies in the data folder, beside whoever works on it."""
    catalogue = await open_catalogue(settings, folder)
    try:
        blobs, questions = open_blob_store(folder / "blobs"), open_blob_store(folder / "questions")
        async with (
            open_vector_projection(client, folder / "vectors") as vectors,
            open_feature_projection(client, folder / "features", blobs) as features,
        ):
            yield ComparedArchive(client, catalogue, blobs, questions, vectors, features)
    finally:
        await catalogue.close()


async def gather_queries(archive: ComparedArchive, folder: Path | None, sample: int | None, max_pixels: int) -> list[CompareQuery]:
    """The judged searches, then the held pictures, then the sample. Raises MapSeekError when there is none of them."""
    queries = await _judged(archive)
    if folder is not None:
        queries += await read_held_queries(folder, archive.questions, archive.catalogue, max_pixels)
    if sample is None:
        sample = 0 if queries else DEFAULT_SAMPLE
    queries += await sample_queries(sample, archive.blobs, archive.questions, archive.catalogue)
    if not queries:
        raise MapSeekError(
            "There is nothing to compare by: no search is judged yet and no picture archived; give some with --queries."
        )
    return queries


async def _judged(archive: ComparedArchive) -> list[CompareQuery]:
    votes = []
    async with aclosing(read_log(archive.client, JUDGEMENTS, [kind_filter(SearchJudged)])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(recorded.fact, SearchJudged):
                votes.append(recorded.fact)
    queries = select_judged_queries(votes, await archive.catalogue.entries({vote.image_id for vote in votes}))
    return [query for query in queries if query.picture is None or await archive.questions.exists(query.picture)]
