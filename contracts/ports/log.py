"""What the logs can do, for those who record, look up, follow and forget.

Small documents that change, kept beside the logs.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from contracts.envelope import Origin
from contracts.events import AlertSet, Fact, ImageFact, ImagePosted

F = TypeVar("F", bound=Fact)


class Journal(Protocol):
    """The log, for those who record facts."""

    async def record(self, fact: Fact, origin: Origin) -> bool:
        """Record a fact once, for ever. False when it was recorded before, and for a post whose image was removed.

        Raises Unavailable when the log cannot be reached.
        """
        ...

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        """Whether a fact of this kind is recorded under this key. Raises Unavailable when the log cannot be reached."""
        ...

    async def fetch(self, fact: type[F], *key: str) -> F | None:
        """The fact of this kind under this key, None where there is none. Raises Unavailable when the log cannot be reached."""
        ...

    async def fetch_first(self, fact: type[F], *entity: str) -> F | None:
        """Of the facts of this kind about an entity, one for each variant, the one that was recorded first. Raises Unavailable."""
        ...


class Posts(Protocol):
    """What the log knows of posted images, in the order in which they were recorded. Removed ones are gone or soon will be."""

    async def of_message(self, guild_id: str, message_id: str) -> Sequence[ImagePosted]:
        """The images of one message, those that were just recorded too. Raises Unavailable."""
        ...

    def of_guild(
        self, guild_id: str, *, channel_id: str | None = None, author_id: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ImagePosted]:
        """Everything posted in a guild, in one channel (or in the public threads of it), by one author, recorded since a moment."""
        ...


class Alerts(Protocol):
    """The alerts that are neither delivered nor cancelled."""

    async def list_open(self, guild_id: str, person_id: str | None = None) -> Sequence[AlertSet]:
        """A guild's open alerts, or one person's, oldest first; it knows of everything that was recorded before the call."""
        ...

    async def list_comparable(self, guild_id: str, generation: str) -> Sequence[AlertSet]:
        """A guild's open alerts that have a vector of a generation, each as if it had been set in that one; as fresh as `open`."""
        ...


class LogEraser(Protocol):
    """Takes out of the logs what is to be forgotten."""

    async def history(self, guild_id: str, image_id: str) -> tuple[Sequence[ImageFact], int]:
        """Every fact about an image that this version can read, in order, and up to where the log was read. Raises Unavailable."""
        ...

    async def erase_image(self, guild_id: str, image_id: str, until: int) -> None:
        """Erase what was read about an image but its tombstone; doing it again changes nothing. Raises Unavailable."""
        ...

    async def erase_person(self, guild_id: str, person_id: str) -> None:
        """Erase a person's votes and alerts in a guild. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A value of the key-value bucket, and the revision that a change of it must name."""

    value: bytes
    revision: int


class StateStore(Protocol):
    """Small documents by key, shared by all processes. Every call raises Unavailable when the log server cannot be reached."""

    async def get(self, key: str) -> StateEntry | None: ...

    async def put(self, key: str, value: bytes) -> None:
        """Set a value, whatever it was."""
        ...

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        """Set a value if it is still at this revision (0: if there is none); False, and nothing is changed, if it is not."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a key; it is no error if there is none."""
        ...

    async def list_under(self, prefix: str) -> dict[str, bytes]:
        """Every value whose key begins with `<prefix>.`, by key."""
        ...
