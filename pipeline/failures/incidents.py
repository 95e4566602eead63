"""Incidents: what went wrong with an image or a question, and what was done about it by hand, as facts."""

from typing import Any, TypeVar

from pydantic import ValidationError

from contracts.envelope import Origin
from contracts.events import Incident
from contracts.subjects import entity_of
from infra.nats.journal import JetStreamJournal
from pipeline.clock import utc_now
from pipeline.deadletters import Delivery, Worker

I = TypeVar("I", bound=Incident)  # noqa: E741 - what is returned is of the kind that is asked for


async def record_incident(kind: type[I], delivery: Delivery, worker: Worker, journal: JetStreamJournal, **more: Any) -> I | None:
    """Record an incident of the work on a log entry, once. None for an entry that is about nothing that could be named.

    Raises Unavailable while the log is down.
    """
    fact = incident(kind, delivery, worker, journal.source, **more)
    if fact is not None:
        correlation = delivery.headers.get("ce-correlationid", delivery.subject)
        await journal.record(fact, Origin(correlation, delivery.subject))
    return fact


def incident(kind: type[I], delivery: Delivery, worker: Worker, process: str, **more: Any) -> I | None:
    """The fact. What it is about is told by the entry's subject, so that a body that nobody can read has incidents too."""
    guild_id, entity_id = entity_of(delivery.subject)
    try:
        return kind(
            guild_id=guild_id,
            entity_id=entity_id,
            lane=worker.family,
            stage=worker.stage,
            consumer=worker.consumer,
            generation=worker.generation,
            sequence=delivery.sequence,
            round=delivery.round,
            attempt=delivery.attempt,
            happened_at=utc_now(),
            process=process,
            **more,
        )
    except ValidationError:
        return None
