"""Archive and find local images through the log and the stages that Discord's images use."""

import asyncio
import getpass
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from contracts.envelope import Origin
from contracts.events import (
    Fact,
    ImageFingerprinted,
    ImageIndexed,
    ImagePosted,
    ImageRejected,
    LocalReply,
    Match,
    Person,
    Question,
    SearchAnswered,
    SearchFact,
    SearchMatched,
    SearchRejected,
    SearchRequested,
    StoredFile,
    Verdict,
)
from contracts.ports import BlobStore, Catalogue, Journal
from contracts.subjects import FAILURES, IMAGES, SEARCHES, entity_of, failure_filter, guild_lane_filter, kind_filter
from infra.nats.connection import Client
from infra.nats.reader import decode_or_warn, follow_log, read_last_sequence
from infra.tasks import cancel_tasks
from pipeline.clock import utc_now

LOCAL_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".apng", ".bmp"})
LOCAL_CHANNEL = "local"

FINDABLE_FACTS: tuple[type[Fact], ...] = (ImageFingerprinted, ImageIndexed)
"""The facts that an image needs, in any order, so that searches find it by its fingerprint and by its vector."""

RecordedKinds = dict[tuple[str, str], set[type[Fact]]]
"""Which of these facts are recorded, by image and generation."""


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """The result for one local image. `problem` is None if it is archived, else the reason why not."""

    path: Path
    problem: str | None


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """The answer to one local search. `documents` are the catalogue's, by image id. `matched` is the fact with the matches."""

    path: Path
    verdict: Verdict
    matches: Sequence[Match]
    documents: Mapping[str, Mapping[str, Any]]
    trained: bool
    problem: str | None
    elapsed_ms: float
    matched: SearchMatched | None = None


