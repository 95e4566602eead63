"""What a stage returned becomes facts in the log, each with where it comes from."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from contracts.envelope import Origin
from contracts.errors import RejectCode
from contracts.events import Fact
from pipeline.jobs import Job, Runtime, until_available


@runtime_checkable
class Rejectable(Protocol):
    """A step of an image or of a question: it knows the fact that ends its entity's way."""

    def rejected(self, stage: str, code: RejectCode, reason: str) -> Fact: ...


def rejection_of(fact: Fact, job: Job, code: RejectCode, reason: str) -> Fact:
    """The fact that ends an entity's way. Raises TypeError, which is a bug of the stage, for what has no such end."""
    if not isinstance(fact, Rejectable):
        raise TypeError(f"{fact.type_name()} cannot be rejected")
    return fact.rejected(job.stage.name, code, reason)


async def record_all(facts: Sequence[Fact], origin: Origin, cause: str, job: Job, runtime: Runtime) -> None:
    """Record what the stage returned. A fact that is there already was recorded by an earlier delivery."""
    consequence = Origin(origin.correlation_id, cause, origin.replayed or job.replaying)
    for fact in facts:
        new = await until_available(lambda fact=fact: runtime.journal.record(fact, consequence), job, runtime)  # type: ignore[misc]
        if not new:
            runtime.metrics.known.labels(*job.labels).inc()
