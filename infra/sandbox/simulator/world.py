"""The state of the simulated Discord. Every change is made here and dispatched to the gateway."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from contracts.errors import MapSeekError
from infra.sandbox.simulator import payloads
from infra.sandbox.simulator.cdn import Cdn
from infra.sandbox.simulator.fields import JSON
from infra.sandbox.simulator.gateway import (
    DIRECT_MESSAGES_INTENT,
    GUILD_MESSAGES_INTENT,
    GUILDS_INTENT,
    MESSAGE_CONTENT_INTENT,
    GatewayServer,
)
from infra.sandbox.simulator.model import (
    CROSSPOSTED,
    DM,
    EPHEMERAL,
    GUILD_ANNOUNCEMENT,
    IS_COMPONENTS_V2,
    IS_CROSSPOST,
    SOURCE_MESSAGE_DELETED,
    SUPPRESS_EMBEDS,
    Attachment,
    Channel,
    Clock,
    Guild,
    Interaction,
    Member,
    Message,
    Permission,
    Role,
    User,
    compute_permissions,
    snowflake_source,
)

Upload = tuple[str, bytes]
"""File name and content."""


_COPIED_FLAGS = SUPPRESS_EMBEDS | IS_COMPONENTS_V2
_DELETED_SOURCE_TEXT = "[Original Message Deleted]"


class World:
    """The state, and the operations that change it. `dms_closed_by` are the ids of the users who accept no direct messages."""

    def __init__(
        self,
        *,
        clock: Clock,
        token: str,
        message_content: bool,
        heartbeat_interval: float,
        on_event: Callable[[str, JSON], None] | None,
    ) -> None:
        self.clock = clock
        self.new_id = snowflake_source(clock)
        self.bot = User(self.new_id(None), "MapSeek", bot=True)
        self.message_content = message_content
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.direct: dict[int, Channel] = {}
        self.dms_closed_by: set[int] = set()
        self.interactions: dict[str, Interaction] = {}
        self.commands: dict[int | None, list[JSON]] = {None: []}
        self.cdn = Cdn(clock)
        self.gateway = GatewayServer(
            token=token,
            message_content=message_content,
            heartbeat_interval=heartbeat_interval,
            ready_fields=self._ready_fields,
            guild_payloads=self._guild_payloads,
            on_change=self.wake_waiters,
            on_event=on_event,
        )
        self._waiters: set[asyncio.Event] = set()

    @property
    def application_id(self) -> int:
        """The id of the application, and of its bot."""
        return self.bot.id

    @property
    def application_flags(self) -> int:
        """The flags of the application: the content of messages is granted, as to an application in few guilds."""
        return 1 << 19 if self.message_content else 0

    @property
    def rest_shows_content(self) -> bool:
        """Whether REST shows the content of messages: the intent is granted, and the bot requested it when it last identified."""
        intents = self.gateway.identified_intents
        return self.message_content and (intents is None or bool(intents & MESSAGE_CONTENT_INTENT))

    def me(self, guild: Guild) -> Member:
        """Return the bot as a member of a guild."""
        return guild.members[self.bot.id]

    def wake_waiters(self) -> None:
        """Wake every task that waits for a condition."""
        for event in self._waiters:
            event.set()

    def watch(self) -> asyncio.Event:
        """Return an event that is set at every change, until it is given to `unwatch`."""
        event = asyncio.Event()
        self._waiters.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Stop setting an event of `watch`."""
        self._waiters.discard(event)

    async def until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Wait until a condition is true. Raises TimeoutError after `timeout` seconds."""
        event = self.watch()
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    event.clear()
                    await event.wait()
        finally:
            self.unwatch(event)

    def add_guild(self, name: str, everyone: Permission) -> Guild:
        """Add a guild with an owner and the bot, and no channel."""
        owner = User(self.new_id(None), f"Owner of {name}")
        guild = Guild(self.new_id(None), name, owner.id, self.clock)
        guild.roles[guild.id] = Role(guild.id, "@everyone", everyone, position=0)
        for account in (owner, self.bot):
            guild.members[account.id] = Member(account, guild, [], self.clock())
        self.guilds[guild.id] = guild
        self.commands.setdefault(guild.id, [])
        self.gateway.dispatch("GUILD_CREATE", payloads.guild_create(guild, self.me(guild)), intent=GUILDS_INTENT)
        return guild

    def add_role(self, guild: Guild, name: str, permissions: Permission) -> Role:
        """Add a role above the existing ones."""
        role = Role(self.new_id(None), name, permissions, position=len(guild.roles))
        guild.roles[role.id] = role
        self.dispatch_guild_event(guild, "GUILD_ROLE_CREATE", {"guild_id": str(guild.id), "role": payloads.role(role)})
        return role

    def dispatch_guild_event(
        self, guild: Guild, event: str, payload: JSON, *, intent: int = GUILDS_INTENT, without_content: JSON | None = None
    ) -> None:
        """Dispatch an event of a guild, unless the guild is unavailable or the bot has left it."""
        if guild.id in self.guilds and not guild.unavailable:
            self.gateway.dispatch(event, payload, intent=intent, without_content=without_content)

    def add_member(self, guild: Guild, name: str, roles: Sequence[Role], account: User | None = None) -> Member:
        """Add a member with an existing account or a new one. No event is sent: that needs the members intent."""
        member = Member(account or User(self.new_id(None), name), guild, list(roles), self.clock())
        guild.members[member.id] = member
        return member

    def upload(self, folder: str, name: str, data: bytes) -> Attachment:
        """Store a file on the CDN. The beginning `SPOILER_` of its name makes it a spoiler."""
        return self.cdn.store(self.new_id(None), folder, name, data)

    def create_message(self, message: Message) -> None:
        """Store a new message and dispatch MESSAGE_CREATE. An ephemeral message is neither stored nor dispatched."""
        if not message.flags & EPHEMERAL:
            message.channel.add(message)
            message.channel.sent += message.id != message.channel.id
            self.dispatch_message_event(message, "MESSAGE_CREATE")

    def dispatch_message_event(self, message: Message, event: str) -> None:
        """Dispatch MESSAGE_CREATE or MESSAGE_UPDATE, if the bot may see the channel."""
        if message.flags & EPHEMERAL or not self.bot_may(message.channel, Permission.VIEW_CHANNEL):
            return
        payload = payloads.guild_message(message, self.cdn.sign)
        if message.channel.kind == DM:
            self.gateway.dispatch(event, payload, intent=DIRECT_MESSAGES_INTENT)
            return
        hidden = payload if message.author is self.bot else payloads.hide_content(payload)
        self.dispatch_guild_event(message.channel.guild, event, payload, intent=GUILD_MESSAGES_INTENT, without_content=hidden)

    def delete_message(self, message: Message) -> None:
        """Delete a message and its files, and dispatch MESSAGE_DELETE."""
        self.discard_message(message)
        if message.flags & EPHEMERAL or not self.bot_may(message.channel, Permission.VIEW_CHANNEL):
            return
        ids = {"id": str(message.id), "channel_id": str(message.channel.id)}
        if message.channel.kind == DM:
            self.gateway.dispatch("MESSAGE_DELETE", ids, intent=DIRECT_MESSAGES_INTENT)
        else:
            guild = message.channel.guild
            self.dispatch_guild_event(guild, "MESSAGE_DELETE", ids | {"guild_id": str(guild.id)}, intent=GUILD_MESSAGES_INTENT)

    def discard_message(self, message: Message) -> None:
        """Delete a message and its files without an event of its own. Its crossposts say that it is gone."""
        message.deleted = True
        for attachment in message.attachments:
            if not attachment.forwarded:
                self.cdn.discard(attachment)
        if not message.flags & EPHEMERAL:
            message.channel.remove(message)
        self.update_crossposts(message)

    def crosspost(self, message: Message) -> list[Message]:
        """Publish a message to the channels that follow its channel. Raises MapSeekError if Discord would refuse it."""
        if message.channel.kind != GUILD_ANNOUNCEMENT or message.flags & (CROSSPOSTED | IS_CROSSPOST):
            raise MapSeekError("Only a message of an announcement channel can be crossposted, and only once.")
        message.flags |= CROSSPOSTED
        self.dispatch_message_event(message, "MESSAGE_UPDATE")
        for webhook in message.channel.followers:
            copy = self.new_message(webhook.channel, User(webhook.id, webhook.name, bot=True))
            copy.webhook, copy.source = webhook, message
            _copy_content(copy)
            message.crossposts.append(copy)
            self.create_message(copy)
        self.wake_waiters()
        return list(message.crossposts)

    def update_crossposts(self, message: Message) -> None:
        """Show in the crossposts of a message what it shows now, or that it was deleted."""
        for copy in message.crossposts:
            if copy.gone:
                continue
            _copy_content(copy)
            copy.edited_at = message.edited_at
            self.dispatch_message_event(copy, "MESSAGE_UPDATE")

    def rest_message(self, message: Message) -> JSON:
        """Return a message as REST shows it to the bot."""
        payload = payloads.message(message, self.cdn.sign)
        shown = message.author is self.bot or message.channel.kind == DM or self.rest_shows_content
        return payload if shown else payloads.hide_content(payload)

    def bot_may(self, channel: Channel, wanted: Permission) -> bool:
        """Whether the bot has all these permissions in a channel. It has none in a guild that it is not in."""
        me = channel.guild.members.get(self.bot.id)
        return me is not None and compute_permissions(channel, me) & wanted == wanted

    def new_message(self, channel: Channel, author: User, at: datetime | None = None) -> Message:
        """Create an empty message with the id of a time (None: now). It is not stored yet."""
        return Message(self.new_id(at), channel, author)

    def _guild_payloads(self) -> list[JSON]:
        """Return the payloads of GUILD_CREATE after READY. Of an unavailable guild they say only that."""
        return [
            {"id": str(guild.id), "unavailable": True}
            if guild.unavailable
            else {**payloads.guild_create(guild, self.me(guild)), "unavailable": False}
            for guild in self.guilds.values()
        ]

    def _ready_fields(self) -> JSON:
        application = {"id": str(self.application_id), "flags": self.application_flags}
        return {"user": payloads.user(self.bot), "application": application}


def _copy_content(crosspost: Message) -> None:
    """Give a crosspost what its source shows, or nothing if the source was deleted. The files stay those of the source."""
    source = crosspost.source
    if source is None:
        raise ValueError("the message is no crosspost")
    if source.gone:
        crosspost.content, crosspost.flags = _DELETED_SOURCE_TEXT, IS_CROSSPOST | SOURCE_MESSAGE_DELETED
        crosspost.embeds, crosspost.components, crosspost.attachments = [], [], []
        return
    crosspost.content, crosspost.flags = source.content, IS_CROSSPOST | (source.flags & _COPIED_FLAGS)
    crosspost.embeds, crosspost.components = list(source.embeds), list(source.components)
    crosspost.attachments = [replace(each, forwarded=True) for each in source.attachments]
