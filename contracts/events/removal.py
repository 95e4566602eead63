"""Removals: what was deleted on Discord, or is to be forgotten. Requests are kept for 30 days; the tombstones are for ever."""

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
