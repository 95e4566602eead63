"""Posted images on their way into the log: kept through an outage of it, in order, within bounded memory."""

import asyncio
from collections.abc import Callable

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.events import Fact
from contracts.ports import Journal

log = structlog.get_logger()


class Recorder:
    """A queue before the journal. `add` never waits; `run` records, and tries for ever while the log is down.

    What cannot be kept or recorded is counted through `on_lost`: the backlog holds at most `backlog` facts (about 2 kB each).
    """

    def __init__(self, journal: Journal, on_lost: Callable[[], None], *, backlog: int = 50_000, first_wait: float = 0.2) -> None:
        self._journal = journal
        self._on_lost = on_lost
        self._queue: asyncio.Queue[tuple[Fact, Origin]] = asyncio.Queue(backlog)
        self._first_wait = first_wait

    def add(self, fact: Fact, origin: Origin) -> None:
        try:
            self._queue.put_nowait((fact, origin))
        except asyncio.QueueFull:
            log.error("posted image lost: too many wait for the log", waiting=self._queue.qsize())
            self._on_lost()

    async def run(self) -> None:
        """Record what is added, one after the other, until cancelled."""
        while True:
            fact, origin = await self._queue.get()
            try:
                with structlog.contextvars.bound_contextvars(correlation_id=origin.correlation_id):
                    await self._record(fact, origin)
            finally:
                self._queue.task_done()

    async def flush(self, timeout: float) -> None:
        """Wait until everything added is recorded, at most `timeout` seconds; what is left then is lost and counted."""
        try:
            await asyncio.wait_for(self._queue.join(), timeout)
        except TimeoutError:
            waiting = self._queue.qsize() + 1
            log.error("posted images lost: the log stayed unreachable until the end", count=waiting)
            for _ in range(waiting):
                self._on_lost()

    async def _record(self, fact: Fact, origin: Origin) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential(multiplier=self._first_wait, max=10) + wait_random(max=self._first_wait),
            before_sleep=self._warn_once,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    recorded = await self._journal.record(fact, origin)
        except Exception:  # a fault of ours must not stop the images that wait behind this one
            log.exception("posted image lost: it could not be recorded", key=fact.key)
            self._on_lost()
        else:
            log.info("image posted" if recorded else "image posted again", key=fact.key)

    def _warn_once(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            error = state.outcome.exception() if state.outcome else None
            log.warning("the log is unreachable: posted images wait", error=str(error), waiting=self._queue.qsize() + 1)
