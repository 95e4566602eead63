"""The pull loop of a bulk replay: several workers fetch batches from a durable consumer and pass every message to the runner.

Old messages can be fetched many at a time; a FastStream subscriber, which gets one message at a time, would make a replay too slow.
A worker fetches a batch, processes its messages concurrently and fetches the next. While the model embeds one batch, the other
workers read, prepare and record theirs. If the process is killed, the server delivers its messages again; facts are unique, so the
next process continues where this one stopped.

`Limits` decides when a worker may start a batch: a replay has time, members who search have not.
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from contracts.errors import Unavailable
from contracts.events import SearchAnswered, SearchDescribed, SearchFact, SearchRequested
from contracts.subjects import SEARCHES, kind_filter
from infra.nats.connection import translate_outages
from infra.nats.reader import decode_or_warn, follow_log, read_last_sequence
from infra.tasks import cancel_tasks, raise_if_cancelled
from pipeline.engine.job import PRECEDENCE_TIMEOUT_S, Job, Precedence, Runtime
from pipeline.engine.runner import process_message

log = structlog.get_logger()

LOAD_CHECK_INTERVAL_S = 1.0
NICENESS = 19
"""Added to the niceness of the process: if a search wants the same core, the search gets nearly all of it."""

BULK_FETCH_TIMEOUT_S = 1.0
OUTAGE_RETRY_S = 0.5

SkipCheck = Callable[[Msg], Awaitable[bool]]
"""Returns whether a message needs no work and is only acknowledged."""


@dataclass(slots=True)
class Limits:
    """Limits of a replay: at most `rate` messages per second in this process, no new batch while the load is above `max_load`, and
    no new batch while any process works on a search."""

    rate: float | None = None
    max_load: float | None = None
    precedence: Precedence = field(default_factory=Precedence)
    load: Callable[[], float] = lambda: os.getloadavg()[0]
    _next: float = 0.0

    async def wait_for_turn(self, messages: int) -> None:
        """Return when so many messages may be started."""
        while self.max_load is not None and self.load() > self.max_load:  # noqa: ASYNC110 - nothing signals a lower load
            await asyncio.sleep(LOAD_CHECK_INTERVAL_S)
        if self.rate is not None:
            now = asyncio.get_running_loop().time()
            begin = max(now, self._next)
            self._next = begin + messages / self.rate
            await asyncio.sleep(begin - now)
        await self.precedence.wait_for_turn()


async def yield_to_searches(client: Client, precedence: Precedence, patience: float = PRECEDENCE_TIMEOUT_S) -> None:
    """Mark every search of any process as in progress, from its request to its answer. Runs without end."""
    answered: dict[str, asyncio.Event] = {}

    async def until_answered(search_id: str) -> None:
        with precedence.search_in_progress(), suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await answered[search_id].wait()
        del answered[search_id]

    kinds = [kind_filter(kind) for kind in (SearchRequested, SearchDescribed, SearchAnswered)]
    async with asyncio.TaskGroup() as group:
        async for message in follow_log(client, SEARCHES, kinds, after=await read_last_sequence(client, SEARCHES)):
            recorded = decode_or_warn(message)
            if recorded is None or not isinstance(fact := recorded.fact, SearchFact):
                continue
            if isinstance(fact, SearchAnswered):
                if fact.search_id in answered:
                    answered[fact.search_id].set()
            elif fact.search_id not in answered:
                answered[fact.search_id] = asyncio.Event()
                group.create_task(until_answered(fact.search_id))


def lower_process_priority() -> None:
    """Give every other process precedence. Threads that are started later inherit this."""
    os.nice(NICENESS)


@dataclass(frozen=True, slots=True)
class ReplaySpan:
    """The part of a stream that is replayed: the messages of a durable consumer up to the stream sequence `end`.

    Without `patience` the consumer belongs to the replay. Messages behind `end` are then acknowledged and left to others, and the
    replay waits for messages that other processes hold. With `patience` the consumer is shared with running processes. Then the
    replay waits so many seconds for messages that they hold, and processes messages behind `end` too, since nobody else gets them.
    """

    stream: str
    durable: str
    end: int
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How much is processed at once: the number of workers, and the number of messages in a batch."""

    number: int
    batch: int


class ConsumerDeleted(Exception):
    """Somebody deleted the consumer during the replay."""


