"""A stage to test the runner with, and helpers to run it and to count messages."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.events import ImageDownloaded, ImagePosted, SearchDownloaded, SearchRequested
from contracts.events.base import Fact
from contracts.stage import Stage
from contracts.subjects import FAILURES
from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology
from pipeline.engine.job import Backoff, Job, Policy, Runtime
from pipeline.engine.metrics import Metrics
from pipeline.engine.worker import open_workers
from tests.support.facts import BLOB

BENCH_DELAY = Backoff(first=0.01, factor=1, longest=0.01)
BENCH_POLICY = Policy(image_retry=BENCH_DELAY, search_retry=BENCH_DELAY, hold=BENCH_DELAY, keep_alive_every=0.2, breaker_limit=3)

Work = Callable[[Fact], Awaitable[Sequence[Fact]]]


@dataclass(frozen=True, slots=True)
class Deps:
    work: Work


async def handle(event: ImagePosted | SearchRequested, deps: Deps) -> Sequence[Fact]:
    return await deps.work(event)


STAGE = Stage(
    name="download",
    consumes=(ImagePosted, SearchRequested),
    emits=(ImageDownloaded, SearchDownloaded),
    handle=handle,
    deps=Deps,
    attempts=3,
)


def downloaded(event: Fact) -> ImageDownloaded | SearchDownloaded:
    if isinstance(event, SearchRequested):
        return SearchDownloaded(guild_id=event.guild_id, search_id=event.search_id, question=event.question, blob=BLOB, size=1)
    assert isinstance(event, ImagePosted)
    return ImageDownloaded(guild_id=event.guild_id, channel_id=event.channel_id, image_id=event.image_id, blob=BLOB, size=1)


@asynccontextmanager
async def run_stage(
    address: LogAddress, client: Client, journal: JetStreamJournal, work: Work, *, number: int = 2, policy: Policy = BENCH_POLICY
) -> AsyncIterator[Runtime]:
    """Run the stage in both lanes."""
    await topology.ensure_topology(client, [STAGE])
    runtime = Runtime(journal, Metrics(), policy)
    async with open_workers(address, "test", runtime, lambda _consumer: None) as crew:
        for family in STAGE.families:
            await crew.add(Job(STAGE, family, Deps(work)), number)
        await crew.add_retries(STAGE, lambda generation: generation == "dropped")
        try:
            yield runtime
        finally:
            runtime.stopping.set()


async def count_messages(client: Client, stream: str, subject: str = ">") -> int:
    """Count the messages of a stream on a subject."""
    try:
        info = await client.jetstream().stream_info(stream, subjects_filter=subject)
    except NotFoundError:
        return 0
    return sum((info.state.subjects or {}).values())


async def last_dead_letter(client: Client, subject: str = "mapseek.failure.>") -> tuple[dict[str, str], bytes] | None:
    """Return headers and body of the last dead letter, None if there is none."""
    try:
        message = await client.jetstream().get_last_msg(FAILURES, subject)
    except NotFoundError:
        return None
    return message.headers or {}, message.data or b""


async def count_unsettled(client: Client, stream: str, consumer: str) -> int:
    """Count the messages of a consumer that are not settled."""
    info = await client.jetstream().consumer_info(stream, consumer)
    return (info.num_pending or 0) + (info.num_ack_pending or 0)
