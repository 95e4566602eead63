"""The queries that generations are compared with. Something is known about the right answer to each of them. Three kinds:

- judged: searches on whose answers members voted;
- held: the operator's own pictures in a folder, whose `queries.csv` says for each what should be found, or that nothing should;
- sampled: archived pictures, changed in the way chats change pictures, so that the right answer is known.
"""

import asyncio
import csv
import hashlib
import heapq
import os
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from contracts.errors import BlobMissing, MapSeekError, Reject
from contracts.events import Match, SearchJudged, Verdict
from contracts.ports import BlobStore, Catalogue, CatalogueEntry, FeatureSearch, PictureWorkers
from contracts.subjects import JUDGEMENTS, kind_filter
from infra.blobs.files import open_blob_store
from infra.nats.connection import Client
from infra.nats.reader import decode_or_warn, read_log
from infra.vision.distortions import change_brightness, crop, reencode
from pipeline.cli.paths import why_unreadable
from pipeline.container import open_catalogue, start_workers
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
"""Sampled pictures use these in turn. The crop takes more from one side than from the other, as a person does."""

DEFAULT_SAMPLE = 50
"""How many archived pictures are sampled if there are no judged and no held queries."""


@dataclass(frozen=True, slots=True)
class GenerationAnswer:
    """A generation's answer to one query: `sure` are the pieces that it calls a match.

    The verdict is `error` if the generation's encoder cannot encode the words.
    """

    verdict: Verdict
    pieces: Sequence[Match]
    sure: Sequence[Match]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class CompareQuery:
    """A query: the name of a `picture` in the query store, or `words`.

    `expected` are the images that are right answers, `wrong` those that are known to be wrong. If both are empty, it is known that
    no image in the archive is right.
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
        """Whether it is known that no image is right."""
        return not self.expected and not self.wrong


def select_judged_queries(judgements: Sequence[SearchJudged], archived: Collection[str]) -> list[CompareQuery]:
    """Return the searches that members judged, in the order of their first votes. Pure.

    Of a member's votes on an image only the last one counts. If members disagree, the majority counts; a tie counts as no vote.
    Images that are not `archived` any more are left out, and so are searches without any other image.
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


async def read_held_queries(archive: "ComparedArchive", folder: Path, max_pixels: int) -> list[CompareQuery]:
    """Return queries for the pictures of a folder, in the order of its table. Put the pictures in the query store.

    A picture is searched for in the guild of its answer. One without an answer is searched for in the guild in the column `guild`,
    or else in the guild with the most images. Raises MapSeekError if the table, a picture or an answer is missing.
    """
    lines = await asyncio.to_thread(_read_table, folder / QUERY_TABLE)
    answers, biggest = await _find_answers({line.expected for line in lines} - {""}, archive.catalogue)
    queries = []
    for line in lines:
        found = answers.get(line.expected, {})
        if line.expected and not found:
            raise MapSeekError(
                f"{folder / QUERY_TABLE}, line {line.number}: no archived image has the id or the message link {line.expected}: "
                "correct it, or leave it empty if nothing should match."
            )
        data = await _read_picture(folder / line.file, archive.workers, max_pixels)
        queries.append(
            CompareQuery(
                name=line.file,
                kind="your pictures",
                guild_id=next(iter(found.values()), line.guild or biggest),
                picture=await archive.query_store.put(data),
                expected=frozenset(found),
            )
        )
    return queries


def check_query_folder(folder: Path) -> None:
    """Raise MapSeekError if the folder's table or a picture in it cannot be read."""
    for line in _read_table(folder / QUERY_TABLE):
        if reason := why_unreadable(folder / line.file):
            raise _unreadable(folder / line.file, reason)


