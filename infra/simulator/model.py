"""What exists in the simulated Discord: plain records. world.py changes them, payloads.py puts them on the wire."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from infra.simulator.errors import JSON
from infra.simulator.permissions import Permission
from infra.simulator.snowflake import time_of

EPHEMERAL = 1 << 6
LOADING = 1 << 7


@dataclass(eq=False, slots=True)
class User:
    """An account."""

    id: int
    name: str
    bot: bool = False


@dataclass(eq=False, slots=True)
class Role:
    """A role of a guild; the one with the guild's id is @everyone."""

    id: int
    name: str
    permissions: Permission
    position: int
    managed: bool = False


@dataclass(eq=False, slots=True)
class Member:
    """An account in a guild."""

    user: User
    guild: "Guild" = field(repr=False)
    roles: list[Role]
    joined_at: datetime
    nick: str | None = None

    @property
    def id(self) -> int:
        """The account's id."""
        return self.user.id


@dataclass(eq=False, slots=True)
class Overwrite:
    """What a channel allows or denies to a role or a member, against the guild's own permissions."""

    target: Role | Member
    allow: Permission = Permission.NONE
    deny: Permission = Permission.NONE


@dataclass(eq=False, slots=True)
class Guild:
    """A server. `me` is the bot's membership."""

    id: int
    name: str
    owner_id: int
    roles: dict[int, Role] = field(default_factory=dict, repr=False)
    members: dict[int, Member] = field(default_factory=dict, repr=False)
    channels: dict[int, "Channel"] = field(default_factory=dict, repr=False)

    @property
    def everyone(self) -> Role:
        """The role that every member has."""
        return self.roles[self.id]


@dataclass(eq=False, slots=True)
class Channel:
    """A text channel with its messages in order of their ids."""

    id: int
    guild: Guild = field(repr=False)
    name: str
    overwrites: list[Overwrite] = field(default_factory=list, repr=False)
    messages: dict[int, "Message"] = field(default_factory=dict, repr=False)
    _order: list[int] = field(default_factory=list, repr=False)

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


@dataclass(eq=False, slots=True)
class Attachment:
    """An uploaded file. `url` is the signed URL first issued for it; every payload carries a fresh one."""

    id: int
    path: str
    filename: str
    data: bytes = field(repr=False)
    content_type: str | None
    width: int | None
    height: int | None
    url: str
    title: str | None = None
    description: str | None = None
    ephemeral: bool = False


@dataclass(eq=False, slots=True)
class Message:
    """A message. `embeds` and `components` are kept as they were sent."""

    id: int
    channel: Channel = field(repr=False)
    author: User
    content: str = ""
    attachments: list[Attachment] = field(default_factory=list)
    embeds: list[JSON] = field(default_factory=list)
    components: list[JSON] = field(default_factory=list)
    flags: int = 0
    edited_at: datetime | None = None
    interaction: "Interaction | None" = field(default=None, repr=False)

    @property
    def posted_at(self) -> datetime:
        """When it was posted, which its id tells."""
        return time_of(self.id)

    @property
    def jump_url(self) -> str:
        """The link that opens the message in Discord's own client."""
        return f"https://discord.com/channels/{self.channel.guild.id}/{self.channel.id}/{self.id}"


@dataclass(eq=False, slots=True)
class Interaction:
    """A command that a member used, and what became of it. Latencies are in seconds of the wall."""

    id: int
    token: str = field(repr=False)
    channel: Channel
    member: Member
    command: JSON
    data: JSON
    created_at: datetime
    started: float
    callback: int | None = None
    original: Message | None = None
    followups: dict[int, Message] = field(default_factory=dict)
    edits: int = 0
    deferred_after_s: float | None = None
    answered_after_s: float | None = None
