"""What a process works on: its jobs, what they share, and how a message is held while something it needs is down."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from contracts.errors import Unavailable
from contracts.stage import Stage
from contracts.subjects import durable_name
from infra.nats.journal import JetStreamJournal
from pipeline.deadletters import Worker
from pipeline.monitoring.metrics import Metrics
from pipeline.policy import Policy
from pipeline.precedence import Precedence

PUT_BACK_S = 1.0
"""How long what came too late is kept from the fetches that other workers of this process still have under way."""


log = structlog.get_logger()

T = TypeVar("T")


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
    in_a_row: int = 0

    @property
    def labels(self) -> tuple[str, str]:
        return self.stage.name, self.family

    @property
    def consumer(self) -> str:
        """The durable that it works on."""
        return self.replay or durable_name(self.stage.name, self.family, self.generation)

    @property
    def replaying(self) -> bool:
        return self.replay is not None

    @property
    def worker(self) -> Worker:
        return Worker(self.stage.name, self.family, self.consumer, self.generation, self.replaying)


@dataclass(slots=True)
class Runtime:
    """What all jobs of a process share."""

    journal: JetStreamJournal
    metrics: Metrics
    policy: Policy = field(default_factory=Policy)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    waiting_for: dict[str, str] = field(default_factory=dict)
    precedence: Precedence = field(default_factory=Precedence)


class Stopping(Exception):
    """The process is asked to end while a message was held: it is left to the next process."""


async def until_available(action: Callable[[], Awaitable[T]], job: Job, runtime: Runtime) -> T:
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
            log.warning("held: a dependency is down", dependency=outage.dependency, reason=str(outage), tries=tries)
            await pause(runtime.policy.hold.delay(tries), runtime)
        else:
            if tries:
                runtime.waiting_for.pop(job.stage.name, None)
            return result


async def pause(seconds: float, runtime: Runtime) -> None:
    """Wait. Raises Stopping when the process is asked to end meanwhile."""
    with suppress(TimeoutError):
        await asyncio.wait_for(runtime.stopping.wait(), seconds)
        raise Stopping
