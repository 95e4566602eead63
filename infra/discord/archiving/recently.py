"""What was deleted a moment ago: a page of history that was read just before must not bring it back."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import TypeVar

from contracts.events import ImagePosted
from infra.discord.archiving.removing import is_embedded

KEPT = 20_000

V = TypeVar("V")


class Recently:
    """Remembers the latest deletions, in memory: a page of history is worked on long before this many follow."""

    def __init__(self, kept: int = KEPT) -> None:
        self._attached: _Latest[frozenset[str] | None] = _Latest(kept)
        self._channels: _Latest[None] = _Latest(kept)

    def deleted(self, message_id: int | str) -> None:
        """A message is gone."""
        self._attached.put(str(message_id), None)

    def edited(self, message_id: int | str, attached: Collection[str]) -> None:
        """These attachments are left of a message."""
        self._attached.put(str(message_id), frozenset(attached))

    def channel_deleted(self, channel_id: int | str) -> None:
        """A channel or thread is gone with all that was in it. A thread may have the id of the message that began it."""
        self._channels.put(str(channel_id), None)

    def still_there(self, posts: Sequence[ImagePosted]) -> list[ImagePosted]:
        """The images that were not deleted meanwhile."""
        return [post for post in posts if self._is_left(post)]

    def _is_left(self, post: ImagePosted) -> bool:
        if post.channel_id in self._channels or post.audience in self._channels:
            return False
        if post.message_id not in self._attached:
            return True
        attached = self._attached[post.message_id]
        return attached is not None and (is_embedded(post.image_id) or post.image_id in attached)


class _Latest(OrderedDict[str, V]):
    """A dictionary of the last `kept` keys that were put in."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self._kept = kept

    def put(self, key: str, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._kept:
            self.popitem(last=False)
