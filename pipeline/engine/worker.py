"""Workers on FastStream: each is a pull subscriber on the durable consumer of its job. Also the guard around their fetches, and the
worker of the retry lane, which handles dead letters that somebody put back.

A worker fetches one message, processes it and fetches the next. Nothing is prefetched: a waiting message waits on the server, where
no acknowledgement timer runs, and no worker waits for the slowest message of a batch (docs/adr/0002).

The guard wraps nats-py's fetch, which FastStream's pull loop calls. If the connection is closed, or the consumer or the stream is
deleted, fetch fails at once and the loop calls it again at once. The process then freezes (closed connection: the loop never
yields) or floods the server (deleted consumer or stream). So the guard waits before it raises the error. Its tests fail once
upstream no longer needs it. (The bare `asyncio.TimeoutError` of nats.py PR 1008 does not reach a fetch of one message.)

The guard also stops fetching when the process stops. FastStream drops the messages that it gets while it stops, and a message that
a stage puts back would return to the same process again and again until its attempts were used up.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.security import NatsCredentials, NatsNKey, NatsSecurity, NatsUserPassword
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from contracts.errors import Unavailable
from contracts.events import MessageDiscarded
from contracts.stage import Stage
from contracts.subjects import LANES, RETRIES, consumer_name, lane_filter, parse_dead_letter, retry_consumer_name, retry_filter
from infra.nats.connection import LogAddress, log_violation
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
"""How long a message waits that is for a generation which this process has not opened. No other process gets it in that time
either."""

WORKER_FETCH_TIMEOUT_S = 5.0
STOP_WORKERS_TIMEOUT_S = 5.0


def guard_fetches(js: JetStreamContext, on_fetch: OnFetch, stopping: asyncio.Event) -> None:
    """Guard the fetches of every pull subscription of this context.

    `on_fetch(consumer)` is called after each fetch that worked. Once `stopping` is set, nothing is fetched any more.
    """
    bind = js.pull_subscribe_bind

    async def pull_subscribe_bind(*args: Any, **kwargs: Any) -> JetStreamContext.PullSubscription:
        # FastStream names the inbox that all users share. Without it, that of the connection is used.
        subscription = await bind(*args, **{name: value for name, value in kwargs.items() if name != "inbox_prefix"})
        subscription.fetch = guard_fetch(subscription, on_fetch, stopping)  # type: ignore[method-assign]
        return subscription

    js.pull_subscribe_bind = pull_subscribe_bind  # type: ignore[method-assign]


def guard_fetch(subscription: JetStreamContext.PullSubscription, on_fetch: OnFetch, stopping: asyncio.Event) -> Any:
    """Return the subscription's fetch with the guards of this module."""
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
            # No message came. A consumer that exists takes the whole timeout to say so.
            if timeout is not None and monotonic() - started < timeout / 2:
                await asyncio.sleep(FETCH_ERROR_PAUSE_S)
            else:
                on_fetch(consumer)
            raise
        on_fetch(consumer)
        if not stopping.is_set():
            return messages
        for message in messages:
            await message.nak(delay=PUT_BACK_DELAY_S)
        return []

    return guarded


async def process_retry(message: Msg, jobs: Iterable[Job], is_dropped: Callable[[str], bool], runtime: Runtime) -> None:
    """Process a dead letter that was put back. If its generation was dropped since, discard it and record that."""
    stage, family, _, generation, _ = parse_dead_letter(message.subject)
    matching = (job for job in jobs if (job.family, job.generation, job.is_replay) == (family, generation, False))
    job = next(matching, None)
    if job is not None:
        await process_message(message, job, runtime)
    elif generation is not None and is_dropped(generation):
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
    """Offer the message again to every process, and to this one once it has loaded the model.

    The server counts this delivery although nothing was tried. So the message is replaced by a copy whose header holds the attempts
    that really happened. Otherwise a message that waits for a model would be buried as one that kills every process.
    """
    headers = remove_server_headers(dict(message.headers or {})) | {
        EARLIER_ATTEMPTS_HEADER: str(read_delivery(message).attempt - 1)
    }
    try:
        await sleep_unless_stopping(NOT_LOADED_DELAY_S, runtime)
        sequence = message.metadata.sequence.stream
        await runtime.journal.publish_once(message.subject, message.data, headers, RETRIES, expected_sequence=sequence)
    except (ShutdownRequested, Unavailable):
        await message.nak(delay=NOT_LOADED_DELAY_S)
    else:
        await message.ack()


class Workers:
    """The workers of one process. More are added when a generation comes, and stopped when it is dropped."""

    def __init__(self, broker: NatsBroker, runtime: Runtime) -> None:
        self._broker = broker
        self._runtime = runtime
        self._jobs: list[Job] = []

    async def add(self, job: Job, number: int) -> Callable[[], Awaitable[None]]:
        """Start a number of workers for a job whose consumer exists. Return a function that stops them."""

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

    async def add_retries(self, stage: Stage[Any], is_dropped: Callable[[str], bool]) -> None:
        """Start one worker for the dead letters of a stage that are put back.

        `is_dropped(generation)` is whether it was dropped.
        """

        async def work(message: Msg) -> None:
            await process_retry(message, [job for job in self._jobs if job.stage is stage], is_dropped, self._runtime)

        await self._subscriber(retry_filter(stage.name), retry_consumer_name(stage.name), RETRIES, work).start()

    def _subscriber(self, subject: str, durable: str, stream: str, work: Callable[[Msg], Awaitable[None]]) -> Any:
        subscriber = self._broker.subscriber(
            subject,
            durable=durable,
            stream=JStream(stream, declare=False),
            pull_sub=PullSub(batch_size=1, timeout=WORKER_FETCH_TIMEOUT_S),
            decoder=_pass_undecoded,
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        subscriber(work)
        return subscriber


@asynccontextmanager
async def open_workers(address: LogAddress, name: str, runtime: Runtime, on_fetch: OnFetch) -> AsyncIterator[Workers]:
    """Open a connection for workers, without any worker yet. At the end, all workers finish their messages and stop."""
    broker = NatsBroker(
        address.url,
        name=name,
        security=_build_security(address),
        inbox_prefix=address.inbox_prefix,
        error_cb=_report_violation,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        graceful_timeout=STOP_WORKERS_TIMEOUT_S,
        apply_types=False,
        logger=None,
    )
    await broker.connect()
    guard_fetches(broker.config.connection_state.stream, on_fetch, runtime.stopping)
    try:
        await broker.start()
        yield Workers(broker, runtime)
    finally:
        await broker.stop()


def _build_security(address: LogAddress) -> NatsSecurity:
    if address.nkey_file is not None:
        return NatsNKey.from_file(address.nkey_file, ssl_context=address.tls)
    if address.creds_file is not None:
        return NatsCredentials.from_file(address.creds_file, ssl_context=address.tls)
    if address.user is not None and address.password is not None:
        return NatsUserPassword(address.user, address.password, ssl_context=address.tls)
    return NatsSecurity(ssl_context=address.tls)


async def _report_violation(error: Exception) -> None:
    """Log only that a subject was refused: the other connection of the process reports everything else."""
    log_violation(error)


async def _pass_undecoded(message: NatsMessage) -> Msg:
    """Do not decode here: the runner decodes, so that an unreadable body becomes a dead letter with a reason."""
    return message.raw_message
