"""An archive whose projections are made anew: a log of two generations, a persist stage at work, and those who look on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import numpy as np
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import (
    Fact,
    GenerationStarted,
    ImageDownloaded,
    ImageEmbedded,
    ImagePreprocessed,
    ImageRemoved,
    ImageReposted,
)
from contracts.ports import Catalogue
from contracts.subjects import IMAGES
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import readable
from infra.tasks import cancel, end_if_cancelled
from pipeline.engine import topology
from pipeline.projections.vectors import ProjectedIndex
from stages import erase, persist
from tests.suites.facts import MOMENT, founding, posted
from tests.suites.vector_search import ids_of
from tests.suites.waiting import eventually

IMAGES_POSTED = 40
ENCODER = {"encoder": "e", "digest": "d", "preprocessing": "p1", "dimensions": 2}

Opened = Callable[[], Awaitable[Catalogue]]
Held = Callable[[], AbstractAsyncContextManager[ProjectedIndex]]


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


async def lived(client: Client, journal: JetStreamJournal) -> None:
    """The histories of some images, one of them removed, and the durables of two generations."""
    await topology.ensure(client, [])
    await record(journal, *founding(**ENCODER))
    await record(
        journal,
        GenerationStarted(generation="g2", model="m", precision="fp32", started_at=MOMENT, **ENCODER | {"preprocessing": "p2"}),
    )
    for number in range(10, 10 + IMAGES_POSTED):
        await record(journal, *history(str(number)))
    await record(journal, removal("12"))
    await topology.ensure(client, [persist.STAGE, erase.STAGE])


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
                end_if_cancelled()
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
        await cancel(*tasks)


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
