"""What is said on Discord without having been asked."""

from dataclasses import dataclass
from typing import Literal, Protocol

from contracts.events import Person
from contracts.ports.archive import Document


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice is about: the new post, and for a repost the earlier one. Documents are the catalogue's."""

    guild_id: str
    post: Document
    earlier: Document | None
    score: float
    locale: str


class Notifying(Protocol):
    """Speaks up on Discord without having been asked. Raises Retry for what may work later."""

    async def may_read(self, guild_id: str, channel_id: str, person_id: str, *, age_restricted: bool) -> bool:
        """Whether a person may read a channel's history now; an age-restricted one only where that is allowed."""
        ...

    async def mark_repost(self, notice: Notice, style: Literal["reaction", "reply"]) -> None:
        """Add a quiet reaction to the new post, or answer it with a link to the earlier one."""
        ...

    async def tell(
        self, notice: Notice, person: Person, channel_id: str, alert_id: str
    ) -> Literal["direct", "mention", "undeliverable"]:
        """Tell a person of the new post: directly, or by a mention in the channel where they asked, or not at all."""
        ...
