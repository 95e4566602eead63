"""Messages in the order of their ids, and the pages that are read of them."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.simulator.model import Message


class History:
    """What a channel does with its messages."""

    __slots__ = ()

    messages: dict[int, "Message"]
    _order: list[int]

    def add(self, message: "Message") -> None:
        """Keep a message; one posted in the past goes where its id belongs."""
        self.messages[message.id] = message
        insort(self._order, message.id)

    def remove(self, message: "Message") -> None:
        """Forget a message."""
        del self.messages[message.id]
        del self._order[bisect_left(self._order, message.id)]

    @property
    def last_message_id(self) -> int | None:
        """The id of the newest message."""
        return self._order[-1] if self._order else None

    def before(self, snowflake: int | None, limit: int) -> "list[Message]":
        """At most `limit` messages older than an id (None: the newest ones), newest first."""
        end = len(self._order) if snowflake is None else bisect_left(self._order, snowflake)
        return self._newest_first(self._order[max(0, end - limit) : end])

    def after(self, snowflake: int, limit: int) -> "list[Message]":
        """The `limit` messages that follow an id, newest first all the same."""
        start = bisect_right(self._order, snowflake)
        return self._newest_first(self._order[start : start + limit])

    def around(self, snowflake: int, limit: int) -> "list[Message]":
        """Messages on both sides of an id, newest first."""
        start = max(0, bisect_left(self._order, snowflake) - limit // 2)
        return self._newest_first(self._order[start : start + limit])

    def _newest_first(self, ids: Sequence[int]) -> "list[Message]":
        return [self.messages[message_id] for message_id in reversed(ids)]
