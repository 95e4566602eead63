"""Dead letters, which keep a failed message with everything needed to understand it and to try it again; and incidents.

An incident is a fact about a failed attempt, or about what somebody did with a dead letter.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from nats.aio.msg import Msg
from pydantic import ValidationError

from contracts.envelope import Origin
from contracts.events import Incident
from contracts.subjects import FAILURES, MESSAGE, RETRIES, DeadLetterKey, entity_of, failure_subject
from contracts.text import replace_surrogates
from infra.nats.journal import JetStreamJournal
from pipeline.clock import utc_now

Cause = Literal["malformed", "error", "exhausted", "poison"]
"""malformed: the body is unreadable. error: a bug. exhausted: all retries failed. poison: delivered again and again and never
finished, because the process died while it worked on it, or hung."""

MAX_TRACEBACK_CHARACTERS = 8_000

HEADER_PREFIX, REPLAYED_HEADER = "mapseek-", "mapseek-replayed"
"""The prefix of the headers that describe the failure; and the only one of them that belongs to the log entry itself."""

EARLIER_ATTEMPTS_HEADER = "mapseek-tried"
"""Header: the number of attempts before this copy of a retried message was made, because a process could not handle
its generation."""

AnyIncident = TypeVar("AnyIncident", bound=Incident)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one log entry to one stage. `attempt` counts from 1 in each `round`, over all processes.

    A new round begins when somebody puts the entry's dead letter back.
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
    """The stage, lane, consumer and generation that a message failed in."""

    stage: str
    family: str
    consumer: str
    generation: str | None = None
    is_replay: bool = False


def read_delivery(message: Msg) -> Delivery:
    """Read the delivery of a message. For a dead letter that was put back, its headers name the original log entry."""
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
    """Return how often the entry of a dead letter had been put back before."""
    return int(headers["mapseek-round"])


def build_letter_key(delivery: Delivery, worker: WorkerIdentity) -> DeadLetterKey:
    """Return what identifies the dead letter of a delivery."""
    guild_id = entity_of(delivery.subject)[0] if worker.family == MESSAGE else None
    return DeadLetterKey(worker.stage, worker.family, str(delivery.sequence), worker.generation, guild_id)


async def record_dead_letter(
    journal: JetStreamJournal,
    delivery: Delivery,
    worker: WorkerIdentity,
    *,
    cause: Cause,
    reason: str,
    error: BaseException | None,
    hide: Callable[[str], str] = str,
) -> bool:
    """Record a dead letter, once for each stage, log entry and round. Its body and `ce-*` headers are those of the log entry.

    `hide` takes secrets out of the reason and the traceback. Return False if it was recorded before. Raises Unavailable.
    """
    headers = {
        **remove_server_headers(delivery.headers),
        "mapseek-stage": worker.stage,
        "mapseek-family": worker.family,
        "mapseek-consumer": worker.consumer,
        "mapseek-cause": cause,
        "mapseek-reason": to_one_line(hide(reason)),
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
        trace = hide("".join(traceback.format_exception(error)))[-MAX_TRACEBACK_CHARACTERS:]
        headers["mapseek-traceback"] = replace_surrogates(trace).replace("\r", "").replace("\n", "\\n")
    subject = failure_subject(*build_letter_key(delivery, worker))
    # The dead letter of an earlier round may still be there: whoever puts it back deletes it afterwards, by its sequence.
    previous, previous_sequence = await journal.read_last_headers(FAILURES, subject)
    if previous is not None and read_round(previous) >= delivery.round:
        return False
    return await journal.publish_once(subject, delivery.body, headers, FAILURES, expected_sequence=previous_sequence)


def remove_server_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers without those of the server, which must not be published again."""
    return {name: value for name, value in headers.items() if not name.lower().startswith("nats-")}


def to_one_line(text: str) -> str:
    """Shorten a reason to one line of at most 500 characters, so that it fits into a header and a table."""
    return replace_surrogates(" ".join(text.split())[:500]) or "no reason given"


async def record_incident(
    kind: type[AnyIncident], delivery: Delivery, worker: WorkerIdentity, journal: JetStreamJournal, **more: Any
) -> AnyIncident | None:
    """Record an incident of a delivery, once, and return it. Return None if the subject names no image, search or alert.

    Raises Unavailable while the log is down.
    """
    fact = build_incident(kind, delivery, worker, journal.source, **more)
    if fact is not None:
        correlation = delivery.headers.get("ce-correlationid", delivery.subject)
        await journal.record(fact, Origin(correlation, delivery.subject))
    return fact


def build_incident(
    kind: type[AnyIncident], delivery: Delivery, worker: WorkerIdentity, process: str, **more: Any
) -> AnyIncident | None:
    """Build the incident. The subject says what it is about, so that an entry with an unreadable body can have incidents too."""
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
