"""What happens in the simulated Discord: every change is kept and told to the gateway in one place."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import datetime

from infra.simulator import payloads
from infra.simulator.cdn import Cdn
from infra.simulator.errors import JSON
from infra.simulator.gateway import GUILD_MESSAGES, GUILDS, MESSAGE_CONTENT, Gateway
from infra.simulator.model import EPHEMERAL, Attachment, Channel, Guild, Interaction, Member, Message, Overwrite, Role, User
from infra.simulator.permissions import Permission, permissions_in
from infra.simulator.snowflake import Clock, snowflakes

Upload = tuple[str, bytes]
"""File name and content."""


class World:
    """The state, and the operations that change it."""

    def __init__(self, *, clock: Clock, token: str, message_content: bool, heartbeat_interval: float) -> None:
        self.clock = clock
        self.new_id = snowflakes(clock)
        self.bot = User(self.new_id(None), "MapSeek", bot=True)
        self.message_content = message_content
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.interactions: dict[str, Interaction] = {}
        self.commands: dict[int | None, list[JSON]] = {None: []}
        self.cdn = Cdn(clock)
        self.gateway = Gateway(
            token=token,
            message_content=message_content,
            heartbeat_interval=heartbeat_interval,
            ready=self._ready,
            guilds=lambda: [payloads.guild(guild, self.me(guild)) for guild in self.guilds.values()],
            changed=self.changed,
        )
        self._waiting: set[asyncio.Event] = set()

    @property
    def application_id(self) -> int:
        """The application's id, which is its bot's too."""
        return self.bot.id

    @property
    def content_over_rest(self) -> bool:
        """Whether REST shows what people wrote: the intent is granted, and the bot asked for it when it last identified."""
        intents = self.gateway.identified_intents
        return self.message_content and (intents is None or bool(intents & MESSAGE_CONTENT))

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

    def add_guild(self, name: str, everyone: Permission) -> Guild:
        """A guild with an owner and the bot in it, and no channel."""
        owner = User(self.new_id(None), f"Owner of {name}")
        guild = Guild(self.new_id(None), name, owner.id)
        guild.roles[guild.id] = Role(guild.id, "@everyone", everyone, position=0)
        for account in (owner, self.bot):
            guild.members[account.id] = Member(account, guild, [], self.clock())
        self.guilds[guild.id] = guild
        self.commands.setdefault(guild.id, [])
        self.gateway.dispatch("GUILD_CREATE", payloads.guild(guild, self.me(guild)), intent=GUILDS)
        return guild

    def add_role(self, guild: Guild, name: str, permissions: Permission) -> Role:
        """A role above those that are there."""
        role = Role(self.new_id(None), name, permissions, position=len(guild.roles))
        guild.roles[role.id] = role
        self.gateway.dispatch("GUILD_ROLE_CREATE", {"guild_id": str(guild.id), "role": payloads.role(role)}, intent=GUILDS)
        return role

    def add_text_channel(self, guild: Guild, name: str, overwrites: Sequence[Overwrite]) -> Channel:
        """A text channel below those that are there."""
        channel = Channel(self.new_id(None), guild, name, list(overwrites))
        guild.channels[channel.id] = self.channels[channel.id] = channel
        self.gateway.dispatch("CHANNEL_CREATE", payloads.channel(channel), intent=GUILDS)
        return channel

    def add_member(self, guild: Guild, name: str, roles: Sequence[Role]) -> Member:
        """A person who joins. No event tells of it: that would need the members intent."""
        member = Member(User(self.new_id(None), name), guild, list(roles), self.clock())
        guild.members[member.id] = member
        return member

    def upload(self, folder: str, name: str, data: bytes, description: str | None = None) -> Attachment:
        """Put a file on the CDN."""
        return self.cdn.store(self.new_id(None), folder, name, data, description)

    def create_message(self, message: Message) -> None:
        """Keep a new message and announce it; an ephemeral one is neither kept nor announced."""
        if not message.flags & EPHEMERAL:
            message.channel.add(message)
            self.announce(message, "MESSAGE_CREATE")

    def announce(self, message: Message, event: str) -> None:
        """Send MESSAGE_CREATE or MESSAGE_UPDATE to a bot that may see the channel."""
        if message.flags & EPHEMERAL or not self.bot_may(message.channel, Permission.VIEW_CHANNEL):
            return
        payload = payloads.guild_message(message, self.cdn.sign)
        hidden = payload if message.author is self.bot else payloads.without_content(payload)
        self.gateway.dispatch(event, payload, intent=GUILD_MESSAGES, without_content=hidden)

    def delete_message(self, message: Message) -> None:
        """Take a message and its files away."""
        for attachment in message.attachments:
            self.cdn.forget(attachment)
        if message.flags & EPHEMERAL:
            return
        message.channel.remove(message)
        if self.bot_may(message.channel, Permission.VIEW_CHANNEL):
            ids = {"id": str(message.id), "channel_id": str(message.channel.id), "guild_id": str(message.channel.guild.id)}
            self.gateway.dispatch("MESSAGE_DELETE", ids, intent=GUILD_MESSAGES)

    def message_over_rest(self, message: Message) -> JSON:
        """A message as REST shows it to the bot."""
        payload = payloads.message(message, self.cdn.sign)
        shown = message.author is self.bot or self.content_over_rest
        return payload if shown else payloads.without_content(payload)

    def bot_may(self, channel: Channel, wanted: Permission) -> bool:
        """Whether the bot has these permissions in a channel."""
        return permissions_in(channel, self.me(channel.guild)) & wanted == wanted

    def command(self, guild: Guild, name: str) -> JSON | None:
        """The slash command of that name that a guild's members see; the guild's own comes first."""
        offered = (*self.commands[guild.id], *self.commands[None])
        return next((each for each in offered if each["name"] == name and each["type"] == 1), None)

    def create_interaction(
        self, channel: Channel, member: Member, command: JSON, options: list[JSON], attachments: Sequence[Attachment]
    ) -> Interaction:
        """A member uses a command."""
        data: JSON = {"id": command["id"], "name": command["name"], "type": 1, "options": options}
        if attachments:
            data["resolved"] = {"attachments": {str(each.id): payloads.attachment(each, self.cdn.sign) for each in attachments}}
        interaction = Interaction(
            id=self.new_id(None),
            token=secrets.token_urlsafe(96),
            channel=channel,
            member=member,
            command=command,
            data=data,
            created_at=self.clock(),
            started=time.monotonic(),
        )
        self.interactions[interaction.token] = interaction
        payload = payloads.interaction(interaction, self.application_id, self.me(channel.guild))
        self.gateway.dispatch("INTERACTION_CREATE", payload)
        return interaction

    def new_message(self, channel: Channel, author: User, at: datetime | None = None) -> Message:
        """An empty message with the id of a moment (None: now)."""
        return Message(self.new_id(at), channel, author)

    def _ready(self) -> JSON:
        flags = (1 << 19) if self.message_content else 0
        return {"user": payloads.user(self.bot), "application": {"id": str(self.application_id), "flags": flags}}
