"""Removals by the real stages on a real log, blob store and catalogue: whenever an image is removed, only its tombstone is left."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from PIL import Image

from contracts.envelope import Origin
from contracts.events import (
    DiscordFile,
    ImageDownloaded,
    ImageFact,
    ImageFingerprinted,
    ImagePosted,
    ImageRemoved,
    Person,
    RemovalRequested,
    StoredFile,
)
from contracts.stage import Stage
from contracts.subjects import consumer_name
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.nats.connection import LogAddress
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import LogPosts
from infra.sqlite.catalogue import SqliteCatalogue, open_sqlite_catalogue
from pipeline.engine import consumers, topology
from pipeline.engine.job import Job, Runtime
from pipeline.engine.metrics import Metrics
from pipeline.engine.worker import open_workers
from stages import download, erase, fingerprint, persist, preprocess, remove
from tests.support.bench_stage import BENCH_POLICY, count_unsettled
from tests.support.facts import MOMENT, founding_facts, posted
from tests.support.fakes import MemoryFingerprinter
from tests.support.files import encode_image
from tests.support.posts import hidden, shown
from tests.support.waiting import eventually
from tests.support.workers import ThreadWorkers

STAGES = (download.STAGE, preprocess.STAGE, fingerprint.STAGE, persist.STAGE, remove.STAGE, erase.STAGE)
PICTURES = [encode_image(Image.new("RGB", (8, 8), (shade, 0, 0)), "PNG") for shade in range(10)]


class NoCdn:
    """A downloader that must not be used: every picture of these tests is stored already."""

    async def fetch(self, file: DiscordFile) -> bytes:
        raise AssertionError(file)


def find_generation_name(stage: Stage[Any]) -> str | None:
    """Return the generation that a stage works for in its first lane, None if it does not work by generation."""
    return "g1" if stage is fingerprint.STAGE else None


class Archive:
    """A pipeline without an encoder."""

    def __init__(self, client: Client, journal: JetStreamJournal, catalogue: SqliteCatalogue, root: Path) -> None:
        self.client = client
        self.journal = journal
        self.catalogue = catalogue
        self.root = root
        self.blobs: FileBlobStore = open_blob_store(root)
        self.log = LogErasure(client)

    @asynccontextmanager
    async def working(self, address: LogAddress) -> AsyncIterator[None]:
        """Run all stages, with a grace so short that blobs are deleted as soon as possible."""
        await topology.ensure_topology(self.client, STAGES)
        deps: list[object] = [
            download.Deps(NoCdn(), self.blobs),
            preprocess.Deps(self.blobs, ThreadWorkers(), lambda: (preprocess.DEFAULT_PREPROCESSING,)),
            fingerprint.Deps(self.blobs, MemoryFingerprinter(), self.journal, lambda: fingerprint.DEFAULT_METHOD, "g1"),
            persist.Deps(self.catalogue),
            remove.Deps(LogPosts(self.client), self.log),
            erase.Deps(self.catalogue, self.blobs, self.log, grace=timedelta(seconds=0.3)),
        ]
        runtime = Runtime(self.journal, Metrics(), BENCH_POLICY)
        async with open_workers(address, "test", runtime, lambda _consumer: None) as crew:
            for stage, each in zip(STAGES, deps, strict=True):
                await crew.add(Job(stage, stage.families[0], each, find_generation_name(stage)), 2)
            try:
                yield
            finally:
                runtime.stopping.set()

    async def post(self, image_id: str, picture: bytes, **fields: object) -> ImagePosted:
        source = StoredFile(blob=await self.blobs.put(picture))
        post = posted(image_id).model_copy(update={"source": source, "message_id": f"1{image_id}", **fields})
        assert await self.journal.record(post, Origin("m"))
        return post

    async def request(self, scope: str, target: str, **more: Any) -> None:
        request = RemovalRequested(
            guild_id="7",
            removal_id=f"deleted-{target}",
            scope=scope,  # type: ignore[arg-type]
            target=target,
            cause="deleted",
            requested_at=MOMENT,
            **more,
        )
        await self.journal.record(request, Origin("r"))

    async def is_idle(self) -> bool:
        """Return whether no stage has work left in its first lane."""
        for stage in STAGES:
            stream = "REMOVALS" if stage is remove.STAGE else "IMAGES"
            if await count_unsettled(
                self.client, stream, consumer_name(stage.name, stage.families[0], find_generation_name(stage))
            ):
                return False
        return True

    async def list_fact_types(self, image_id: str) -> set[type[ImageFact]]:
        return {type(fact) for fact in await self.history(image_id)}

    async def history(self, image_id: str) -> Sequence[ImageFact]:
        facts, _ = await self.log.history("7", image_id)
        return facts

    async def list_catalogued(self, image_ids: list[str]) -> set[str]:
        return {blob for image in image_ids for blob in erase.list_blobs(await self.history(image))}

    def list_stored(self) -> set[str]:
        return {path.name for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def use_short_ack_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the acknowledgement time: while messages are purged, some that were put back are redelivered only after it."""
    monkeypatch.setattr(consumers, "ACK_WAIT_S", 1.0)


@pytest.fixture
async def archive(client: Client, journal: JetStreamJournal, tmp_path: Path) -> AsyncIterator[Archive]:
    await topology.ensure_topology(client, [])
    for fact in founding_facts():
        assert await journal.record(fact, Origin("g1"))
    catalogue = await open_sqlite_catalogue(tmp_path / "catalogue.sqlite")
    yield Archive(client, journal, catalogue, tmp_path / "blobs")
    await catalogue.close()


