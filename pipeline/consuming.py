"""Jobs on FastStream: each worker is a pull subscriber of its own on the durable of its job.

A worker fetches one message, works on it and fetches the next. Nothing is prefetched, so a message that waits for its turn waits on
the server, where no acknowledgement timer runs; and no worker waits for the slowest of a batch (docs/adr/0002).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.aio.msg import Msg

from contracts.stage import Stage
from contracts.subjects import LANES, RETRIES, lane_filter, retry_filter, retry_name
from pipeline.failures.lane import run_again
from pipeline.guards import Fetched, guarded_context
from pipeline.jobs import Job, Runtime
from pipeline.runner import run

FETCH_TIMEOUT_S = 5.0
GRACEFUL_TIMEOUT_S = 15.0


class Workers:
    """The workers of one process. They are added to at any time, as generations come, and ended as those go."""

    def __init__(self, broker: NatsBroker, runtime: Runtime) -> None:
        self._broker = broker
        self._runtime = runtime
        self._jobs: list[Job] = []

    async def add(self, job: Job, number: int) -> Callable[[], Awaitable[None]]:
        """Start a number of workers for a job, whose durable exists already. What is returned ends them again."""

        async def work(message: Msg) -> None:
            await run(message, job, self._runtime)

        subscribers = [self._subscriber(lane_filter(job.family), job.consumer, LANES[job.family], work) for _ in range(number)]
        for subscriber in subscribers:
            await subscriber.start()
        self._jobs.append(job)

        async def end() -> None:
            self._jobs.remove(job)
            await asyncio.gather(*(subscriber.stop() for subscriber in subscribers))

        return end

    async def add_retries(self, stage: Stage[Any], dropped: Callable[[str], bool]) -> None:
        """Start one worker for the dead letters of a stage that are put back; `dropped` tells of a generation whether it is."""

        async def work(message: Msg) -> None:
            await run_again(message, [job for job in self._jobs if job.stage is stage], dropped, self._runtime)

        await self._subscriber(retry_filter(stage.name), retry_name(stage.name), RETRIES, work).start()

    def _subscriber(self, subject: str, durable: str, stream: str, work: Callable[[Msg], Awaitable[None]]) -> Any:
        subscriber = self._broker.subscriber(
            subject,
            durable=durable,
            stream=JStream(stream, declare=False),
            pull_sub=PullSub(batch_size=1, timeout=FETCH_TIMEOUT_S),
            decoder=_raw,
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        subscriber(work)
        return subscriber


@asynccontextmanager
async def workers(url: str, name: str, runtime: Runtime, fetched: Fetched) -> AsyncIterator[Workers]:
    """A connection for workers, none of which is there yet. At the end all are stopped once they are done with what they have."""
    broker = NatsBroker(
        url,
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        graceful_timeout=GRACEFUL_TIMEOUT_S,
        apply_types=False,
        logger=None,
    )
    await broker.connect()
    guarded_context(broker.config.connection_state.stream, fetched, runtime.stopping)
    try:
        await broker.start()
        yield Workers(broker, runtime)
    finally:
        await broker.stop()


async def _raw(message: NatsMessage) -> Msg:
    """Decoding is the runner's, so that unreadable bytes become a dead letter with a reason."""
    return message.raw_message
