"""Dead letters: what could not be worked on, with all that is needed to understand it and to try again.

Incidents: what went wrong with an image or a question, and what was done about it by hand, as facts.
"""

import traceback
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from nats.aio.msg import Msg
from pydantic import ValidationError

from contracts.envelope import Origin
from contracts.events import Incident
from contracts.subjects import FAILURES, RETRIES, entity_of, failure_subject
from infra.nats.journal import JetStreamJournal
from pipeline.clock import utc_now

Cause = Literal["malformed", "error", "exhausted", "poison"]
"""Unreadable bytes; a bug; retried in vain; delivered again and again without an end (the process died of it, or hung)."""

MAX_TRACEBACK_CHARACTERS = 8_000

HEADER_PREFIX, REPLAYED_HEADER = "mapseek-", "mapseek-replayed"
"""What the headers of a dead letter that say how it came to be begin with; and the one of them that is the entry's."""

EARLIER_ATTEMPTS_HEADER = "mapseek-tried"
"""How often what is put back was tried before it was put back once more, since the process that it came to could not."""

I = TypeVar("I", bound=Incident)  # noqa: E741 - what is returned is of the kind that is asked for


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one log entry to one stage. `attempt` counts from 1, over all processes, in each `round`.

    A round begins when somebody puts the entry's dead letter back by hand.
    """

    stream: str
    sequence: int
    attempt: int
    subject: str
    headers: dict[str, str]
    body: bytes
    round: int = 0


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Who could not work on it."""

    stage: str
    family: str
    consumer: str
    generation: str | None = None
    is_replay: bool = False


def read_delivery(message: Msg) -> Delivery:
    """What is delivered: an entry of a log, or one that was put back and says in its headers where it is from."""
    metadata, headers = message.metadata, dict(message.headers or {})
    stream, sequence, subject, attempt = metadata.stream, metadata.sequence.stream, message.subject, metadata.num_delivered or 1
    if stream != RETRIES:
        return Delivery(stream, sequence, attempt, subject, headers, message.data)
    return Delivery(
        stream=headers["mapseek-stream"],
        sequence=int(headers["mapseek-sequence"]),
        attempt=attempt + int(headers.get(EARLIER_ATTEMPTS_HEADER, "0")),
        subject=headers["mapseek-subject"],
        headers={name: value for name, value in headers.items() if not name.startswith(HEADER_PREFIX) or name == REPLAYED_HEADER},
        body=message.data,
        round=read_round(headers) + 1,
    )


def read_round(headers: dict[str, str]) -> int:
    """How often what lies in a dead letter had been put back."""
    return int(headers["mapseek-round"])


async def record_dead_letter(
    journal: JetStreamJournal, delivery: Delivery, worker: WorkerIdentity, *, cause: Cause, reason: str, error: BaseException | None
) -> None:
    """Record a dead letter, once for each stage, log entry and round. The body and `ce-*` headers are those of the entry itself."""
    headers = {
        **remove_server_headers(delivery.headers),
        "mapseek-stage": worker.stage,
        "mapseek-family": worker.family,
        "mapseek-consumer": worker.consumer,
        "mapseek-cause": cause,
        "mapseek-reason": to_one_line(reason),
        "mapseek-subject": delivery.subject,
        "mapseek-stream": delivery.stream,
        "mapseek-sequence": str(delivery.sequence),
        "mapseek-attempts": str(delivery.attempt),
        "mapseek-round": str(delivery.round),
        "mapseek-buried-at": utc_now().isoformat(),
    }
    if worker.generation is not None:
        headers["mapseek-generation"] = worker.generation
    if worker.is_replay:
        headers[REPLAYED_HEADER] = "1"
    if error is not None:
        trace = "".join(traceback.format_exception(error))[-MAX_TRACEBACK_CHARACTERS:]
        headers["mapseek-traceback"] = trace.replace("\r", "").replace("\n", "\\n")
    subject = failure_subject(worker.stage, worker.family, delivery.sequence, worker.generation)
    # The letter of an earlier round may be there still: who put it back deletes it after that, and knows it by its sequence.
    known, buried = await journal.read_last_headers(FAILURES, subject)
    if known is None or read_round(known) < delivery.round:
        await journal.publish_once(subject, delivery.body, headers, FAILURES, expected_sequence=buried)


def remove_server_headers(headers: dict[str, str]) -> dict[str, str]:
    """The headers that are ours to publish again."""
    return {name: value for name, value in headers.items() if not name.lower().startswith("nats-")}


def to_one_line(text: str) -> str:
    """A reason as it fits into a header and a table."""
    return " ".join(text.split())[:500] or "no reason given"


async def record_incident(
    kind: type[I], delivery: Delivery, worker: WorkerIdentity, journal: JetStreamJournal, **more: Any
) -> I | None:
    """Record an incident of the work on a log entry, once. None for an entry that is about nothing that could be named.

    Raises Unavailable while the log is down.
    """
    fact = build_incident(kind, delivery, worker, journal.source, **more)
    if fact is not None:
        correlation = delivery.headers.get("ce-correlationid", delivery.subject)
        await journal.record(fact, Origin(correlation, delivery.subject))
    return fact


def build_incident(kind: type[I], delivery: Delivery, worker: WorkerIdentity, process: str, **more: Any) -> I | None:
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
