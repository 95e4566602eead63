"""The objects of the simulated Discord: plain records, with Discord's snowflake ids, permissions and message history.

world.py changes them, payloads.py converts them to JSON.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntFlag
from itertools import count

from infra.sandbox.simulator.fields import JSON

Clock = Callable[[], datetime]
"""Returns the simulator's current time, always in UTC."""

DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
_COUNTER_BITS = 22

CROSSPOSTED, IS_CROSSPOST, SUPPRESS_EMBEDS, SOURCE_MESSAGE_DELETED = 1 << 0, 1 << 1, 1 << 2, 1 << 3
HAS_THREAD, EPHEMERAL = 1 << 5, 1 << 6
LOADING = 1 << 7
SUPPRESS_NOTIFICATIONS, HAS_SNAPSHOT, IS_COMPONENTS_V2 = 1 << 12, 1 << 14, 1 << 15
"""Flags of a message."""

IS_SPOILER = 1 << 3
"""The flag of an attachment that is shown as a spoiler."""
SPOILER_PREFIX = "SPOILER_"
"""The beginning of a file's name that makes it a spoiler too."""

GUILD_TEXT, DM, GUILD_VOICE, GROUP_DM, GUILD_CATEGORY, GUILD_ANNOUNCEMENT = range(6)
ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD, GUILD_STAGE_VOICE, GUILD_DIRECTORY, GUILD_FORUM, GUILD_MEDIA = range(10, 17)
"""Channel types."""

CHANNEL_TYPES = (*range(6), *range(10, 17))
POST_CHANNELS = (GUILD_FORUM, GUILD_MEDIA)
"""Channels that have no messages of their own: their threads are their posts."""

THREAD_PARENTS = (GUILD_TEXT, GUILD_ANNOUNCEMENT, *POST_CHANNELS)
VOICE_CHANNELS = (GUILD_VOICE, GUILD_STAGE_VOICE)
WITHOUT_MESSAGES = (GUILD_CATEGORY, *POST_CHANNELS)
"""Channels that nobody can write in."""

THREAD_STARTER_MESSAGE = 21
"""The type of the first message of a thread that was started from another message."""

APPLICATION_COMMAND, MESSAGE_COMPONENT = 2, 3
"""Interaction types: somebody used a command, or pressed a button."""


def snowflake_source(clock: Clock) -> Callable[[datetime | None], int]:
    """Return a function that creates unique ids for a time (None: now). Ids of one millisecond ascend.

    The upper bits of an id are the milliseconds since 2015, so every id contains its creation time.
    """
    numbers = count()

    def new(at: datetime | None = None) -> int:
        milliseconds = ((at or clock()) - DISCORD_EPOCH) // timedelta(milliseconds=1)
        return (milliseconds << _COUNTER_BITS) | (next(numbers) & ((1 << _COUNTER_BITS) - 1))

    return new


def snowflake_time(snowflake: int) -> datetime:
    """Return the time that an id contains, to the millisecond."""
    return DISCORD_EPOCH + timedelta(milliseconds=snowflake >> _COUNTER_BITS)


class Permission(IntFlag):
    """The permissions that the simulator names, with Discord's own bits."""

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
    MENTION_EVERYONE = 1 << 17
    CONNECT = 1 << 20
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38


ALL_PERMISSIONS = Permission((1 << 51) - 1)

_IN_TIME_OUT = Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY
"""What a member in a time-out may still do."""

DEFAULT_PERMISSIONS = (
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.CONNECT
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)


def compute_permissions(channel: "Channel", member: "Member") -> Permission:
    """Return what a member may do in a channel.

    The order is Discord's: roles first, then the overwrites of @everyone, of all roles together, and of the member. A thread has
    the permissions of its parent. Only its members, and members who manage threads, may enter a private thread. In a voice channel
    or on a stage, a member who may not connect may do nothing. In a time-out, members may only read.
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
    if member.in_time_out:
        granted &= _IN_TIME_OUT
    wanted = Permission.VIEW_CHANNEL | (Permission.CONNECT if channel.kind in VOICE_CHANNELS else Permission.NONE)
    return granted if granted & wanted == wanted else Permission.NONE


def _may_enter(thread: "Channel", member: "Member", granted: Permission) -> bool:
    return member.id in thread.joined or bool(granted & Permission.MANAGE_THREADS)


class MessageHistory:
    """The messages of a channel, in the order of their ids. A base class of Channel."""

    __slots__ = ()

    messages: dict[int, "Message"]
    _order: list[int]

    def add(self, message: "Message") -> None:
        """Add a message at the position of its id, which may be in the past."""
        self.messages[message.id] = message
        insort(self._order, message.id)

    def remove(self, message: "Message") -> None:
        """Remove a message."""
        del self.messages[message.id]
        del self._order[bisect_left(self._order, message.id)]

    @property
    def last_message_id(self) -> int | None:
        """The id of the newest message."""
        return self._order[-1] if self._order else None

    def before(self, snowflake: int | None, limit: int) -> "list[Message]":
        """Return at most `limit` messages older than an id (None: the newest messages), newest first."""
        end = len(self._order) if snowflake is None else bisect_left(self._order, snowflake)
        return self._newest_first(self._order[max(0, end - limit) : end])

    def after(self, snowflake: int, limit: int) -> "list[Message]":
        """Return the next `limit` messages after an id. They too come newest first."""
        start = bisect_right(self._order, snowflake)
        return self._newest_first(self._order[start : start + limit])

    def around(self, snowflake: int, limit: int) -> "list[Message]":
        """Return messages on both sides of an id, newest first."""
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
class Webhook:
    """A webhook that posts in a channel. Its id is also that of the author of its posts."""

    id: int
    name: str
    channel: "Channel" = field(repr=False)


@dataclass(eq=False, slots=True)
class Role:
    """A role of a guild. The role with the guild's id is @everyone."""

    id: int
    name: str
    permissions: Permission
    position: int
    managed: bool = False


