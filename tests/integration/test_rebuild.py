"""Rebuilding a projection from a real log while it answers, and finding what is not as the log says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import MapSeekError, Retry
from contracts.events import (
    Fact,
    GenerationActivated,
    GenerationDropped,
    GenerationStarted,
    ImageDownloaded,
    ImageEmbedded,
    ImagePreprocessed,
    ImageRemoved,
    ImageReposted,
)
from contracts.ports import Catalogue
from contracts.subjects import IMAGES
from infra.mongo.catalogue import open_mongo_catalogue
from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.tail import readable
from infra.sqlite.catalogue import open_sqlite_catalogue
from infra.vectors.snapshot import load
from pipeline import topology
from pipeline.projections import ProjectedIndex, projected_index
from pipeline.rebuild.answering import Report
from pipeline.rebuild.asking import ask_processes
from pipeline.rebuild.catalogue import Rebuilt, rebuild_catalogue
from pipeline.rebuild.index import rebuild_snapshot
from pipeline.rebuild.standstill import standstill
from stages import erase, persist
from tests.suites.facts import MOMENT, posted
from tests.suites.fakes import MemoryCatalogue
from tests.suites.mongo_server import mongo_server
from tests.suites.vector_search import ids_of
from tests.suites.waiting import eventually

IMAGES_POSTED = 40
POSTED_MEANWHILE = 10
ENCODER = {"encoder": "e", "digest": "d", "preprocessing": "p1", "dimensions": 2}


def vector(degrees: float) -> bytes:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], "<f4").tobytes()


def history(image_id: str) -> list[Fact]:
    """What happens to an image in two generations."""
    where = {"guild_id": "7", "channel_id": "8", "image_id": image_id}
    pictures = {"thumbnail": "b" * 64, "width": 128, "height": 128, "format": "PNG"}
    return [
        posted(image_id),
        ImageDownloaded(**where, blob="c" * 64, size=1234),
        ImagePreprocessed(**where, **pictures, pixels="a" * 64, preprocessing="p1"),
        ImageEmbedded(**where, generation="g1", vector=vector(int(image_id))),
        ImageReposted(**where, generation="g1", same_as="3", score=0.98),
        ImagePreprocessed(**where, **pictures, pixels="d" * 64, preprocessing="p2"),
        ImageEmbedded(**where, generation="g2", vector=vector(int(image_id) + 1)),
        ImageReposted(**where, generation="g2", same_as="2", score=0.97),
    ]


def removal(image_id: str) -> ImageRemoved:
    return ImageRemoved(guild_id="7", channel_id="8", image_id=image_id, message_id="10", removed_at=MOMENT, cause="deleted")


def ignored(_: int, __: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
async def log(client: Client, journal: JetStreamJournal) -> JetStreamJournal:
    """A log with the histories of some images, one of them removed, and the durables of two generations."""
    await topology.ensure(client, [])
    await record(journal, GenerationActivated(generation="g1", number=1, **ENCODER))
    await record(
        journal,
        GenerationStarted(generation="g2", model="m", precision="fp32", started_at=MOMENT, **ENCODER | {"preprocessing": "p2"}),
    )
    for number in range(10, 10 + IMAGES_POSTED):
        await record(journal, *history(str(number)))
    await record(journal, removal("12"))
    await topology.ensure(client, [persist.STAGE, erase.STAGE])
    return journal


async def record(journal: JetStreamJournal, *facts: Fact) -> None:
    for fact in facts:
        assert await journal.record(fact, Origin("1"))


@asynccontextmanager
async def persisting(client: Client, catalogue: Catalogue) -> AsyncIterator[None]:
    """The persist stage on every durable of its, ten facts at once and so out of order; it ends when all is persisted."""
    js = client.jetstream()
    names = [info.name for info in await js.consumers_info(IMAGES) if info.name.startswith("persist-")]
    assert sorted(names) == ["persist-image", "persist-image-g1", "persist-image-g2"]

    async def handled(fact: Fact) -> None:
        while True:
            with suppress(Retry):
                await persist.handle(fact, persist.Deps(catalogue))  # type: ignore[arg-type]
                return
            await asyncio.sleep(0.02)  # nobody tells when its post is catalogued

    async def work(name: str) -> None:
        subscription = await js.pull_subscribe_bind(name, stream=IMAGES)
        try:
            while True:
                with suppress(TimeoutError):
                    for message in await subscription.fetch(1, timeout=5):
                        recorded = readable(message)
                        assert recorded is not None
                        await handled(recorded.fact)
                        await message.ack()
        finally:
            await subscription.unsubscribe()  # or what it asked for last would be delivered to nobody

    async def settled() -> bool:
        infos = [await js.consumer_info(IMAGES, name) for name in names]
        return not any(info.num_pending or info.num_ack_pending for info in infos)

    tasks = [asyncio.create_task(work(name)) for name in names for _ in range(10)]
    try:
        yield
        await eventually(settled)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mongo_server(tmp_path_factory.mktemp("mongo")) as server:
        yield server.uri


Opened = Callable[[], Awaitable[Catalogue]]


@pytest.fixture(params=["sqlite", "mongodb"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    """Opens the catalogue, as each process does for itself."""
    async with AsyncExitStack() as stack:

        async def opening() -> Catalogue:
            if request.param == "sqlite":
                catalogue: Catalogue = await open_sqlite_catalogue(tmp_path / "catalogue.sqlite")
            else:
                catalogue = await open_mongo_catalogue(request.getfixturevalue("mongodb"), f"rebuild_{tmp_path.name[:30]}")
            stack.push_async_callback(catalogue.close)
            return catalogue

        yield opening


@pytest.fixture
async def catalogue(opened: Opened, log: JetStreamJournal, client: Client) -> Catalogue:
    """A catalogue that the persist stage filled."""
    catalogue = await opened()
    async with persisting(client, catalogue):
        pass
    return catalogue


@asynccontextmanager
async def answering(catalogue: Catalogue) -> AsyncIterator[list[int]]:
    """Somebody looks images up in it all the time; each time all of them must be there."""
    wanted = [str(number) for number in range(10, 10 + IMAGES_POSTED) if number != 12]
    answers: list[int] = []

    async def look() -> None:
        while True:
            entries = await catalogue.entries(wanted)
            assert sorted(entries) == wanted
            assert all({"metadata", "media", "original", "repost_of"} <= entry.document.keys() for entry in entries.values())
            assert await catalogue.count("7") >= len(wanted)
            answers.append(len(entries))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    try:
        yield answers
    finally:
        looking.cancel()
        outcome = (await asyncio.gather(looking, return_exceptions=True))[0]
    assert isinstance(outcome, asyncio.CancelledError), outcome
    assert answers


async def verified(client: Client, catalogue: Catalogue) -> Rebuilt:
    return await rebuild_catalogue(client, catalogue, verify=True, progress=ignored)


async def test_what_was_persisted_in_any_order_is_what_the_log_says(client: Client, catalogue: Catalogue, opened: Opened) -> None:
    async with answering(await opened()):
        found = await verified(client, catalogue)
    assert (found.comparison.before, found.comparison.different) == (found.comparison.after, 0), found
    assert found.comparison.images == IMAGES_POSTED
    assert found.unsettled == 0


async def test_a_rebuilt_catalogue_is_identical_and_answers_all_the_time(
    client: Client, log: JetStreamJournal, catalogue: Catalogue, opened: Opened
) -> None:
    reader, writer = await opened(), await opened()
    places: list[tuple[int, int]] = []
    async with answering(reader), persisting(client, writer):
        rebuild = asyncio.create_task(
            rebuild_catalogue(client, catalogue, verify=False, progress=lambda done, total: places.append((done, total)))
        )
        for number in range(100, 100 + POSTED_MEANWHILE):
            await record(log, *history(str(number)))
        found = await rebuild
    assert found.comparison.before == found.comparison.after, found
    assert places[-1][0] == places[-1][1] > 0
    assert await reader.count() == IMAGES_POSTED - 1 + POSTED_MEANWHILE
    after = await verified(client, catalogue)
    assert after.comparison.before == after.comparison.after, after
    assert after.comparison.images == IMAGES_POSTED + POSTED_MEANWHILE


async def test_planted_differences_are_found_and_a_rebuild_heals_them(client: Client, catalogue: Catalogue) -> None:
    await catalogue.put_vector("10", "g1", vector(77))
    await catalogue.merge("11", {"media": {"pixels": "e" * 64}})
    await catalogue.remove("13")
    await catalogue.merge("never posted", {"metadata": {"guild_id": "7"}})
    found = (await verified(client, catalogue)).comparison
    assert found.before != found.after
    assert (found.different, found.examples) == (
        4,
        (
            "Image 10 is not as the log says: the vector of g1.",
            "Image 11 is not as the log says: media.",
            "Image 13 is removed, but the log says otherwise.",
            "Image never posted is not in the log.",
        ),
    )
    healed = (await rebuild_catalogue(client, catalogue, verify=False, progress=ignored)).comparison
    assert (healed.before, healed.after) == (found.before, found.after)
    again = (await verified(client, catalogue)).comparison
    assert again.before == again.after == found.after


async def test_a_lost_catalogue_comes_back(client: Client, catalogue: Catalogue) -> None:
    before = (await verified(client, catalogue)).comparison
    await catalogue.clear()
    await rebuild_catalogue(client, catalogue, verify=False, progress=ignored)
    after = (await verified(client, catalogue)).comparison
    assert (after.before, after.after) == (before.after, before.after)
    assert await catalogue.removed("12")


async def test_a_dropped_generation_stays_out(client: Client, log: JetStreamJournal, catalogue: Catalogue) -> None:
    await record(log, GenerationDropped(generation="g2"))
    await catalogue.drop_generation("g2")
    found = (await rebuild_catalogue(client, catalogue, verify=False, progress=ignored)).comparison
    assert found.before == found.after
    assert await catalogue.vector("10", "g2") is None
    assert await catalogue.vector("10", "g1") == vector(10)


async def test_only_one_rebuilds_at_a_time(client: Client, log: JetStreamJournal) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryCatalogue):
        async def beside(self) -> MemoryCatalogue:
            begun.set()
            await goes_on.wait()
            return await super().beside()

    first = asyncio.create_task(verified(client, Slow()))
    await begun.wait()
    with pytest.raises(MapSeekError, match="being rebuilt already"):
        await verified(client, MemoryCatalogue())
    goes_on.set()
    await first
    await verified(client, MemoryCatalogue())


async def test_whoever_writes_is_held_for_a_while_only_and_a_killed_rebuild_holds_nobody_for_ever(
    client: Client, log: JetStreamJournal
) -> None:
    js = client.jetstream()

    async def paused() -> dict[str, float]:
        infos = await js.consumers_info(IMAGES)
        return {info.name: info.pause_remaining or 0 for info in infos if info.paused}

    async with standstill(js) as (held_at, unsettled):
        remaining = await paused()
        assert sorted(remaining) == ["erase-image", "persist-image", "persist-image-g1", "persist-image-g2"]
        assert {place.durable for place in held_at} == set(remaining)
        assert unsettled == 0
    assert await paused() == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


Held = Callable[[], AbstractAsyncContextManager[ProjectedIndex]]


@pytest.fixture
def held(nats_url: str, folder: Path) -> Held:
    """Opens the index, as each process that searches does."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[ProjectedIndex]:
        connection = await connect(nats_url, "a process")
        try:
            async with projected_index(connection, folder) as index:
                yield index
        finally:
            await connection.close()

    return opening


