"""Ports to the log: record facts, look them up, follow posts and alerts, keep what cannot be read, erase. And small mutable
documents kept beside the log.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from contracts.envelope import Origin
from contracts.events import AlertSet, Fact, ImageFact, ImageHidden, ImagePosted, ImageRemoved, ImageShown, ImageTurn

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


@dataclass(frozen=True, slots=True)
class KnownImage:
    """What the log has about one image of a message.

    `post` is None where only the tombstone is left. `hidden` and `turn` are of the fact that says whether the message shows the
    image now; without such a fact it is shown, in turn 0. `spoiler` is as it was last shown. `expired` is that of the tombstone.
    """

    image_id: str
    post: ImagePosted | None
    turn: int = 0
    hidden: bool = False
    spoiler: bool = False
    removed: bool = False
    expired: bool = False


def build_known_images(facts: Iterable[Fact]) -> list[KnownImage]:
    """Build what is known about the images of one message from its facts, in the order of the first fact of each image.

    Facts other than posts, turns and tombstones say nothing about it. An image of which only turns are left is not known.
    """
    by_image: dict[str, list[ImagePosted | ImageTurn | ImageRemoved]] = {}
    for fact in facts:
        if isinstance(fact, ImagePosted | ImageTurn | ImageRemoved):
            by_image.setdefault(fact.image_id, []).append(fact)
    return [
        _build_known_image(image_id, about)
        for image_id, about in by_image.items()
        if not all(isinstance(fact, ImageTurn) for fact in about)
    ]


def _build_known_image(image_id: str, facts: Sequence[ImagePosted | ImageTurn | ImageRemoved]) -> KnownImage:
    post = next((fact for fact in facts if isinstance(fact, ImagePosted)), None)
    tombstone = next((fact for fact in facts if isinstance(fact, ImageRemoved)), None)
    turns = sorted((fact for fact in facts if isinstance(fact, ImageTurn)), key=lambda turn: turn.rank)
    shown = [turn.spoiler for turn in turns if isinstance(turn, ImageShown)]
    return KnownImage(
        image_id=image_id,
        post=post,
        turn=turns[-1].turn if turns else 0,
        hidden=bool(turns) and isinstance(turns[-1], ImageHidden),
        spoiler=shown[-1] if shown else post is not None and post.spoiler,
        removed=tombstone is not None,
        expired=tombstone is not None and tombstone.expired,
    )


def is_hidden_by(known: KnownImage, hidden: ImageHidden) -> bool:
    """Whether an image that is not removed is hidden by this fact, and by no other."""
    return known.post is not None and not known.removed and known.hidden and known.turn == hidden.turn


class Posts(Protocol):
    """Looks up posted images, in the order in which they were recorded. Posts of removed images disappear sooner or later."""

    async def of_message(self, guild_id: str, message_id: str) -> Sequence[ImagePosted]:
        """Return the images of one message, including those recorded just before the call. Raises Unavailable."""
        ...

    async def read_message(self, guild_id: str, message_id: str) -> Sequence[KnownImage]:
        """Return all that is known about the images of one message, including what was recorded just before the call.

        Removed images are among them, with what is left of them. Raises Unavailable.
        """
        ...

    def list_hidden(self, *, before: datetime) -> AsyncIterator[ImageHidden]:
        """Yield the images of all guilds that are hidden now and not removed, if they were hidden before a time, oldest first.

        Each is yielded as the fact that hides it. Raises Unavailable.
        """
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


ReadAgain = Callable[[str, str, str], Awaitable[None]]
"""Reads a message of Discord again: the one with this guild id, channel id and message id. Raises Retry to be called again."""


class UnreadableMessages(Protocol):
    """Messages of Discord that cannot be read, each kept once as a dead letter with its payload. Ids are Discord's, as text.

    Every call raises Unavailable if the log cannot be reached.
    """

    async def keep(
        self,
        guild_id: str,
        channel_id: str,
        message_id: str,
        payload: object,
        reason: str,
        error: BaseException | None = None,
        *,
        thread_of: str | None = None,
    ) -> bool:
        """Keep a message, and return whether it is new: False if it is kept already. After a failed retry it is new.

        `payload` is the JSON value that Discord sent; secrets and the message that it replies to are left out. `thread_of` is the
        channel of a public thread: when that is deleted, the payload is erased.
        """
        ...

    async def has(self, guild_id: str, message_id: str) -> bool:
        """Return whether a message is kept, also if it was put back to be read again."""
        ...

    async def follow_retries(self, read_again: ReadAgain) -> None:
        """Have each message read again that somebody put back, one after another, without end.

        One for which Retry or Unavailable is raised comes again later. Whoever cannot read it keeps it again.
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

    async def erase_unreadable(
        self, guild_id: str, scope: Literal["message", "channel", "author", "guild"], target: str, until: datetime
    ) -> None:
        """Erase the kept payloads of unreadable messages: of one message, of a channel with its public threads, or of a guild;
        with the scope "author" those in which the person occurs, as author or otherwise. Of an author and of a guild only those of
        messages posted up to a time. Raises Unavailable.
        """
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
