"""What a process works on: its jobs, what they share, and how a message is held while something it needs is down.

How often and how soon something is tried again. Delays are seconds.

The archive lane stands back while a question is being worked on in this process.

Each lane has workers of its own, but both share the event loop, its threads and the processor: with thousands of images waiting,
every stage of a question would wait for dozens of archived messages. So the archive lane begins no message while the search lane
has one, and for a moment after, since the next stage's message is on its way then. What it has begun, it ends.
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
from pipeline.engine.dead_letters import WorkerIdentity
from pipeline.engine.metrics import Metrics
from stages import erase

log = structlog.get_logger()

PRECEDENCE_GRACE_S = 0.1
"""How long after a question's message the archive lane goes on: the next stage has its own within a few milliseconds."""

PRECEDENCE_TIMEOUT_S = 5.0
"""How long a message stands back at most, and how long one message of a question is stood back for: the archive grows however many
people ask, and whatever a question waits for."""

PUT_BACK_DELAY_S = 1.0
"""How long what came too late is kept from the fetches that other workers of this process still have under way."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delay with full jitter on its upper half, so that a crowd does not come back at once."""

    first: float
    factor: float
    longest: float

    def delay(self, attempt: int, at_least: float | None = None) -> float:
        """The delay before attempt number `attempt + 1`; attempts count from 1."""
        full = min(self.longest, self.first * self.factor ** min(attempt - 1, 32))
        return max(at_least or 0.0, full * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret


@dataclass(frozen=True, slots=True)
class Policy:
    """The runner's patience. A person waits in the search lane, so it tries again sooner.

    `blob_grace` is how long the blobs of a removed image are left, lest another image is about to use them.
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
    """Who may begin: questions at once, images when there is no question. Times are seconds."""

    def __init__(self, grace: float = PRECEDENCE_GRACE_S, patience: float = PRECEDENCE_TIMEOUT_S) -> None:
        self._grace = grace
        self._patience = patience
        self._questions: set[object] = set()
        self._clear = asyncio.Event()
        self._clear.set()
        self._clearing: asyncio.TimerHandle | None = None

    @contextmanager
    def question(self) -> Iterator[None]:
        """While a message of a question is worked on."""
        this = object()
        self._questions.add(this)
        self._clear.clear()
        if self._clearing is not None:
            self._clearing.cancel()
        overdue = asyncio.get_running_loop().call_later(self._patience, self._let_go, this)
        try:
            yield
        finally:
            overdue.cancel()
            self._let_go(this)

    def _let_go(self, question: object) -> None:
        if question in self._questions:
            self._questions.remove(question)
            if not self._questions:
                self._clearing = asyncio.get_running_loop().call_later(self._grace, self._clear.set)

    async def wait_for_turn(self) -> None:
        """Return when no question is worked on, or when patience is at its end."""
        if self._clear.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._clear.wait()


@dataclass(slots=True)
class Job:
    """One stage in one lane in this process, or in what is there for one generation.

    One with a `replay`, which is that one's own durable, goes through the past again: nobody is told of what it records. `in_a_row`
    counts dead letters since the last success, for the circuit breaker.
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
        """The durable that it works on."""
        return self.replay or consumer_name(self.stage.name, self.family, self.generation)

    @property
    def is_replay(self) -> bool:
        return self.replay is not None

    @property
    def worker(self) -> WorkerIdentity:
        return WorkerIdentity(self.stage.name, self.family, self.consumer, self.generation, self.is_replay)


@dataclass(slots=True)
class Runtime:
    """What all jobs of a process share."""

    journal: JetStreamJournal
    metrics: Metrics
    policy: Policy = field(default_factory=Policy)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    waiting_for: dict[str, str] = field(default_factory=dict)
    precedence: Precedence = field(default_factory=Precedence)


class ShutdownRequested(Exception):
    """The process is asked to end while a message was held: it is left to the next process."""


async def hold_until_available(action: Callable[[], Awaitable[T]], job: Job, runtime: Runtime) -> T:
    """Hold the message while a dependency is down: an outage uses up no attempts and moves nothing to FAILURES.

    Raises Stopping when the process is asked to end meanwhile.
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
    """Wait. Raises Stopping when the process is asked to end meanwhile."""
    with suppress(TimeoutError):
        await asyncio.wait_for(runtime.stopping.wait(), seconds)
        raise ShutdownRequested
