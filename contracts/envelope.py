"""The envelope of a fact: CloudEvents 1.0 attributes in binary mode as `ce-*` headers, and a W3C traceparent.

Reading a payload: older versions are upcast to today's, one version at a time. Pure, no IO.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from contracts.errors import Malformed
from contracts.events import FACTS, RemovalRequested, SearchMatched
from contracts.events.base import Fact
from contracts.subjects import subject_of

JsonObject = dict[str, Any]
Upcaster = Callable[[JsonObject], JsonObject]


def _keep_fields(document: JsonObject) -> JsonObject:
    """The next version has all fields of this one, with the same meaning, and more values."""
    return document


UPCASTERS: Mapping[tuple[str, int], Upcaster] = {
    (RemovalRequested.type_name(), 1): _keep_fields,
    (SearchMatched.type_name(), 1): _keep_fields,
}
"""By type name and version: the function that turns a payload of that version into the next version."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a fact follows from.

    `correlation_id` is the Discord message or interaction at the start of the chain, `causation_id` the fact that caused this one.
    `replayed` is set on the facts that a replay records and on all that follow from them. Nobody is notified of such facts.
    """

    correlation_id: str
    causation_id: str | None = None
    replayed: bool = False


def build_headers(fact: Fact, origin: Origin, source: str, recorded_at: datetime) -> dict[str, str]:
    """Build the headers to publish with a fact. `ce-id` is its subject, which is as unique as the fact."""
    subject = subject_of(fact)
    headers = {
        "ce-specversion": "1.0",
        "ce-id": subject,
        "ce-type": f"mapseek.{fact.type_name()}.v{fact.version}",
        "ce-source": source,
        "ce-time": recorded_at.isoformat(),
        "ce-correlationid": origin.correlation_id,
        "content-type": "application/json",
        "traceparent": build_traceparent(origin.correlation_id),
    }
    if origin.causation_id is not None:
        headers["ce-causationid"] = origin.causation_id
    if origin.replayed:
        headers["mapseek-replayed"] = "1"
    return headers


def parse_origin(headers: Mapping[str, str], subject: str) -> Origin:
    """Read the origin from the headers of a recorded fact. A fact without a correlation id is its own origin."""
    return Origin(
        correlation_id=headers.get("ce-correlationid", subject),
        causation_id=headers.get("ce-causationid"),
        replayed="mapseek-replayed" in headers,
    )


def build_traceparent(correlation_id: str) -> str:
    """Build a W3C trace context. Its trace id is derived from the correlation id, so that every process gets the same one."""
    trace_id = hashlib.sha256(correlation_id.encode()).hexdigest()[:32]
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def parse_payload(
    type_name: str,
    version: int,
    document: object,
    *,
    facts: Mapping[str, type[Fact]] = FACTS,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> Fact:
    """Parse a payload of any known version into today's fact. Raises Malformed for an unknown kind or version, or a wrong shape."""
    kind = facts.get(type_name)
    if kind is None:
        raise Malformed(f"no fact is called {type_name!r}")
    if not isinstance(document, dict):
        raise Malformed(f"the payload of {type_name} is not a JSON object")
    for step in range(version, kind.version):
        upcast = upcasters.get((type_name, step))
        if upcast is None:
            raise Malformed(f"{type_name} v{step} can no longer be read: there is no upcaster from this version")
        document = upcast(document)
    if version > kind.version:
        raise Malformed(f"{type_name} v{version} was written by a newer MapSeek; this one reads up to v{kind.version}")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise Malformed(f"{type_name} v{version}: {where}: {first['msg']}") from None