async def asked(client: Client, *, verify: bool, **more: Any) -> list[Report]:
    return await ask_processes(client, verify=verify, heard=lambda _: None, **more)


@asynccontextmanager
async def searching(index: ProjectedIndex) -> AsyncIterator[None]:
    """Somebody searches all the time; every search must find all that it should."""
    wanted = sorted(str(number) for number in range(10, 10 + IMAGES_POSTED) if number != 12)
    searches = 0
    ended = False

    async def search() -> None:
        nonlocal searches
        while not ended:
            found = ids_of(await index.search("7", "g1", vector(10), top=IMAGES_POSTED, channels=["8"]))
            assert sorted(found) == wanted
            searches += 1

    task = asyncio.create_task(search())
    try:
        yield
    finally:
        ended = True
        await task
    assert searches


async def test_every_process_that_holds_the_index_compares_it_with_the_log(
    client: Client, log: JetStreamJournal, held: Held
) -> None:
    async with held() as one, held() as other, searching(one), searching(other):
        reports = await asked(client, verify=True)
    assert [report.state for report in reports] == ["done", "done"]
    digests = {digest for report in reports if report.comparison for digest in (report.comparison.before, report.comparison.after)}
    assert len(digests) == 1
    assert {report.comparison.vectors for report in reports if report.comparison} == {2 * (IMAGES_POSTED - 1)}


