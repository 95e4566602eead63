"""Facts on their way into the log: kept through an outage of it, in order, within bounded memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.events import Fact
from contracts.ports import Journal
from infra.tasks import raise_if_cancelled

log = structlog.get_logger()

T = TypeVar("T")

FindFacts = Callable[[], Awaitable[Sequence[Fact]]]
"""Asks the log what there is to record, when all that was added before is in it. May raise Unavailable: it is asked again."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Facts to record, or a way to find them, or a call to make when everything before is done."""

    origin: Origin | None = None
    fact: Fact | None = None
    find: FindFacts | None = None
    call: Callable[[], None] | None = None


def _ignore(_: Fact) -> None:
    """The default hook."""


class Recorder:
    """A queue before the journal. `add` never waits; `run` records, and tries for ever while the log is down.

    What cannot be kept or recorded is counted through `on_lost`, and named to `on_lost_fact` before any later call is made. At most
    `backlog` posts (about 2 kB each) wait; removals are never turned away.
    """

    def __init__(
        self,
        journal: Journal,
        on_lost: Callable[[], None],
        *,
        on_lost_fact: Callable[[Fact], None] = _ignore,
        backlog: int = 50_000,
        first_wait_s: float = 0.2,
    ) -> None:
        self._journal = journal
        self._on_lost = on_lost
        self._on_lost_fact = on_lost_fact
        self._queue: asyncio.Queue[_Work] = asyncio.Queue()
        self._backlog = backlog
        self._first_wait = first_wait_s

    def add(self, fact: Fact, origin: Origin) -> None:
        """Record a post, if there is still room."""
        if self._is_full:
            log.error("post_lost", waiting_count=self._queue.qsize(), reason="the queue is full", hint="Start the NATS server.")
            self._report_lost(fact)
        else:
            self._queue.put_nowait(_Work(origin, fact=fact))

    def add_removal(self, fact: Fact, origin: Origin) -> None:
        """Record a removal, however many posts wait: it comes behind those that it is about."""
        self._queue.put_nowait(_Work(origin, fact=fact))

    def add_lookup(self, find: FindFacts, origin: Origin) -> None:
        """Record what is found once everything added before is in the log."""
        self._queue.put_nowait(_Work(origin, find=find))

    def add_callback(self, call: Callable[[], None]) -> None:
        """Call when everything added before is recorded or lost. Left out where too much waits: a later call must mean as much."""
        if not self._is_full:
            self._queue.put_nowait(_Work(call=call))

    async def wait_recorded(self) -> None:
        """Wait until everything added before is recorded or lost."""
        done = asyncio.Event()
        self._queue.put_nowait(_Work(call=done.set))
        await done.wait()

    async def run(self) -> None:
        """Record what is added, one after the other, until cancelled."""
        while True:
            raise_if_cancelled()
            work = await self._queue.get()
            try:
                if work.call is not None:
                    work.call()
                elif work.origin is not None:
                    with structlog.contextvars.bound_contextvars(correlation_id=work.origin.correlation_id):
                        await self._work(work, work.origin)
            except Exception:  # a fault of ours must not stop what waits behind it
                log.exception("recording_failed")
            finally:
                self._queue.task_done()

    async def flush(self, timeout: float) -> None:
        """Wait until everything added is recorded, at most `timeout` seconds; what is left then is lost and counted."""
        try:
            await asyncio.wait_for(self._queue.join(), timeout)
        except TimeoutError:
            waiting = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            count = 1 + sum(work.call is None for work in waiting)
            log.error("posts_lost", count=count, hint="Start the NATS server.")
            for _ in range(count):
                self._on_lost()

    @property
    def _is_full(self) -> bool:
        return self._queue.qsize() >= self._backlog

    async def _work(self, work: _Work, origin: Origin) -> None:
        facts = [work.fact] if work.fact is not None else await self._look_up(work.find) if work.find is not None else []
        for fact in facts:
            await self._record(fact, origin)

    async def _look_up(self, find: FindFacts) -> Sequence[Fact]:
        try:
            return await self._retry_while_unavailable(find)
        except Exception:
            log.exception("removal_lost")
            self._on_lost()
            return []

    async def _record(self, fact: Fact, origin: Origin) -> None:
        async def record() -> bool:
            return await self._journal.record(fact, origin)

        try:
            recorded = await self._retry_while_unavailable(record)
        except Exception:
            log.exception("fact_lost", fact=fact.type_name(), key=fact.key)
            self._report_lost(fact)
        else:
            log.info("fact_recorded" if recorded else "fact_already_recorded", fact=fact.type_name(), key=fact.key)

    async def _retry_while_unavailable(self, work: Callable[[], Awaitable[T]]) -> T:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential(multiplier=self._first_wait, max=10) + wait_random(max=self._first_wait),
            before_sleep=self._warn_first,
        )
        return await retrying(work)

    def _report_lost(self, fact: Fact) -> None:
        self._on_lost()
        self._on_lost_fact(fact)

    def _warn_first(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            error = state.outcome.exception() if state.outcome else None
            log.warning("recorder_waiting", error=str(error), waiting_count=self._queue.qsize() + 1, hint="Check the NATS server.")
