"""Ports to the log: record facts, look them up, follow posts and alerts, erase. And small mutable documents kept beside the log."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from contracts.envelope import Origin
from contracts.events import AlertSet, Fact, ImageFact, ImagePosted

F = TypeVar("F", bound=Fact)


class Journal(Protocol):
    """Records facts in the log and looks them up."""

    async def record(self, fact: Fact, origin: Origin) -> bool:
        """Record a fact, once. Return False if it was recorded before, or if it is the post of a removed image.

        Raises Unavailable if the log cannot be reached.
        """
        ...

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        """Whether a fact of this kind is recorded under this key. Raises Unavailable if the log cannot be reached."""
        ...

    async def fetch(self, fact: type[F], *key: str) -> F | None:
        """Return the fact of this kind under this key, None if there is none. Raises Unavailable if the log cannot be reached."""
        ...

    async def fetch_first(self, fact: type[F], *entity: str) -> F | None:
        """Return the earliest recorded fact of this kind about an entity, among all variants. Raises Unavailable."""
        ...


class Posts(Protocol):
    """Looks up posted images, in the order in which they were recorded. Posts of removed images disappear sooner or later."""

    async def of_message(self, guild_id: str, message_id: str) -> Sequence[ImagePosted]:
        """Return the images of one message, including those recorded just before the call. Raises Unavailable."""
        ...

    def of_guild(
        self, guild_id: str, *, channel_id: str | None = None, author_id: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ImagePosted]:
        """Yield the posts of a guild. The filters: one channel with its public threads, one author, recorded since a time."""
        ...


class Alerts(Protocol):
    """The alerts that are neither delivered nor cancelled."""

    async def list_open(self, guild_id: str, person_id: str | None = None) -> Sequence[AlertSet]:
        """List the open alerts of a guild, or of one person, oldest first. All facts recorded before the call are included."""
        ...

    async def list_comparable(self, guild_id: str, generation: str) -> Sequence[AlertSet]:
        """List the open alerts that have a vector of a generation. Each is returned as if it had been set in that generation.

        As up to date as `list_open`.
        """
        ...


class LogEraser(Protocol):
    """Erases images and personal data from the log."""

    async def history(self, guild_id: str, image_id: str) -> tuple[Sequence[ImageFact], int]:
        """Return all facts about an image that this version can read, in order, and the last position read. Raises Unavailable."""
        ...

    async def erase_image(self, guild_id: str, image_id: str, until: int) -> None:
        """Erase the facts about an image up to that position, except its tombstone. May be repeated. Raises Unavailable."""
        ...

    async def erase_person(self, guild_id: str, person_id: str) -> None:
        """Erase a person's votes and alerts in a guild. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A value of the key-value bucket, and the revision that a change of it must quote."""

    value: bytes
    revision: int


class StateStore(Protocol):
    """Small documents by key, shared by all processes. Every call raises Unavailable if the NATS server cannot be reached."""

    async def get(self, key: str) -> StateEntry | None: ...

    async def put(self, key: str, value: bytes) -> None:
        """Set a value unconditionally."""
        ...

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        """Set a value if it is still at this revision (0: if there is none). Otherwise change nothing and return False."""
        ...

    async def delete(self, key: str) -> None:
        """Delete a key. A key that does not exist is no error."""
        ...

    async def list_under(self, prefix: str) -> dict[str, bytes]:
        """Return all values whose key begins with `<prefix>.`, by key."""
        ...