def _read_table(table: Path) -> list[_Line]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {*QUERY_COLUMNS} <= {*(reader.fieldnames or ())}:
                raise MapSeekError(f"{table} lacks the columns {' and '.join(QUERY_COLUMNS)}: add a first line that names them.")
            rows = [{name: (value or "").strip() for name, value in row.items() if isinstance(name, str)} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MapSeekError(
            f"{table} cannot be read ({type(error).__name__}): put a table there with the columns {' and '.join(QUERY_COLUMNS)}."
        ) from None
    lines = [_Line(number, row["file"], row["expected"], row.get("guild", "")) for number, row in enumerate(rows, 2)]
    if not lines:
        raise MapSeekError(f"{table} names no picture: add a line for each picture.")
    for line in lines:
        if line.guild and not GUILD_ID_PATTERN.fullmatch(line.guild):
            raise MapSeekError(
                f"{table}, line {line.number}: {line.guild!r} is not the id of a guild: correct it, or leave it empty."
            )
    return lines


async def _read_picture(path: Path, workers: PictureWorkers, max_pixels: int) -> bytes:
    try:
        data = await asyncio.to_thread(path.read_bytes)
        await workers.run(_check_picture, data, max_pixels)
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except Reject as rejected:
        raise MapSeekError(f"The picture {path} cannot be used: {rejected.reason}") from None
    return data


def _check_picture(data: bytes, max_pixels: int) -> None:
    decode_image(data, max_pixels)


def _unreadable(path: Path, reason: str | None) -> MapSeekError:
    return MapSeekError(f"The picture {path} cannot be read ({reason}): correct its name in {QUERY_TABLE}.")


async def _find_answers(wanted: set[str], catalogue: Catalogue) -> tuple[Mapping[str, dict[str, str]], str]:
    """Return the images with their guilds for each wanted id or message link, and the guild that has the most images."""
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


async def sample_queries(number: int, blobs: BlobStore, query_store: BlobStore, catalogue: Catalogue) -> list[CompareQuery]:
    """Return queries for so many archived pictures, the same ones each time. Put the changed pictures in the query store.

    Other posts of the same piece are right answers as well. Pictures whose blob is lost are left out.
    """
    chosen = await _choose_entries(number, catalogue) if number else []
    pieces: dict[str, set[str]] = {_first_post(entry): set() for entry in chosen}
    copies: dict[str, set[str]] = {entry.document["media"]["pixels"]: set() for entry in chosen}
    async for entry in catalogue.scan():
        for alike, key in ((pieces, _first_post(entry)), (copies, entry.document.get("media", {}).get("pixels", ""))):
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
                picture=await query_store.put(await asyncio.to_thread(_distort, png, how)),
                expected=frozenset(pieces[_first_post(entry)] | copies[media["pixels"]]),
            )
        )
    return queries


async def _choose_entries(number: int, catalogue: Catalogue) -> list[CatalogueEntry]:
    """Choose the entries whose ids have the smallest digests: as good as a random choice, but the same each time."""
    least: list[tuple[int, str, CatalogueEntry]] = []
    async for entry in catalogue.scan():
        if "media" in entry.document and "metadata" in entry.document:
            digest = int.from_bytes(hashlib.sha256(entry.image_id.encode()).digest())
            put = heapq.heappush if len(least) < number else heapq.heappushpop
            put(least, (-digest, entry.image_id, entry))
    return [entry for _, _, entry in sorted(least, reverse=True)]


def _first_post(entry: CatalogueEntry) -> str:
    """Return the first post of the entry's piece, if the archive has found that the entry is a repost; else the entry itself."""
    repost: dict[str, str] = entry.document.get("repost_of", {})
    return repost.get("image_id", entry.image_id)


def _distort(png: bytes, how: str) -> bytes:
    return encode_canonical_png(SAMPLE_DISTORTIONS[how](Image.open(BytesIO(png)).convert("RGB")))


@dataclass(frozen=True, slots=True)
class ComparedArchive:
    """The open archive. `query_store` keeps a query's picture for a week after its last use."""

    client: Client
    catalogue: Catalogue
    blobs: BlobStore
    query_store: BlobStore
    vectors: VectorProjection
    features: FeatureSearch
    workers: PictureWorkers


@asynccontextmanager
async def open_compared_archive(client: Client, settings: Settings, folder: Path) -> AsyncIterator[ComparedArchive]:
    """Open the archive in the data folder. Other processes may be working on it."""
    catalogue, workers = await open_catalogue(settings, folder), start_workers(settings, os.cpu_count() or 1)
    try:
        blobs, query_store = open_blob_store(folder / "blobs"), open_blob_store(folder / "questions")
        async with (
            open_vector_projection(client, folder / "vectors") as vectors,
            open_feature_projection(client, folder / "features", blobs) as features,
        ):
            yield ComparedArchive(client, catalogue, blobs, query_store, vectors, features, workers)
    finally:
        await workers.close()
        await catalogue.close()


async def gather_queries(archive: ComparedArchive, folder: Path | None, sample: int | None, max_pixels: int) -> list[CompareQuery]:
    """Return the judged searches, then the held pictures, then the sample. Raises MapSeekError if there are no queries at all."""
    queries = await _read_judged(archive)
    if folder is not None:
        queries += await read_held_queries(archive, folder, max_pixels)
    if sample is None:
        sample = 0 if queries else DEFAULT_SAMPLE
    queries += await sample_queries(sample, archive.blobs, archive.query_store, archive.catalogue)
    if not queries:
        raise MapSeekError(
            "There is nothing to compare with: no search is judged yet and no picture is archived. Give pictures with --queries."
        )
    return queries


async def _read_judged(archive: ComparedArchive) -> list[CompareQuery]:
    votes = []
    async with aclosing(read_log(archive.client, JUDGEMENTS, [kind_filter(SearchJudged)])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(recorded.fact, SearchJudged):
                votes.append(recorded.fact)
    queries = select_judged_queries(votes, await archive.catalogue.entries({vote.image_id for vote in votes}))
    return [query for query in queries if query.picture is None or await archive.query_store.exists(query.picture)]
