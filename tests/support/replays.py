"""Helpers for tests of replays: an archive in which a second generation is built, and encoders whose vectors are digests."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import (
    Calibration,
    Fact,
    GenerationStarted,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImagePreprocessed,
    ImageRemoved,
    ImageReposted,
)
from contracts.generations import Generation
from contracts.ports import Catalogue, Encoder
from contracts.subjects import IMAGES, variant_filter
from infra.blobs.files import open_blob_store
from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import decode_or_warn
from infra.tasks import cancel_tasks, raise_if_cancelled
from pipeline.engine import topology
from pipeline.process import Process, open_process
from pipeline.projections.vectors import VectorProjection
from pipeline.replay.build import start_or_join_generation
from pipeline.settings import Settings
from stages import embed, erase, fingerprint, persist
from tests.support.archives import tiny_picture
from tests.support.bench_stage import count_messages
from tests.support.facts import MOMENT, founding_facts, posted
from tests.support.vector_search import ids_of
from tests.support.waiting import eventually
from tests.support.world import IMPATIENT_POLICY as SOON

IMAGES_TO_REPLAY = 40
LIVE_STAGES = (fingerprint.STAGE, embed.STAGE, persist.STAGE)

IMAGES_POSTED = 40
ENCODER = {"encoder": "e", "digest": "d", "preprocessing": "p1", "dimensions": 2}

OpenCatalogue = Callable[[], Awaitable[Catalogue]]
OpenIndex = Callable[[], AbstractAsyncContextManager[VectorProjection]]


@dataclass
class DigestEncoder:
    """An encoder whose vectors are digests. `given` lists its pictures.

    It waits while `open` is not set, fails for the picture `cannot`, and clears `open` at picture number `closes_at`.
    """

    name: str
    given: list[bytes] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    cannot: bytes | None = None
    closes_at: int | None = None

    def __post_init__(self) -> None:
        self.open.set()

    @property
    def encoder(self) -> Encoder:
        return Encoder(f"open_clip/{self.name}/untrained/fp32", self.name, 8, False, Calibration(match_at=1, possible_at=1))

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        self.given.append(image)
        if len(self.given) == self.closes_at:
            self.open.clear()
        if image == self.cannot:
            raise Retry("out of memory")
        await self.open.wait()
        values = np.frombuffer(hashlib.sha256(self.name.encode() + image).digest(), "u1")[:8].astype("<f4") + 1
        return (values / np.linalg.norm(values)).astype("<f4").tobytes()

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


@dataclass(frozen=True)
class ReplayArchive:
    """An archive with generation g1, in which several processes may build another generation."""

    address: LogAddress
    folder: Path
    make: Callable[..., Settings]

    def settings(self) -> Settings:
        return self.make(data_dir=self.folder, batch_size=4)

    @asynccontextmanager
    async def process(self, model: DigestEncoder) -> AsyncIterator[Process]:
        async with open_process(self.settings(), self.address, (), encoders=[model], policy=SOON) as process:
            yield process

    @asynccontextmanager
    async def live(self, *models: DigestEncoder) -> AsyncIterator[Process]:
        """Run a process like that of `mapseek up`."""
        async with open_process(self.settings(), self.address, LIVE_STAGES, encoders=models, policy=SOON) as process:
            yield process


async def record_preprocessed(process: Process, number: int) -> None:
    """Record a picture up to its preprocessing."""
    blobs = open_blob_store(process.container.folder / "blobs")
    pixels = await blobs.put(tiny_picture(number))
    image = posted(f"{number:03}")
    fact = ImagePreprocessed(**image.identity, pixels=pixels, thumbnail=pixels, width=8, height=8, format="PNG", preprocessing="p1")
    for each in (image, fact):
        await process.container.journal.record(each, Origin(image.image_id))


async def wait_for_count(process: Process, kind: type[ImageFact], number: int, generation: str = "g1") -> None:
    async def enough() -> bool:
        return await count_messages(process.container.client, IMAGES, variant_filter(kind, generation)) == number

    await eventually(enough)


async def start_generation(process: Process, model: DigestEncoder) -> Generation:
    return await start_or_join_generation(process, model, "fake", None, None)  # type: ignore[arg-type]


def vector_at(degrees: float) -> bytes:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], "<f4").tobytes()


def image_history(image_id: str) -> list[Fact]:
    """Return the facts of an image in two generations."""
    where = {"guild_id": "7", "channel_id": "8", "image_id": image_id}
    pictures = {"thumbnail": "b" * 64, "width": 128, "height": 128, "format": "PNG"}
    return [
        posted(image_id),
        ImageDownloaded(**where, blob="c" * 64, size=1234),
        ImagePreprocessed(**where, **pictures, pixels="a" * 64, preprocessing="p1"),
        ImageEmbedded(**where, generation="g1", vector=vector_at(int(image_id))),
        ImageReposted(**where, generation="g1", same_as="3", score=0.98),
        ImagePreprocessed(**where, **pictures, pixels="d" * 64, preprocessing="p2"),
        ImageEmbedded(**where, generation="g2", vector=vector_at(int(image_id) + 1)),
        ImageReposted(**where, generation="g2", same_as="2", score=0.97),
    ]


def image_removed(image_id: str) -> ImageRemoved:
    return ImageRemoved(guild_id="7", channel_id="8", image_id=image_id, message_id="10", removed_at=MOMENT, cause="deleted")


def ignore_progress(_: int, __: int) -> None:
    """Ignore reported progress."""


async def record_histories(client: Client, journal: JetStreamJournal) -> None:
    """Record the histories of some images, one of them removed, and create the consumers of two generations."""
    await topology.ensure_topology(client, [])
    await record_facts(journal, *founding_facts(**ENCODER))
    await record_facts(
        journal,
        GenerationStarted(generation="g2", model="m", precision="fp32", started_at=MOMENT, **ENCODER | {"preprocessing": "p2"}),
    )
    for number in range(10, 10 + IMAGES_POSTED):
        await record_facts(journal, *image_history(str(number)))
    await record_facts(journal, image_removed("12"))
    await topology.ensure_topology(client, [persist.STAGE, erase.STAGE])


async def record_facts(journal: JetStreamJournal, *facts: Fact) -> None:
    for fact in facts:
        assert await journal.record(fact, Origin("1"))


@asynccontextmanager
async def run_persist(client: Client, catalogue: Catalogue) -> AsyncIterator[None]:
    """Run the persist stage on all its consumers, ten facts at once and so out of order. It ends when everything is persisted."""
    js = client.jetstream()
    names = [info.name for info in await js.consumers_info(IMAGES) if info.name.startswith("persist-")]
    assert sorted(names) == ["persist-image", "persist-image-g1", "persist-image-g2"]

    async def handled(fact: Fact) -> None:
        while True:
            with suppress(Retry):
                await persist.handle(fact, persist.Deps(catalogue))  # type: ignore[arg-type]
                return
            await asyncio.sleep(0.02)  # there is no event for when the post is catalogued

    async def work(name: str) -> None:
        subscription = await js.pull_subscribe_bind(name, stream=IMAGES)
        try:
            while True:
                raise_if_cancelled()
                with suppress(TimeoutError):
                    for message in await subscription.fetch(1, timeout=5):
                        recorded = decode_or_warn(message)
                        assert recorded is not None
                        await handled(recorded.fact)
                        await message.ack()
        finally:
            await subscription.unsubscribe()  # otherwise the messages of its last request would be lost

    async def settled() -> bool:
        infos = [await js.consumer_info(IMAGES, name) for name in names]
        return not any(info.num_pending or info.num_ack_pending for info in infos)

    tasks = [asyncio.create_task(work(name)) for name in names for _ in range(10)]
    try:
        yield
        await eventually(settled)
    finally:
        await cancel_tasks(*tasks)


@asynccontextmanager
async def keep_reading(catalogue: Catalogue) -> AsyncIterator[list[int]]:
    """Look images up in the catalogue all the time. Each time all of them must be there."""
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


@asynccontextmanager
async def keep_searching(index: VectorProjection) -> AsyncIterator[None]:
    """Search the index all the time. Every search must find all images."""
    wanted = sorted(str(number) for number in range(10, 10 + IMAGES_POSTED) if number != 12)
    searches = 0
    ended = False

    async def search() -> None:
        nonlocal searches
        while not ended:
            found = ids_of(await index.search("7", "g1", vector_at(10), top=IMAGES_POSTED, channels=["8"]))
            assert sorted(found) == wanted
            searches += 1

    task = asyncio.create_task(search())
    try:
        yield
    finally:
        ended = True
        await task
    assert searches
