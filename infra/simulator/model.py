"""What exists in the simulated Discord: plain records. world.py changes them, payloads.py puts them on the wire."""

from dataclasses import dataclass, field
from datetime import datetime

from infra.simulator.errors import JSON
from infra.simulator.history import History
from infra.simulator.permissions import Permission
from infra.simulator.snowflake import time_of

EPHEMERAL = 1 << 6
LOADING = 1 << 7
HAS_THREAD = 1 << 5
HAS_SNAPSHOT = 1 << 14

TEXT, DIRECT, CATEGORY, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = 0, 1, 4, 11, 12, 15
"""The types of channels."""

THREAD_STARTER = 21
"""The type of the message that begins a thread which was started from another message."""

COMMAND, COMPONENT = 2, 3
"""The types of interactions: a command was used, a button was pressed."""


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
class Channel(History):
    """A channel or a thread with its messages in order of their ids.

    `parent` is the channel that a thread or a forum post is in, `category` what any other channel is listed under; `joined` are the
    members of a thread and since when. A conversation with one person (`recipient`) is in a guild that nobody is told of.
    """

    id: int
    guild: Guild = field(repr=False)
    name: str
    overwrites: list[Overwrite] = field(default_factory=list, repr=False)
    messages: dict[int, "Message"] = field(default_factory=dict, repr=False)
    kind: int = TEXT
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
        return time_of(self.id)

    @property
    def jump_url(self) -> str:
        """The link that opens the message in Discord's own client."""
        place = "@me" if self.channel.kind == DIRECT else self.channel.guild.id
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
    callback: int | None = None
    original: Message | None = None
    followups: dict[int, Message] = field(default_factory=dict)
    edits: int = 0
    deferred_after_s: float | None = None
    answered_after_s: float | None = None
    followed_after_s: dict[int, float] = field(default_factory=dict)