@dataclass(eq=False, slots=True)
class Member:
    """An account in a guild. Until `timed_out_until`, it may only read."""

    user: User
    guild: "Guild" = field(repr=False)
    roles: list[Role]
    joined_at: datetime
    nick: str | None = None
    timed_out_until: datetime | None = None

    @property
    def id(self) -> int:
        """The account's id."""
        return self.user.id

    @property
    def in_time_out(self) -> bool:
        """Whether it is in a time-out now."""
        return self.timed_out_until is not None and self.guild.clock() < self.timed_out_until


@dataclass(eq=False, slots=True)
class Overwrite:
    """What a channel allows or denies a role or a member, in place of the guild's permissions."""

    target: Role | Member
    allow: Permission = Permission.NONE
    deny: Permission = Permission.NONE


@dataclass(eq=False, slots=True)
class Guild:
    """A guild with its roles, members, channels and threads."""

    id: int
    name: str
    owner_id: int
    clock: Clock = field(repr=False)
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
    """A channel or a thread, with its messages in the order of their ids.

    `parent` is the channel of a thread or a forum post, `category` the category of any other channel. `joined` maps the members of
    a thread to the time when they joined. `sent` counts the messages ever sent in a thread. A DM channel has a `recipient`, and is
    in a guild of its own that is never sent to the bot. `followers` are the webhooks that take over an announcement channel's
    crossposts in other channels.
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
    followers: list[Webhook] = field(default_factory=list, repr=False)
    _order: list[int] = field(default_factory=list, repr=False)

    @property
    def is_thread(self) -> bool:
        """Whether it is a thread or a forum post."""
        return self.kind in (ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD)

    @property
    def private(self) -> bool:
        """Whether it is a thread for its members alone."""
        return self.kind == PRIVATE_THREAD


@dataclass(eq=False, slots=True)
class Attachment:
    """An uploaded file. `url` is its first signed URL; every payload contains a fresh one.

    A forwarded attachment stays when the message it was posted with is deleted.
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
    spoiler: bool = False


Sign = Callable[[Attachment], str]
"""Creates a new signed URL for a file."""


@dataclass(eq=False, slots=True)
class Message:
    """A message. `embeds` are kept as they were sent, `components` with their defaults.

    `reference` is the message that it replies to or forwards, and `snapshot` a copy of a forwarded message. `source` is the
    message that it is a crosspost of, and `crossposts` are those of it. `webhook` is what posted it, if that was no account.
    `allowed_mentions` are those of its last request, None if it had none. `reactions` maps each emoji to the ids of the users who
    reacted with it. Every payload of the message has the fields of `replaced`, which a test gave, in place of its own, and lacks
    those of `removed`. Its place in the history is that of `id`, whatever the payload says.
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
    source: "Message | None" = field(default=None, repr=False)
    crossposts: "list[Message]" = field(default_factory=list, repr=False)
    webhook: Webhook | None = None
    allowed_mentions: JSON | None = None
    reactions: dict[str, set[int]] = field(default_factory=dict)
    nonce: str | int | None = None
    kind: int = 0
    deleted: bool = False
    replaced: JSON = field(default_factory=dict, repr=False)
    removed: frozenset[str] = frozenset()

    @property
    def gone(self) -> bool:
        """Whether the message was deleted, by anybody."""
        return self.deleted or (not self.flags & EPHEMERAL and self.id not in self.channel.messages)

    @property
    def posted_at(self) -> datetime:
        """When it was posted, according to its id."""
        return snowflake_time(self.id)

    @property
    def jump_url(self) -> str:
        """The link that opens the message in Discord's own client."""
        place = "@me" if self.channel.kind == DM else self.channel.guild.id
        return f"https://discord.com/channels/{place}/{self.channel.id}/{self.id}"


@dataclass(eq=False, slots=True)
class Interaction:
    """A used command or a pressed button, with the bot's responses. The fields in `_s` are seconds of wall clock since it began.

    `name` is the command with its subcommands, or the custom id of the button. `message` is the message with the button. `member`
    is None in a DM. `started` is a reading of `time.monotonic`. `callback_type` is the type of the first response, and `original`
    its message: after a press that may be the message with the button.
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
