"""How the server differs from what this release needs, and which of that follows from the release alone.

A release that comes with a stage or a fact changes what streams and consumers are for: their subjects. That is done at its first
start, as nothing is lost by it: entries and places stay. But a process of the release before would be handed facts that it does not
know, and bury them; so it is done only once none is at work there. Where the subjects on the server name a fact that this release
does not know, a newer one was here, and nothing is done.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

from nats.js import JetStreamContext

from contracts.events import FACTS
from contracts.subjects import LANES

SUBJECTS = ("subjects", "filter_subjects")

LOOKED_FOR_S = 1.0
"""All workers of a process may be busy for a moment, or it may have died: a short look tells which."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something on the server that is not as it should be; `missing` things are made without asking, others are not.

    `consumer` are stream and name where it is one.
    """

    what: str
    missing: bool
    field: str = ""
    wanted: object = None
    actual: object = None
    consumer: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.what} is missing" if self.missing else f"{self.what}: {self.field} is {self.actual}, not {self.wanted}"

    @property
    def follows_the_release(self) -> bool:
        """Whether it is but another choice among subjects of which this release knows all."""
        return self.field in SUBJECTS and isinstance(self.actual, list) and all(map(_is_known, self.actual))


def changed(
    what: str, fields: Sequence[str], wanted: object, actual: object, consumer: tuple[str, str] | None = None
) -> list[Difference]:
    """The fields that are not as wanted."""
    return [
        Difference(what, False, field, ours, theirs, consumer)
        for field in fields
        if (ours := _plain(getattr(wanted, field))) != (theirs := _plain(getattr(actual, field)))
    ]


def _plain(value: object) -> object:
    if isinstance(value, list):
        return sorted(value)
    return getattr(value, "value", value) or 0


def _is_known(subject: str) -> bool:
    """Whether a subject or a filter is of facts that this release has."""
    _, family, name, *_ = subject.split(".")
    return f"{family}.{name}" in FACTS or (family in LANES and name == ">")


async def worked_on(js: JetStreamContext, found: Iterable[Difference]) -> Difference | None:
    """The first of some consumers that differ on which a process waits for messages, None where none does."""
    for difference in found:
        if difference.consumer is not None and await _waited_at(js, *difference.consumer):
            return difference
    return None


async def _waited_at(js: JetStreamContext, stream: str, name: str) -> bool:
    deadline = monotonic() + LOOKED_FOR_S
    while not (info := await js.consumer_info(stream, name)).num_waiting:
        if not info.num_ack_pending or monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