async def test_a_rebuilt_index_answers_all_the_time_and_follows_the_log(
    client: Client, log: JetStreamJournal, held: Held, folder: Path
) -> None:
    async with held() as index:
        before = index.index
        async with searching(index):
            (report,) = await asked(client, verify=False)
        assert report.comparison is not None
        assert report.comparison.before == report.comparison.after
        assert index.index is not before
        (saved,) = [load(folder)]
        assert saved is not None
        assert saved.position == report.comparison.position
        await record(log, *history("99"))
        assert ids_of(await index.search("7", "g1", vector(99), top=1, channels=None)) == ["99"]
        (after,) = await asked(client, verify=True)
        assert after.comparison is not None
        assert after.comparison.before == after.comparison.after != report.comparison.after


async def test_a_planted_difference_in_an_index_is_found_and_a_rebuild_heals_it(
    client: Client, log: JetStreamJournal, held: Held
) -> None:
    async with held() as index:
        index.index.add("7", "g1", "10", "8", vector(77))
        for verify, identical in ((True, False), (True, False), (False, False), (True, True)):
            (report,) = await asked(client, verify=verify)
            assert report.comparison is not None
            assert (report.comparison.before == report.comparison.after) is identical


async def test_where_no_process_holds_the_index_the_snapshot_is_rebuilt(
    client: Client, log: JetStreamJournal, held: Held, folder: Path
) -> None:
    assert await asked(client, verify=True) == []
    assert await rebuild_snapshot(client, folder, verify=True, progress=ignored) is None
    made = await rebuild_snapshot(client, folder, verify=False, progress=ignored)
    assert made is not None
    async with held() as index:
        index.index.remove("11")
        with pytest.raises(MapSeekError, match="has the vector index open"):
            await rebuild_snapshot(client, folder, verify=True, progress=ignored)
        await record(log, *history("99"))
        await index.search("7", "g1", vector(99), top=1, channels=None)
    for verify, identical in ((True, False), (False, False), (True, True)):
        found = await rebuild_snapshot(client, folder, verify=verify, progress=ignored)
        assert found is not None
        assert (found.before == found.after) is identical
        assert found.vectors == made.vectors + 2


