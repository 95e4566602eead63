"""What exists in the simulated Discord: plain records. world.py changes them, payloads.py puts them on the wire.

Discord's ids: milliseconds since 2015 in the upper bits, so that an id tells its own time.

Who may do what where: Discord's permission bits and the order in which they are overruled.

Messages in the order of their ids, and the pages that are read of them.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntFlag
from itertools import count

from infra.sandbox.simulator.fields import JSON

Clock = Callable[[], datetime]
"""The simulator's time, always in UTC."""

DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
_COUNTER_BITS = 22

EPHEMERAL = 1 << 6
LOADING = 1 << 7
HAS_THREAD = 1 << 5
HAS_SNAPSHOT = 1 << 14

GUILD_TEXT, DM, GUILD_CATEGORY, PUBLIC_THREAD, PRIVATE_THREAD, GUILD_FORUM = 0, 1, 4, 11, 12, 15
"""The types of channels."""

THREAD_STARTER_MESSAGE = 21
"""The type of the message that begins a thread which was started from another message."""

APPLICATION_COMMAND, MESSAGE_COMPONENT = 2, 3
"""The types of interactions: a command was used, a button was pressed."""


def snowflake_source(clock: Clock) -> Callable[[datetime | None], int]:
    """A source of unique ids for a moment (None: now), ascending within one millisecond."""
    numbers = count()

    def new(at: datetime | None = None) -> int:
        milliseconds = ((at or clock()) - DISCORD_EPOCH) // timedelta(milliseconds=1)
        return (milliseconds << _COUNTER_BITS) | (next(numbers) & ((1 << _COUNTER_BITS) - 1))

    return new


def snowflake_time(snowflake: int) -> datetime:
    """The moment an id carries, to the millisecond."""
    return DISCORD_EPOCH + timedelta(milliseconds=snowflake >> _COUNTER_BITS)


class Permission(IntFlag):
    """The permissions the simulator knows by name, with Discord's own bits."""

    NONE = 0
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38


ALL_PERMISSIONS = Permission((1 << 51) - 1)

DEFAULT_PERMISSIONS = (
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)


def compute_permissions(channel: "Channel", member: "Member") -> Permission:
    """What a member may do in a channel: roles, then the overwrites of @everyone, of the roles together, and of the member.

    A thread has its parent's permissions; a private one is closed to all but its members and those who manage threads.
    """
    if channel.parent is not None:
        granted = compute_permissions(channel.parent, member)
        return Permission.NONE if channel.private and not _may_enter(channel, member, granted) else granted
    guild = channel.guild
    granted = guild.everyone.permissions
    for role in member.roles:
        granted |= role.permissions
    if member.id == guild.owner_id or granted & Permission.ADMINISTRATOR:
        return ALL_PERMISSIONS
    for targets in ({guild.id}, {role.id for role in member.roles}, {member.id}):
        allow = deny = Permission.NONE
        for overwrite in channel.overwrites:
            if overwrite.target.id in targets:
                allow |= overwrite.allow
                deny |= overwrite.deny
        granted = Permission(int(granted) & ~int(deny) | int(allow))
    return granted if granted & Permission.VIEW_CHANNEL else Permission.NONE


def _may_enter(thread: "Channel", member: "Member", granted: Permission) -> bool:
    return member.id in thread.joined or bool(granted & Permission.MANAGE_THREADS)


class MessageHistory:
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
    locale: str = "en-US"
    roles: dict[int, Role] = field(default_factory=dict, repr=False)
    members: dict[int, Member] = field(default_factory=dict, repr=False)
    channels: dict[int, "Channel"] = field(default_factory=dict, repr=False)
    threads: dict[int, "Channel"] = field(default_factory=dict, repr=False)
    unavailable: bool = False

    @property
    def everyone(self) -> Role:
        """The role that every member has."""
        return self.roles[self.id]


@dataclass(eq=False, slots=True)
class Channel(MessageHistory):
    """A channel or a thread with its messages in order of their ids.

    `parent` is the channel that a thread or a forum post is in, `category` what any other channel is listed under; `joined` are the
    members of a thread and since when. A conversation with one person (`recipient`) is in a guild that nobody is told of.
    """

    id: int
    guild: Guild = field(repr=False)
    name: str
    overwrites: list[Overwrite] = field(default_factory=list, repr=False)
    messages: dict[int, "Message"] = field(default_factory=dict, repr=False)
    kind: int = GUILD_TEXT
    category: "Channel | None" = field(default=None, repr=False)
    nsfw: bool = False
    parent: "Channel | None" = field(default=None, repr=False)
    owner: Member | None = field(default=None, repr=False)
    joined: dict[int, datetime] = field(default_factory=dict, repr=False)
    archived: bool = False
    locked: bool = False
    archive_changed_at: datetime | None = None
    sent: int = 0
    recipient: User | None = None
    _order: list[int] = field(default_factory=list, repr=False)

    @property
    def is_thread(self) -> bool:
        """Whether it is a thread or a forum post."""
        return self.kind in (PUBLIC_THREAD, PRIVATE_THREAD)

    @property
    def private(self) -> bool:
        """Whether it is a thread for its members alone."""
        return self.kind == PRIVATE_THREAD


@dataclass(eq=False, slots=True)
class Attachment:
    """An uploaded file. `url` is the signed URL first issued for it; every payload carries a fresh one.

    A forwarded one outlives the message it was posted with.
    """

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
    forwarded: bool = False


@dataclass(eq=False, slots=True)
class Message:
    """A message. `embeds` and `components` are kept as they were sent.

    `reference` is what it replies to or forwards, `snapshot` a copy of what it forwards, `reactions` who reacted with what.
    """

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
    reference: "Message | None" = field(default=None, repr=False)
    snapshot: "Message | None" = field(default=None, repr=False)
    reactions: dict[str, set[int]] = field(default_factory=dict)
    nonce: str | int | None = None
    kind: int = 0
    deleted: bool = False

    @property
    def gone(self) -> bool:
        """Whether it was deleted, by whomever."""
        return self.deleted or (not self.flags & EPHEMERAL and self.id not in self.channel.messages)

    @property
    def posted_at(self) -> datetime:
        """When it was posted, which its id tells."""
        return snowflake_time(self.id)

    @property
    def jump_url(self) -> str:
        """The link that opens the message in Discord's own client."""
        place = "@me" if self.channel.kind == DM else self.channel.guild.id
        return f"https://discord.com/channels/{place}/{self.channel.id}/{self.id}"


@dataclass(eq=False, slots=True)
class Interaction:
    """A command that was used or a button that was pressed, and what became of it. Latencies are in seconds of the wall.

    `name` is the command with its subcommands, or the custom id of the button; `message` the one that the button is on. In a direct
    message there is no `member`. `original` is the first response: to a press it may be the message that the button is on.
    """

    id: int
    token: str = field(repr=False)
    kind: int
    name: str
    channel: Channel
    user: User
    member: Member | None
    data: JSON
    created_at: datetime
    started: float
    locale: str
    message: Message | None = None
    callback_type: int | None = None
    original: Message | None = None
    followups: dict[int, Message] = field(default_factory=dict)
    edits: int = 0
    deferred_after_s: float | None = None
    answered_after_s: float | None = None
    followed_after_s: dict[int, float] = field(default_factory=dict)
