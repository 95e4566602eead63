"""The envelope of a fact: CloudEvents 1.0 attributes in binary mode as `ce-*` headers, and a W3C traceparent."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts.events.base import Fact
from contracts.subjects import subject_of


@dataclass(frozen=True, slots=True)
class Origin:
    """What a fact belongs to: the Discord message or interaction that began it all, and the fact that caused this one.

    `replayed` is set on what a replay records and on all that follows from it: nobody is told of it.
    """

    correlation_id: str
    causation_id: str | None = None
    replayed: bool = False


def headers_of(fact: Fact, origin: Origin, source: str, recorded_at: datetime) -> dict[str, str]:
    """The headers to publish with a fact. `ce-id` is its subject, which is as unique as the fact."""
    subject = subject_of(fact)
    headers = {
        "ce-specversion": "1.0",
        "ce-id": subject,
        "ce-type": f"mapseek.{fact.type_name()}.v{fact.version}",
        "ce-source": source,
        "ce-time": recorded_at.isoformat(),
        "ce-correlationid": origin.correlation_id,
        "content-type": "application/json",
        "traceparent": traceparent(origin.correlation_id),
    }
    if origin.causation_id is not None:
        headers["ce-causationid"] = origin.causation_id
    if origin.replayed:
        headers["mapseek-replayed"] = "1"
    return headers


def origin_of(headers: Mapping[str, str], subject: str) -> Origin:
    """The origin that a recorded fact carries; a fact recorded without one is its own origin."""
    return Origin(
        correlation_id=headers.get("ce-correlationid", subject),
        causation_id=headers.get("ce-causationid"),
        replayed="mapseek-replayed" in headers,
    )


def traceparent(correlation_id: str) -> str:
    """A W3C trace context whose trace id is derived from the correlation id, so that every process agrees on it."""
    trace_id = hashlib.sha256(correlation_id.encode()).hexdigest()[:32]
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"