def list_images_under(paths: Iterable[Path]) -> list[Path]:
    """Return the files among the paths, and the images in the folders among them, in order of their names."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in LOCAL_IMAGE_SUFFIXES and file.is_file())
        else:
            found.append(path)
    return list(dict.fromkeys(found))


async def archive_images(
    client: Client, journal: Journal, blobs: BlobStore, generation: str, guild_id: str, paths: Sequence[Path]
) -> AsyncIterator[ArchiveResult]:
    """Record each file as a post. Yield its result when searches can find it, or when it is rejected or became a dead letter.

    The image id is made from the file's digest. So a file that is archived already is recognised, and one that an earlier run did
    not finish is finished.
    """
    after = await read_last_sequence(client, IMAGES)
    waited_for: dict[str, list[Path]] = {}
    made: RecordedKinds = {}
    for path in paths:
        try:
            fact = await _build_post(path, guild_id, blobs)
        except OSError as error:
            yield ArchiveResult(path, f"cannot be read: {error.strerror}")
            continue
        key = (guild_id, fact.image_id)
        if not await journal.record(fact, Origin(fact.image_id)):
            known = {kind for kind in FINDABLE_FACTS if await journal.holds(kind, *key, generation)}
            if len(known) == len(FINDABLE_FACTS):
                yield ArchiveResult(path, None)
                continue
            if await journal.holds(ImageRejected, *key):
                yield ArchiveResult(path, "was rejected when it was archived before")
                continue
            made[fact.image_id, generation] = known
        waited_for.setdefault(fact.image_id, []).append(path)
    if not waited_for:
        return
    async for image_id, problem in _follow_ends(client, after, made):
        for path in waited_for.pop(image_id, ()):
            yield ArchiveResult(path, problem)
        if not waited_for:
            return


async def _build_post(path: Path, guild_id: str, blobs: BlobStore) -> ImagePosted:
    data, stat = await asyncio.to_thread(lambda: (path.read_bytes(), path.stat()))
    blob = await blobs.put(data)
    uri = path.absolute().as_uri()
    return ImagePosted(
        guild_id=guild_id,
        channel_id=LOCAL_CHANNEL,
        image_id=f"local-{blob[:32]}",
        message_id=f"local-{blob[:32]}",
        author=Person(id="local", name=getpass.getuser()),
        posted_at=datetime.fromtimestamp(stat.st_mtime, UTC),
        filename=path.name,
        message_link=uri,
        source=StoredFile(blob=blob),
        size=len(data),
    )


async def _follow_ends(client: Client, after: int, made: RecordedKinds) -> AsyncIterator[tuple[str, str | None]]:
    """Yield each image that is finished, rejected or dead-lettered, with its problem. Dead letters of earlier runs come first.

    `made` has the facts that were recorded up to the position `after`.
    """
    ended: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()

    async def watch_images() -> None:
        async for message in follow_log(
            client, IMAGES, [*map(kind_filter, FINDABLE_FACTS), kind_filter(ImageRejected)], after=after
        ):
            match (recorded := decode_or_warn(message)) and recorded.fact:
                case ImageFingerprinted() | ImageIndexed() as fact:
                    known = made.setdefault((fact.image_id, fact.generation), set())
                    known.add(type(fact))
                    if len(known) == len(FINDABLE_FACTS):
                        ended.put_nowait((fact.image_id, None))
                case ImageRejected() as fact:
                    ended.put_nowait((fact.image_id, fact.reason))

    async def watch_failures() -> None:
        async for message in follow_log(client, FAILURES, [failure_filter("*", "image"), failure_filter("*", "image", "*")]):
            headers = message.headers or {}
            ended.put_nowait(
                (_read_image_id(headers), f"failed in {headers.get('mapseek-stage')}: {headers.get('mapseek-reason')}")
            )

    watchers = [asyncio.create_task(watch_images()), asyncio.create_task(watch_failures())]
    try:
        while True:
            yield await ended.get()
    finally:
        await cancel_tasks(*watchers)


def _read_image_id(headers: Mapping[str, str]) -> str:
    return entity_of(headers.get("mapseek-subject", ""))[1]


async def find_images(
    client: Client,
    journal: Journal,
    blobs: BlobStore,
    catalogue: Catalogue,
    guild_id: str,
    paths: Sequence[Path],
    *,
    top: int,
    timeout: float,
) -> AsyncIterator[LocalAnswer]:
    """Search for all files at once, and yield the answers in the order of the files. `timeout` is in seconds for each answer."""
    after = await read_last_sequence(client, SEARCHES)
    searches: list[tuple[Path, str, float]] = []
    waiting: dict[str, asyncio.Future[SearchMatched | SearchRejected]] = {}
    for path in paths:
        search_id = secrets.token_hex(16)
        waiting[search_id] = asyncio.get_running_loop().create_future()
        searches.append((path, search_id, monotonic()))
        try:
            blob = await blobs.put(await asyncio.to_thread(path.read_bytes))
        except OSError as error:
            waiting[search_id].set_exception(error)
            continue
        question = Question(asker=Person(id="local", name=getpass.getuser()), requested_at=utc_now(), reply=LocalReply(), top=top)
        fact = SearchRequested(
            guild_id=guild_id, search_id=search_id, question=question, filename=path.name, source=StoredFile(blob=blob)
        )
        await journal.record(fact, Origin(search_id))
    watcher = asyncio.create_task(_collect_results(client, guild_id, after, waiting))
    try:
        for path, search_id, began in searches:
            yield await _await_answer(path, waiting[search_id], began, timeout, catalogue)
    finally:
        await cancel_tasks(watcher)


async def _collect_results(
    client: Client, guild_id: str, after: int, waiting: Mapping[str, asyncio.Future[SearchMatched | SearchRejected]]
) -> None:
    """Set the result of each search to its matches or its rejection when its answer is recorded."""
    results: dict[str, SearchMatched | SearchRejected] = {}
    async for message in follow_log(client, SEARCHES, [guild_lane_filter("search", guild_id)], after=after):
        recorded = decode_or_warn(message)
        if recorded is None or not isinstance(fact := recorded.fact, SearchFact) or fact.search_id not in waiting:
            continue
        if isinstance(fact, SearchMatched | SearchRejected):
            results[fact.search_id] = fact
        elif isinstance(fact, SearchAnswered) and not waiting[fact.search_id].done():
            waiting[fact.search_id].set_result(results[fact.search_id])


async def _await_answer(
    path: Path, result: asyncio.Future[SearchMatched | SearchRejected], began: float, timeout: float, catalogue: Catalogue
) -> LocalAnswer:
    def answer(verdict: Verdict, **more: Any) -> LocalAnswer:
        values = {"matches": (), "documents": {}, "trained": True, "problem": None, **more}
        return LocalAnswer(path=path, verdict=verdict, elapsed_ms=(monotonic() - began) * 1000, **values)

    try:
        fact = await asyncio.wait_for(result, timeout)
    except TimeoutError:
        return answer("error", problem=f"no answer within {timeout:g} s: see `mapseek status`")
    except OSError as error:
        return answer("error", problem=f"cannot be read: {error.strerror}")
    if isinstance(fact, SearchRejected):
        return answer("error", problem=fact.reason)
    entries = await catalogue.entries([match.image_id for match in fact.matches])
    matches = [match for match in fact.matches if match.image_id in entries]
    documents = {image_id: entry.document for image_id, entry in entries.items()}
    verdict: Verdict = fact.verdict if matches or fact.verdict == "none" else "none"
    return answer(verdict, matches=matches, documents=documents, trained=fact.trained, matched=fact)
