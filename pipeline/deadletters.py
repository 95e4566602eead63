"""Dead letters: what could not be worked on, with all that is needed to understand it and to try again."""

import traceback
from dataclasses import dataclass
from typing import Literal

from contracts.subjects import FAILURES, failure_subject
from infra.nats.journal import JetStreamJournal

Cause = Literal["malformed", "error", "exhausted", "poison"]
"""Unreadable bytes; a bug; retried in vain; delivered again and again without an end (the process died of it, or hung)."""

MAX_TRACEBACK = 8_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one log entry to one stage. `attempt` counts from 1, over all processes."""

    stream: str
    sequence: int
    attempt: int
    subject: str
    headers: dict[str, str]
    body: bytes


async def bury(
    journal: JetStreamJournal,
    delivery: Delivery,
    *,
    stage: str,
    family: str,
    cause: Cause,
    reason: str,
    error: BaseException | None,
) -> bool:
    """Record a dead letter, once for each stage and log entry. The body and `ce-*` headers are those of the entry itself."""
    headers = {
        **{name: value for name, value in delivery.headers.items() if not name.lower().startswith("nats-")},
        "mapseek-stage": stage,
        "mapseek-cause": cause,
        "mapseek-reason": _one_line(reason),
        "mapseek-subject": delivery.subject,
        "mapseek-stream": delivery.stream,
        "mapseek-sequence": str(delivery.sequence),
        "mapseek-attempts": str(delivery.attempt),
    }
    if error is not None:
        trace = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
        headers["mapseek-traceback"] = trace.replace("\r", "").replace("\n", "\\n")
    return await journal.publish_once(failure_subject(stage, family, delivery.sequence), delivery.body, headers, FAILURES)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500] or "no reason given"
