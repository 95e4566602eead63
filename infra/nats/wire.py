"""Facts to message bodies and back. The body is the payload as JSON; everything else is in the headers and the subject."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from contracts.envelope import Origin, fact_of, origin_of
from contracts.errors import Malformed
from contracts.events import Fact
from contracts.subjects import is_subject_of, parse_subject, subject_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact as it was read from the log."""

    fact: Fact
    origin: Origin


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry of a log as it lies there, whether it can be read or not."""

    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes


def body_of(fact: Fact) -> bytes:
    """The message body of a fact."""
    return orjson.dumps(fact.model_dump(mode="json"))


def read(subject: str, headers: Mapping[str, str] | None, body: bytes) -> Recorded:
    """The fact on a subject. Raises Malformed when the bytes are no such fact, or one about another entity than the subject's."""
    type_name, version = parse_subject(subject)
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body on {subject} is not JSON: {error}") from None
    fact = fact_of(type_name, version, document)
    if not is_subject_of(fact, subject):
        raise Malformed(f"the body on {subject} is about another entity: {subject_of(fact)}")
    return Recorded(fact, origin_of(headers or {}, subject))