async def test_a_process_that_dies_in_the_middle_is_told_of(client: Client, log: JetStreamJournal) -> None:
    async def dies(message: Any) -> None:
        await message.respond(Report(process="elsewhere/1").model_dump_json().encode())

    await client.subscribe("mapseek.control.rebuild-index", cb=dies)
    (report,) = await asked(client, verify=True, silent_for=0.5)
    assert report.state == "failed"
    assert "it ended" in report.reason


async def test_a_dropped_generation_leaves_the_index_and_its_snapshot_for_ever(
    client: Client, log: JetStreamJournal, held: Held, folder: Path
) -> None:
    async with held() as index:
        assert await index.search("7", "g2", vector(10), top=1, channels=None)
        await record(log, GenerationDropped(generation="g2"))
        late = ImageEmbedded(guild_id="7", channel_id="8", image_id="99", generation="g2", vector=vector(99))
        await record(log, late)
        assert list(await index.search("7", "g2", vector(10), top=1, channels=None)) == []
        assert index.count("g1") == IMAGES_POSTED - 1
    saved = load(folder)
    assert saved is not None
    assert saved.dropped == {"g2"}
    assert {generation for _, generation in saved.shards} == {"g1"}
    async with held() as index:
        await record(log, late.model_copy(update={"image_id": "98"}))
        assert list(await index.search("7", "g2", vector(10), top=1, channels=None)) == []
        (report,) = await asked(client, verify=True)
        assert report.comparison is not None
        assert report.comparison.before == report.comparison.after