@pytest.mark.parametrize("seed", range(2))
async def test_images_removed_at_any_moment_leave_nothing_and_others_stay_complete(
    archive: Archive, log_address: LogAddress, seed: int
) -> None:
    chance = random.Random(seed)
    kept = [f"{number:03}" for number in range(10)]
    removed = [f"{number:03}" for number in range(10, 50)]
    async with archive.working(log_address):
        for image in kept:
            await archive.post(image, chance.choice(PICTURES[:5]))
        await eventually(archive.is_idle)

        async def post_and_remove(image: str) -> None:
            post = await archive.post(image, chance.choice(PICTURES))
            await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05, 0.2]))
            await archive.request("message", post.message_id)

        await asyncio.gather(*(post_and_remove(image) for image in removed))
        await eventually(archive.is_idle, timeout=60)
    for image in removed:
        assert await archive.list_fact_types(image) == {ImageRemoved}
        assert await archive.catalogue.is_removed(image)
        assert not await archive.journal.record(posted(image).model_copy(update={"message_id": f"1{image}"}), Origin("back-fill"))
    for image in kept:
        assert await archive.list_fact_types(image) >= {ImagePosted, ImageDownloaded, ImageFingerprinted}
    assert [entry.image_id async for entry in archive.catalogue.scan()] == kept
    assert archive.list_stored() == await archive.list_catalogued(kept)


async def test_facts_that_a_running_stage_records_after_the_erasure_are_erased_too(
    archive: Archive, log_address: LogAddress
) -> None:
    async with archive.working(log_address):
        post = await archive.post("1", PICTURES[0])
        await archive.request("message", post.message_id)
        await eventually(archive.is_idle)
        assert await archive.list_fact_types("1") == {ImageRemoved}
        blob = await archive.blobs.put(PICTURES[0])
        await archive.journal.record(ImageDownloaded(**post.identity, blob=blob, size=1), Origin("late"))
        await eventually(archive.is_idle)
    assert await archive.list_fact_types("1") == {ImageRemoved}
    assert archive.list_stored() == set()


async def test_an_image_that_was_not_shown_for_a_week_leaves_only_its_tombstone(archive: Archive, log_address: LogAddress) -> None:
    posts, about = LogPosts(archive.client), {"message_id": "99"}
    async with archive.working(log_address):
        kept, expired, back = [await archive.post(f"{number}", PICTURES[number], **about) for number in (1, 2, 3)]
        for fact in (hidden(expired), shown(expired), hidden(expired, 2), hidden(back)):
            assert await archive.journal.record(fact, Origin("edit"))
        await eventually(archive.is_idle)
        assert (await archive.catalogue.entries(["1", "2", "3"])).keys() == {"1"}
        assert archive.list_stored() == await archive.list_catalogued(["1", "2", "3"])
        assert [each.image_id async for each in posts.list_hidden(before=MOMENT + timedelta(days=7))] == ["2", "3"]
        assert await archive.journal.record(shown(back), Origin("edit"))
        for image in (expired, back):
            await archive.request("image", image.image_id, expired=True, **about)
        await eventually(archive.is_idle)
    assert [fact async for fact in posts.list_hidden(before=MOMENT + timedelta(days=7))] == []
    assert await archive.list_fact_types("2") == {ImageRemoved}
    assert {known.image_id: (known.removed, known.expired, known.hidden) for known in await posts.read_message("7", "99")} == {
        "1": (False, False, False),
        "2": (True, True, False),
        "3": (False, False, False),
    }
    assert (await archive.catalogue.entries(["1", "2", "3"], with_hidden=True)).keys() == {"1", "3"}
    assert archive.list_stored() == await archive.list_catalogued(["1", "3"])
    assert kept.image_id == "1"


async def test_what_hides_a_removed_image_is_erased_too(archive: Archive, log_address: LogAddress) -> None:
    async with archive.working(log_address):
        post = await archive.post("1", PICTURES[0])
        await archive.journal.record(hidden(post), Origin("edit"))
        await archive.request("message", post.message_id)
        await eventually(archive.is_idle)
        for late in (shown(post), hidden(post, 2)):
            await archive.journal.record(late, Origin("late"))
        await eventually(archive.is_idle)
    assert await archive.list_fact_types("1") == {ImageRemoved}
    assert archive.list_stored() == set()


async def test_a_rebuilt_catalogue_has_no_removed_image(archive: Archive, log_address: LogAddress) -> None:
    async with archive.working(log_address):
        await archive.post("1", PICTURES[0])
        await archive.post("2", PICTURES[1], author=Person(id="6", name="Alex"))
        await eventually(archive.is_idle)
        await archive.request("author", "5")
        await eventually(archive.is_idle)
    await archive.catalogue.clear()
    await archive.client.jetstream().delete_consumer("IMAGES", consumer_name("persist", "image"))
    async with archive.working(log_address):
        await eventually(archive.is_idle)
    assert [entry.image_id async for entry in archive.catalogue.scan()] == ["2"]
    assert await archive.catalogue.is_removed("1")


async def test_a_fingerprint_is_deleted_with_the_last_image_that_shares_it(archive: Archive, log_address: LogAddress) -> None:
    async with archive.working(log_address):
        for image in ("1", "2"):
            await archive.post(image, PICTURES[0])
        await eventually(archive.is_idle)
        shared = [
            fact.fingerprint
            for image in ("1", "2")
            for fact in await archive.history(image)
            if isinstance(fact, ImageFingerprinted)
        ]
        assert len(shared) == 2
        assert len(set(shared)) == 1
        for image, left in (("1", True), ("2", False)):
            await archive.request("message", f"1{image}")
            await eventually(archive.is_idle)
            assert await archive.list_fact_types(image) == {ImageRemoved}
            assert (shared[0] in archive.list_stored()) is left
    assert archive.list_stored() == set()
