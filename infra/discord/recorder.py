"""Brings facts into the log: in order, within bounded memory, and through an outage of the log."""

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
"""Reads from the log which facts to record. It is called when everything added before is in the log.

If it raises Unavailable, it is called again.
"""


@dataclass(frozen=True, slots=True)
class _Work:
    """One entry of the queue: a fact to record, a way to find facts, or a call to make when everything before it is done.

    `about` is a post that is lost if the facts cannot be found.
    """

    origin: Origin | None = None
    fact: Fact | None = None
    find: FindFacts | None = None
    call: Callable[[], None] | None = None
    about: Fact | None = None


def _ignore(_: Fact) -> None:
    """The default hook."""


class Recorder:
    """A queue before the journal.

    `add` never waits; `run` records, and retries for as long as the log is down. `on_lost` is called for every fact that cannot be
    kept or recorded, and `on_lost_fact` is given that fact before any later callback runs. At most `backlog` posts (about 2 kB
    each) wait; removals are always kept.
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
        """Queue a post, if there is room."""
        if self._is_full:
            log.error("post_lost", waiting_count=self._queue.qsize(), reason="the queue is full", hint="Start the NATS server.")
            self._report_lost(fact)
        else:
            self._queue.put_nowait(_Work(origin, fact=fact))

    def add_removal(self, fact: Fact, origin: Origin) -> None:
        """Queue a removal, however many posts wait. It comes after the posts that it removes."""
        self._queue.put_nowait(_Work(origin, fact=fact))

    def add_lookup(self, find: FindFacts, origin: Origin, *, about: Fact | None = None) -> None:
        """Queue a search for facts, which runs when everything added before is in the log.

        `about` is a post that counts as lost if the search fails.
        """
        self._queue.put_nowait(_Work(origin, find=find, about=about))

    def add_callback(self, call: Callable[[], None]) -> None:
        """Call when everything added before is recorded or lost.

        The call is left out if the queue is full, so a later call must have the same effect.
        """
        if not self._is_full:
            self._queue.put_nowait(_Work(call=call))

    async def wait_recorded(self) -> None:
        """Wait until everything added before is recorded or lost."""
        done = asyncio.Event()
        self._queue.put_nowait(_Work(call=done.set))
        await done.wait()

    async def run(self) -> None:
        """Record what is added, one entry after another, until cancelled."""
        while True:
            raise_if_cancelled()
            work = await self._queue.get()
            try:
                if work.call is not None:
                    work.call()
                elif work.origin is not None:
                    with structlog.contextvars.bound_contextvars(correlation_id=work.origin.correlation_id):
                        await self._work(work, work.origin)
            except Exception:  # a bug must not stop the entries behind this one
                log.exception("recording_failed")
            finally:
                self._queue.task_done()

    async def flush(self, timeout: float) -> None:
        """Wait at most `timeout` seconds until everything added is recorded. What is left then is lost and counted."""
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
        facts = (
            [work.fact] if work.fact is not None else await self._look_up(work.find, work.about) if work.find is not None else []
        )
        for fact in facts:
            await self._record(fact, origin)

    async def _look_up(self, find: FindFacts, about: Fact | None) -> Sequence[Fact]:
        try:
            return await self._retry_while_unavailable(find)
        except Exception:
            log.exception("change_lost")
            self._on_lost()
            if about is not None:
                self._on_lost_fact(about)
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
