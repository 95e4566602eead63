"""Removals: what was deleted on Discord, or is to be forgotten. Requests are kept for 30 days; the tombstones are for ever.

What went wrong on the way, and what was done about it by hand: kept for thirty days, so that an image's story can be told.
"""

from typing import ClassVar, Literal

from contracts.events.base import Fact, Family, Id, Instant


class RemovalRequested(Fact):
    """All images of one message, channel, author or guild are to be removed; `target` is its id.

    `keep` are the images of an edited message that are still attached to it. `removal_id` is made from what was deleted, so that a
    deletion that is heard of twice is recorded once.
    """

    family: ClassVar[Family] = "removal"
    name: ClassVar[str] = "requested"

    guild_id: Id
    removal_id: Id
    scope: Literal["message", "channel", "author", "guild"]
    target: Id
    cause: Literal["deleted", "forgotten"]
    requested_at: Instant
    keep: tuple[Id, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.removal_id)


class Incident(Fact):
    """Something that happened to the work of a stage on one log entry, the one at `sequence` of the lane's log.

    `entity_id` is the image, search, alert or removal that the entry is about. `round` counts how often the entry was put back by
    hand, `attempt` the deliveries in that round, from 1. `consumer` is the durable that was at work, `process` says where.
    """

    family: ClassVar[Family] = "incident"

    guild_id: Id
    entity_id: Id
    lane: Literal["image", "search", "alert", "removal"]
    stage: Id
    consumer: Id
    generation: Id | None = None
    sequence: int
    round: int = 0
    attempt: int
    happened_at: Instant
    process: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.entity_id, self.consumer, str(self.sequence), str(self.round), str(self.attempt))


class AttemptFailed(Incident):
    """An attempt failed for this reason, and another one follows after `delay_s` seconds."""

    name: ClassVar[str] = "failed"

    reason: str
    delay_s: float


class MessageBuried(Incident):
    """The stage gave the entry up: it lies in FAILURES as a dead letter."""

    name: ClassVar[str] = "buried"

    cause: Literal["malformed", "error", "exhausted", "poison"]
    reason: str


class MessageRequeued(Incident):
    """Somebody put the dead letter back where it failed; `round` is the one that ended with it."""

    name: ClassVar[str] = "requeued"


class MessageDiscarded(Incident):
    """Somebody threw the dead letter away."""

    name: ClassVar[str] = "discarded"
