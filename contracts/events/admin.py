"""Facts about removals and incidents.

Removal requests are kept for 30 days; the tombstones (ImageRemoved) are kept for good.
Incidents are kept for 30 days, so that `mapseek trace` can show the whole history of an image.
"""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from contracts.events.base import Fact, Family, Id, Instant, Text


class RemovalRequested(Fact):
    """A request to remove one image, or all images of one message, channel, author or guild. `target` is the id of that.

    `keep` are the images of an edited message that are still attached to it. `message_id` is the message of one image, which is
    found by it. `expired`: remove the image only if its message still does not show it. `removal_id` is derived from what was
    deleted, so that a deletion that is reported twice is recorded once.

    Version 1 had no scope `image`.
    """

    family: ClassVar[Family] = "removal"
    name: ClassVar[str] = "requested"
    version: ClassVar[int] = 2

    guild_id: Id
    removal_id: Id
    scope: Literal["image", "message", "channel", "author", "guild"]
    target: Id
    cause: Literal["deleted", "forgotten"]
    requested_at: Instant
    keep: tuple[Id, ...] = ()
    message_id: Id | None = None
    expired: bool = False

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if (self.scope == "image") != (self.message_id is not None):
            raise ValueError("the removal of one image, and no other, names its message in message_id")
        if self.expired and self.scope != "image":
            raise ValueError("only the removal of one image may be expired")
        return self

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.removal_id)


class Incident(Fact):
    """Something that happened while a stage worked on one message, the one at `sequence` of the lane's stream.

    `entity_id` is the image, search, alert or removal that the message is about. `round` counts how often the message was retried
    by hand. `attempt` counts the deliveries in that round, from 1. `consumer` is the durable consumer, `process` the process it ran
    in.
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
    """An attempt failed for this reason. The next attempt follows after `delay_s` seconds."""

    name: ClassVar[str] = "failed"

    reason: Text
    delay_s: float


class MessageBuried(Incident):
    """The stage gave the message up. It is kept in FAILURES as a dead letter."""

    name: ClassVar[str] = "buried"

    cause: Literal["malformed", "error", "exhausted", "poison"]
    reason: Text


class MessageRequeued(Incident):
    """Somebody retried the dead letter: it goes back to its stage. `round` is the round that ended with the dead letter."""

    name: ClassVar[str] = "requeued"


class MessageDiscarded(Incident):
    """Somebody discarded the dead letter."""

    name: ClassVar[str] = "discarded"
