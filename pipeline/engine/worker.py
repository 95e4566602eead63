"""Jobs on FastStream: each worker is a pull subscriber of its own on the durable of its job.

A worker fetches one message, works on it and fetches the next. Nothing is prefetched, so a message that waits for its turn waits on
the server, where no acknowledgement timer runs; and no worker waits for the slowest of a batch (docs/adr/0002).

A guard around nats-py's fetch, as FastStream's pull loop calls it.

On a closed connection, a deleted consumer or a deleted stream fetch fails at once, and the loop calls it again at once: the process
freezes (closed: it never yields) or floods the server (deleted). The guard waits before it lets the error through. Its tests fail
once upstream no longer needs it. (The bare `asyncio.TimeoutError` of nats.py PR 1008 does not reach a fetch of one message.)

The guard also ends the fetching when the process is to stop: FastStream drops what it is given while it stops, and what a stage
puts back then would come back to the same process again and again, until its attempts were used up.

The retry lane: a dead letter that somebody put back is worked on as it was, by the job that could not work on it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from contracts.errors import Unavailable
from contracts.events import MessageDiscarded
from contracts.stage import Stage
from contracts.subjects import LANES, RETRIES, consumer_name, lane_filter, parse_dead_letter, retry_consumer_name, retry_filter
from pipeline.engine.dead_letters import (
    EARLIER_ATTEMPTS_HEADER,
    WorkerIdentity,
    read_delivery,
    record_incident,
    remove_server_headers,
)
from pipeline.engine.job import PUT_BACK_DELAY_S, Job, Runtime, ShutdownRequested, sleep_unless_stopping
from pipeline.engine.runner import process_message

log = structlog.get_logger()

FETCH_ERROR_PAUSE_S = 0.5

OnFetch = Callable[[str], None]

NOT_LOADED_DELAY_S = 1.0
"""How long work on a generation that this process has not opened is kept from it, and from the others of its stage."""

WORKER_FETCH_TIMEOUT_S = 5.0
STOP_WORKERS_TIMEOUT_S = 15.0


def guard_fetches(js: JetStreamContext, fetched: OnFetch, stopping: asyncio.Event) -> None:
    """Guard the fetches of every pull subscription made from this context.

    `fetched(consumer)` is told of each that worked; once `stopping` is set nothing is fetched any more.
    """
    bind = js.pull_subscribe_bind

    async def pull_subscribe_bind(*args: Any, **kwargs: Any) -> JetStreamContext.PullSubscription:
        subscription = await bind(*args, **kwargs)
        subscription.fetch = guard_fetch(subscription, fetched, stopping)  # type: ignore[method-assign]
        return subscription

    js.pull_subscribe_bind = pull_subscribe_bind  # type: ignore[method-assign]


def guard_fetch(subscription: JetStreamContext.PullSubscription, fetched: OnFetch, stopping: asyncio.Event) -> Any:
    """The subscription's fetch with the guards of this module."""
    fetch = subscription.fetch
    consumer = str(subscription._consumer)

    async def guarded(batch: int = 1, timeout: float | None = 5, heartbeat: float | None = None) -> list[Msg]:
        if stopping.is_set():
            await asyncio.sleep(FETCH_ERROR_PAUSE_S)
            return []
        started = monotonic()
        try:
            messages = await fetch(batch, timeout, heartbeat)
        except (ConnectionClosedError, APIError):
            await asyncio.sleep(FETCH_ERROR_PAUSE_S)
            raise
        except TimeoutError:
            # Nothing came: a working consumer takes the whole timeout to say so.
            if timeout is not None and monotonic() - started < timeout / 2:
                await asyncio.sleep(FETCH_ERROR_PAUSE_S)
            else:
                fetched(consumer)
            raise
        fetched(consumer)
        if not stopping.is_set():
            return messages
        for message in messages:
            await message.nak(delay=PUT_BACK_DELAY_S)
        return []

    return guarded


async def process_retry(message: Msg, jobs: Iterable[Job], dropped: Callable[[str], bool], runtime: Runtime) -> None:
    """Work on what was put back. What is for a generation that was dropped since is thrown away, and said to be."""
    stage, family, _, generation = parse_dead_letter(message.subject)
    of_it = (job for job in jobs if (job.family, job.generation, job.is_replay) == (family, generation, False))
    job = next(of_it, None)
    if job is not None:
        await process_message(message, job, runtime)
    elif generation is not None and dropped(generation):
        worker = WorkerIdentity(stage, family, consumer_name(stage, family, generation), generation)
        try:
            await record_incident(MessageDiscarded, read_delivery(message), worker, runtime.journal)
        except Unavailable:
            await message.nak(delay=NOT_LOADED_DELAY_S)
            return
        await message.ack()
        log.info("dead_letter_discarded", subject=message.subject, generation=generation)
    else:
        log.info("retry_postponed", subject=message.subject)
        await _offer_again(message, runtime)


async def _offer_again(message: Msg, runtime: Runtime) -> None:
    """Leave it to whoever can: to another process, or to this one once it has loaded the model.

    The server counts this delivery, although nothing was tried. A copy, which takes the place of the message, says so: else work
    that waits for a model would be buried as work that kills every process.
    """
    headers = remove_server_headers(dict(message.headers or {})) | {
        EARLIER_ATTEMPTS_HEADER: str(read_delivery(message).attempt - 1)
    }
    try:
        await sleep_unless_stopping(NOT_LOADED_DELAY_S, runtime)
        here = message.metadata.sequence.stream
        await runtime.journal.publish_once(message.subject, message.data, headers, RETRIES, expected_sequence=here)
    except (ShutdownRequested, Unavailable):
        await message.nak(delay=NOT_LOADED_DELAY_S)
    else:
        await message.ack()


class Workers:
    """The workers of one process. They are added to at any time, as generations come, and ended as those go."""

    def __init__(self, broker: NatsBroker, runtime: Runtime) -> None:
        self._broker = broker
        self._runtime = runtime
        self._jobs: list[Job] = []

    async def add(self, job: Job, number: int) -> Callable[[], Awaitable[None]]:
        """Start a number of workers for a job, whose durable exists already. What is returned ends them again."""

        async def work(message: Msg) -> None:
            await process_message(message, job, self._runtime)

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
            await process_retry(message, [job for job in self._jobs if job.stage is stage], dropped, self._runtime)

        await self._subscriber(retry_filter(stage.name), retry_consumer_name(stage.name), RETRIES, work).start()

    def _subscriber(self, subject: str, durable: str, stream: str, work: Callable[[Msg], Awaitable[None]]) -> Any:
        subscriber = self._broker.subscriber(
            subject,
            durable=durable,
            stream=JStream(stream, declare=False),
            pull_sub=PullSub(batch_size=1, timeout=WORKER_FETCH_TIMEOUT_S),
            decoder=_raw,
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        subscriber(work)
        return subscriber


@asynccontextmanager
async def open_workers(url: str, name: str, runtime: Runtime, fetched: OnFetch) -> AsyncIterator[Workers]:
    """A connection for workers, none of which is there yet. At the end all are stopped once they are done with what they have."""
    broker = NatsBroker(
        url,
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        graceful_timeout=STOP_WORKERS_TIMEOUT_S,
        apply_types=False,
        logger=None,
    )
    await broker.connect()
    guard_fetches(broker.config.connection_state.stream, fetched, runtime.stopping)
    try:
        await broker.start()
        yield Workers(broker, runtime)
    finally:
        await broker.stop()


async def _raw(message: NatsMessage) -> Msg:
    """Decoding is the runner's, so that unreadable bytes become a dead letter with a reason."""
    return message.raw_message