async def retry_through_outages(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work`, and start it again after each outage of the log. The log knows what is done, so nothing is done twice."""
    while True:
        try:
            with translate_outages():
                return await work()
        except Unavailable as outage:
            log.warning("dependency_unavailable", dependency=outage.dependency, error=str(outage))
            await asyncio.sleep(OUTAGE_RETRY_S)


async def replay_span(
    client: Client,
    span: ReplaySpan,
    job: Job,
    runtime: Runtime,
    limits: Limits,
    concurrency: Concurrency,
    *,
    skip: SkipCheck | None = None,
) -> None:
    """Process messages until everything in the span is settled, by this process or another one.

    Waits while the server is away. When cancelled, gives back at once the messages that it holds. Raises ConsumerDeleted if the
    consumer is deleted during the replay.
    """
    raise_if_cancelled()
    _freeze_garbage_collector()
    replay = _SpanReplay(client.jetstream(), span, job, runtime, limits, skip)
    workers = [asyncio.create_task(replay.work(concurrency.batch)) for _ in range(concurrency.number)]
    try:
        # The first worker that finds nothing left ends the replay: the others only wait for messages.
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        for worker in done:
            worker.result()
    finally:
        await cancel_tasks(*workers)


def _freeze_garbage_collector() -> None:
    """Exclude all objects that exist now, mostly those of a model, from garbage collection.

    They live until the end, and scanning them again and again took a third of the time of a replay without a model.
    """
    gc.collect()
    gc.freeze()


@dataclass(slots=True)
class _SpanReplay:
    """What the workers share: how many messages they hold, when the last one came, and whether the end of the span is near.

    `over` is set when everything of the replay's own consumer is settled, so that no message can be in transit to a fetch.
    """

    js: JetStreamContext
    span: ReplaySpan
    job: Job
    runtime: Runtime
    limits: Limits
    skip: SkipCheck | None
    near_end: bool = False
    over: bool = False
    held: int = 0
    last_message_at: float = field(default_factory=monotonic)

    async def work(self, batch: int) -> None:
        """Run one worker until nothing is left."""
        subscription = await self.js.pull_subscribe_bind(self.span.durable, stream=self.span.stream)
        try:
            while True:
                await self.limits.wait_for_turn(batch)
                messages = await self._fetch(subscription, batch)
                if messages:
                    self.last_message_at = monotonic()
                    self.near_end |= self._is_last(messages[-1])
                    await self._settle(messages)
                raise_if_cancelled()
                if (self.near_end or not messages) and await self._is_finished():
                    self.over = self.span.patience is None
                    return
        finally:
            with suppress(NatsError):
                await subscription.unsubscribe()

    async def _fetch(self, subscription: JetStreamContext.PullSubscription, batch: int) -> list[Msg]:
        """Fetch a batch. It is empty if all is done, delayed or paused, or if the server is away."""
        fetching = asyncio.create_task(subscription.fetch(batch, timeout=BULK_FETCH_TIMEOUT_S))
        try:
            return await asyncio.shield(fetching)
        except asyncio.CancelledError:
            if self.over:
                fetching.cancel()
                raise
            # Messages that are in transit would otherwise stay unsettled until their acknowledgement time runs out.
            with suppress(NatsError, JetStreamError, TimeoutError):
                await _give_back(await fetching)
            raise
        except TimeoutError:
            return []
        except ConnectionClosedError:
            raise  # closed by this process: a broken connection reconnects
        except (NatsError, JetStreamError) as error:
            log.debug("replay_fetch_failed", error=str(error) or type(error).__name__)
            await asyncio.sleep(OUTAGE_RETRY_S)
            return []

    async def _settle(self, messages: list[Msg]) -> None:
        self.held += len(messages)
        try:
            raise_if_cancelled()
            await asyncio.gather(*(self._settle_one(message) for message in messages))
        except asyncio.CancelledError:
            await _give_back(messages)
            raise
        finally:
            self.held -= len(messages)

    async def _settle_one(self, message: Msg) -> None:
        try:
            if self._is_left_to_others(message) or (self.skip is not None and await self.skip(message)):
                await message.ack()
            else:
                await process_message(message, self.job, self.runtime)
        except (NatsError, Unavailable) as error:
            # It is not acknowledged, so the server delivers it again.
            log.warning("message_not_settled", subject=message.subject, error=str(error) or type(error).__name__)

    def _is_left_to_others(self, message: Msg) -> bool:
        return self.span.patience is None and self._is_behind_end(message)

    def _is_behind_end(self, message: Msg) -> bool:
        return message.metadata.sequence.stream > self.span.end

    def _is_last(self, message: Msg) -> bool:
        return not message.metadata.num_pending or self._is_behind_end(message)

    async def _is_finished(self) -> bool:
        try:
            info = await self.js.consumer_info(self.span.stream, self.span.durable)
        except NotFoundError:
            raise ConsumerDeleted(self.span.durable) from None
        except (NatsError, JetStreamError, TimeoutError):
            return False
        delivered = info.delivered.stream_seq if info.delivered else 0
        if info.num_pending and delivered < self.span.end:
            return False
        patience = self.span.patience
        waited = patience is not None and not self.held and monotonic() - self.last_message_at > patience
        return not info.num_ack_pending or waited


async def _give_back(messages: list[Msg]) -> None:
    for message in messages:
        if not message.is_acked:
            with suppress(NatsError):
                await message.nak()
