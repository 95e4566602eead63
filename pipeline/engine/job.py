"""The jobs of a process, and what they share: the retry policy, the precedence of searches, and holding a message during an outage.

Searches have precedence over the archive lane. Each lane has its own workers, but all share the event loop, its threads and the
processor: with thousands of images waiting, every stage of a search would wait for dozens of archived messages. So the archive lane
starts no message while the search lane has one, nor for a short time after, since the message of the next stage follows then. A
message that it has started, it finishes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from contracts.errors import Unavailable
from contracts.stage import Stage
from contracts.subjects import consumer_name
from infra.nats.journal import JetStreamJournal
from infra.tasks import cancel_tasks
from pipeline.engine.dead_letters import WorkerIdentity
from pipeline.engine.metrics import Metrics
from stages import erase

log = structlog.get_logger()

PRECEDENCE_GRACE_S = 0.1
"""How long the archive lane waits after a message of a search: the next stage gets its message within a few milliseconds."""

PRECEDENCE_TIMEOUT_S = 5.0
"""The longest time that a message of the archive lane waits, and that one message of a search makes others wait. So the archive
keeps growing however many people search, and whatever a search waits for."""

FINISH_CALLS_S = 5.0
"""How long the stages may go on with the messages that they have when the process stops."""

PUT_BACK_DELAY_S = 1.0
"""Redelivery delay of a message that arrives while the process stops. Otherwise a pending fetch of the same process
would get it."""

AnyResult = TypeVar("AnyResult")


@dataclass(frozen=True, slots=True)
class Backoff:
    """An exponential delay in seconds.

    A random part (half to all of it) spreads messages, so that they do not all return at once.
    """

    first: float
    factor: float
    longest: float

    def delay(self, attempt: int, at_least: float | None = None) -> float:
        """Return the delay in seconds before attempt number `attempt + 1`. Attempts count from 1."""
        full = min(self.longest, self.first * self.factor ** min(attempt - 1, 32))
        return max(at_least or 0.0, full * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how soon the runner tries again. A person waits for the search lane, so its delays are shorter.

    `blob_grace` is how long the blobs of a removed image are kept, because another image may be about to use them.
    """

    image_retry: Backoff = Backoff(first=2, factor=4, longest=300)
    search_retry: Backoff = Backoff(first=0.5, factor=2, longest=10)
    hold: Backoff = Backoff(first=0.5, factor=2, longest=15)
    keep_alive_every: float = 10
    breaker_limit: int = 25
    blob_grace: timedelta = erase.BLOB_GRACE

    def retry(self, family: str) -> Backoff:
        return self.search_retry if family == "search" else self.image_retry


class Precedence:
    """Decides which lane may start a message: searches at once, images when no search is in progress. Times are in seconds."""

    def __init__(self, grace: float = PRECEDENCE_GRACE_S, patience: float = PRECEDENCE_TIMEOUT_S) -> None:
        self._grace = grace
        self._patience = patience
        self._searches: set[object] = set()
        self._no_search = asyncio.Event()
        self._no_search.set()
        self._clear_timer: asyncio.TimerHandle | None = None

    @contextmanager
    def search_in_progress(self) -> Iterator[None]:
        """Mark a message of a search as in progress for the time of the `with`."""
        token = object()
        self._searches.add(token)
        self._no_search.clear()
        if self._clear_timer is not None:
            self._clear_timer.cancel()
        deadline = asyncio.get_running_loop().call_later(self._patience, self._end_search, token)
        try:
            yield
        finally:
            deadline.cancel()
            self._end_search(token)

    def _end_search(self, token: object) -> None:
        if token in self._searches:
            self._searches.remove(token)
            if not self._searches:
                self._clear_timer = asyncio.get_running_loop().call_later(self._grace, self._no_search.set)

    async def wait_for_turn(self) -> None:
        """Return when no search is in progress, or after the longest wait."""
        if self._no_search.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._no_search.wait()


@dataclass(slots=True)
class Job:
    """One stage in one lane in this process, for the whole lane or for one generation.

    `replay` is the name of a replay's own consumer. Such a job handles old facts again, and nobody is notified of what it records.
    `consecutive_failures` counts dead letters since the last success, for the circuit breaker.
    """

    stage: Stage[Any]
    family: str
    deps: object
    generation: str | None = None
    replay: str | None = None
    consecutive_failures: int = 0

    @property
    def labels(self) -> tuple[str, str]:
        return self.stage.name, self.family

    @property
    def consumer(self) -> str:
        """The name of the durable consumer that it fetches from."""
        return self.replay or consumer_name(self.stage.name, self.family, self.generation)

    @property
    def is_replay(self) -> bool:
        return self.replay is not None

    @property
    def worker(self) -> WorkerIdentity:
        return WorkerIdentity(self.stage.name, self.family, self.consumer, self.generation, self.is_replay)


@dataclass(slots=True)
class Runtime:
    """What all jobs of a process share.

    `waiting_for` names, by stage, the dependency that the stage waits for. `calls` are the calls of stages that run now.
    """

    journal: JetStreamJournal
    metrics: Metrics
    policy: Policy = field(default_factory=Policy)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    waiting_for: dict[str, str] = field(default_factory=dict)
    precedence: Precedence = field(default_factory=Precedence)
    calls: set[asyncio.Task[Any]] = field(default_factory=set)


class ShutdownRequested(Exception):
    """The process was asked to stop while it held a message. The message is left to the next process."""


async def call_until_stop(work: Callable[[], Awaitable[AnyResult]], runtime: Runtime) -> AnyResult:
    """Call a stage and return its result. Raises ShutdownRequested if the process stops before the call ends."""
    if runtime.stopping.is_set():
        raise ShutdownRequested
    call = asyncio.ensure_future(work())
    runtime.calls.add(call)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if call.cancelled() and runtime.stopping.is_set():
            raise ShutdownRequested from None
        call.cancel()
        raise
    finally:
        runtime.calls.discard(call)


async def finish_calls(runtime: Runtime) -> None:
    """Stop the process's work: no new call of a stage begins, and those that run have FINISH_CALLS_S. Then they are cancelled."""
    runtime.stopping.set()
    if running := list(runtime.calls):
        await asyncio.wait(running, timeout=FINISH_CALLS_S)
        await cancel_tasks(*running)


async def hold_until_available(action: Callable[[], Awaitable[AnyResult]], job: Job, runtime: Runtime) -> AnyResult:
    """Run an action until it does not raise Unavailable, and return its result. The message is held that long.

    An outage uses up no attempts and moves nothing to FAILURES. Raises ShutdownRequested if the process is asked to stop.
    """
    tries = 0
    while True:
        try:
            result = await action()
        except Unavailable as outage:
            tries += 1
            runtime.waiting_for[job.stage.name] = outage.dependency
            runtime.metrics.held.labels(*job.labels, outage.dependency).inc()
            log.warning("dependency_unavailable", dependency=outage.dependency, error=str(outage), hold_count=tries)
            await sleep_unless_stopping(runtime.policy.hold.delay(tries), runtime)
        else:
            if tries:
                runtime.waiting_for.pop(job.stage.name, None)
            return result


async def sleep_unless_stopping(seconds: float, runtime: Runtime) -> None:
    """Wait for so many seconds. Raises ShutdownRequested if the process is asked to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(runtime.stopping.wait(), seconds)
        raise ShutdownRequested
