"""What happens in the simulated Discord: every change is kept and told to the gateway in one place."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

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
    DM,
    EPHEMERAL,
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


class World:
    """The state, and the operations that change it."""

    def __init__(self, *, clock: Clock, token: str, message_content: bool, heartbeat_interval: float) -> None:
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
            ready=self._ready,
            guilds=self._guilds,
            changed=self.changed,
        )
        self._waiting: set[asyncio.Event] = set()

    @property
    def application_id(self) -> int:
        """The application's id, which is its bot's too."""
        return self.bot.id

    @property
    def rest_shows_content(self) -> bool:
        """Whether REST shows what people wrote: the intent is granted, and the bot asked for it when it last identified."""
        intents = self.gateway.identified_intents
        return self.message_content and (intents is None or bool(intents & MESSAGE_CONTENT_INTENT))

    def me(self, guild: Guild) -> Member:
        """The bot's membership of a guild."""
        return guild.members[self.bot.id]

    def changed(self) -> None:
        """Wake whoever waits for something to become true."""
        for event in self._waiting:
            event.set()

    def watch(self) -> asyncio.Event:
        """An event that is set at every change, for as long as it is not given to `unwatch`."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """No longer set this event."""
        self._waiting.discard(event)

    async def until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Wait for something to become true. Raises TimeoutError."""
        event = self.watch()
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    event.clear()
                    await event.wait()
        finally:
            self.unwatch(event)

    def add_guild(self, name: str, everyone: Permission) -> Guild:
        """A guild with an owner and the bot in it, and no channel."""
        owner = User(self.new_id(None), f"Owner of {name}")
        guild = Guild(self.new_id(None), name, owner.id)
        guild.roles[guild.id] = Role(guild.id, "@everyone", everyone, position=0)
        for account in (owner, self.bot):
            guild.members[account.id] = Member(account, guild, [], self.clock())
        self.guilds[guild.id] = guild
        self.commands.setdefault(guild.id, [])
        self.gateway.dispatch("GUILD_CREATE", payloads.guild_create(guild, self.me(guild)), intent=GUILDS_INTENT)
        return guild

    def add_role(self, guild: Guild, name: str, permissions: Permission) -> Role:
        """A role above those that are there."""
        role = Role(self.new_id(None), name, permissions, position=len(guild.roles))
        guild.roles[role.id] = role
        self.tell(guild, "GUILD_ROLE_CREATE", {"guild_id": str(guild.id), "role": payloads.role(role)})
        return role

    def tell(
        self, guild: Guild, event: str, payload: JSON, *, intent: int = GUILDS_INTENT, without_content: JSON | None = None
    ) -> None:
        """Send an event of a guild, unless the guild is unavailable or the bot no longer in it."""
        if guild.id in self.guilds and not guild.unavailable:
            self.gateway.dispatch(event, payload, intent=intent, without_content=without_content)

    def add_member(self, guild: Guild, name: str, roles: Sequence[Role], account: User | None = None) -> Member:
        """A person who joins, with an account of another guild or a new one. No event tells: that takes the members intent."""
        member = Member(account or User(self.new_id(None), name), guild, list(roles), self.clock())
        guild.members[member.id] = member
        return member

    def upload(self, folder: str, name: str, data: bytes, description: str | None = None) -> Attachment:
        """Put a file on the CDN."""
        return self.cdn.store(self.new_id(None), folder, name, data, description)

    def create_message(self, message: Message) -> None:
        """Keep a new message and announce it; an ephemeral one is neither kept nor announced."""
        if not message.flags & EPHEMERAL:
            message.channel.add(message)
            message.channel.sent += message.id != message.channel.id
            self.announce(message, "MESSAGE_CREATE")

    def announce(self, message: Message, event: str) -> None:
        """Send MESSAGE_CREATE or MESSAGE_UPDATE to a bot that may see the channel."""
        if message.flags & EPHEMERAL or not self.bot_may(message.channel, Permission.VIEW_CHANNEL):
            return
        payload = payloads.guild_message(message, self.cdn.sign)
        if message.channel.kind == DM:
            self.gateway.dispatch(event, payload, intent=DIRECT_MESSAGES_INTENT)
            return
        hidden = payload if message.author is self.bot else payloads.hide_content(payload)
        self.tell(message.channel.guild, event, payload, intent=GUILD_MESSAGES_INTENT, without_content=hidden)

    def delete_message(self, message: Message) -> None:
        """Take a message and its files away."""
        self.forget(message)
        if message.flags & EPHEMERAL or not self.bot_may(message.channel, Permission.VIEW_CHANNEL):
            return
        ids = {"id": str(message.id), "channel_id": str(message.channel.id)}
        if message.channel.kind == DM:
            self.gateway.dispatch("MESSAGE_DELETE", ids, intent=DIRECT_MESSAGES_INTENT)
        else:
            guild = message.channel.guild
            self.tell(guild, "MESSAGE_DELETE", ids | {"guild_id": str(guild.id)}, intent=GUILD_MESSAGES_INTENT)

    def forget(self, message: Message) -> None:
        """Take a message and its files away, and tell nobody."""
        message.deleted = True
        for attachment in message.attachments:
            if not attachment.forwarded:
                self.cdn.forget(attachment)
        if not message.flags & EPHEMERAL:
            message.channel.remove(message)

    def rest_message(self, message: Message) -> JSON:
        """A message as REST shows it to the bot."""
        payload = payloads.message(message, self.cdn.sign)
        shown = message.author is self.bot or message.channel.kind == DM or self.rest_shows_content
        return payload if shown else payloads.hide_content(payload)

    def bot_may(self, channel: Channel, wanted: Permission) -> bool:
        """Whether the bot has these permissions in a channel; it has none in a guild that it is not in."""
        me = channel.guild.members.get(self.bot.id)
        return me is not None and compute_permissions(channel, me) & wanted == wanted

    def new_message(self, channel: Channel, author: User, at: datetime | None = None) -> Message:
        """An empty message with the id of a moment (None: now)."""
        return Message(self.new_id(at), channel, author)

    def _guilds(self) -> list[JSON]:
        """What GUILD_CREATE brings after READY; of an unavailable guild nothing but that."""
        return [
            {"id": str(guild.id), "unavailable": True}
            if guild.unavailable
            else {**payloads.guild_create(guild, self.me(guild)), "unavailable": False}
            for guild in self.guilds.values()
        ]

    def _ready(self) -> JSON:
        flags = (1 << 19) if self.message_content else 0
        return {"user": payloads.user(self.bot), "application": {"id": str(self.application_id), "flags": flags}}
