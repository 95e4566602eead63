"""What members ask of the bot: slash commands, commands on a message, presses of buttons, and the answers they then see.

Messages as members post, change and delete them. No limit is enforced, so that what old or odd clients left can be had too.

Guilds, channels, threads and roles as demo and tests change them. The bot learns of it as Discord would tell it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from contracts.errors import MapSeekError
from infra.sandbox.simulator import channels, client, interactions
from infra.sandbox.simulator.channels import open_dm_channel
from infra.sandbox.simulator.client import VisibleAnswer, build_visible_answer
from infra.sandbox.simulator.commands import CHAT_INPUT_COMMAND, MESSAGE_COMMAND, fill_options
from infra.sandbox.simulator.fields import JSON
from infra.sandbox.simulator.interactions import Invoker
from infra.sandbox.simulator.model import (
    DEFAULT_PERMISSIONS,
    DM,
    EPHEMERAL,
    GUILD_CATEGORY,
    GUILD_FORUM,
    GUILD_TEXT,
    HAS_SNAPSHOT,
    Attachment,
    Channel,
    Guild,
    Interaction,
    Member,
    Message,
    Overwrite,
    Permission,
    Role,
)
from infra.sandbox.simulator.world import Upload, World

DEFAULT_LOCALE = "en-US"


class CommandActions:
    """The part of the simulator that uses the bot. MapSeekError is for what Discord's own client would not let a member do."""

    _world: World

    async def wait_for_command(self, name: str, *, timeout: float = 30) -> None:
        """Return once a connected bot has registered a command somewhere, of slash or message. Raises TimeoutError."""
        world = self._world

        def registered() -> bool:
            return any(
                _offered(world, guild.id, name, kind)
                for guild in world.guilds.values()
                for kind in (CHAT_INPUT_COMMAND, MESSAGE_COMMAND)
            )

        await world.until(lambda: world.gateway.connected and registered(), timeout)

    async def slash(
        self,
        channel: Channel,
        member: Member,
        name: str,
        *,
        attachments: Mapping[str, Upload] | None = None,
        options: Mapping[str, Any] | None = None,
        locale: str = DEFAULT_LOCALE,
    ) -> Interaction:
        """Use `find` or, with its subcommands, `archive watch add`; options are values, members, channels and roles.

        Raises MapSeekError.
        """
        command = self._command(channel, member, name, CHAT_INPUT_COMMAND, locale)
        folder = f"ephemeral-attachments/{self._world.application_id}"
        files = {key: self._world.upload(folder, *upload) for key, upload in (attachments or {}).items()}
        filled = fill_options(command, name, {**(options or {}), **files}, channel, member, self._world.cdn.sign)
        return interactions.use_slash_command(self._world, Invoker(channel, member, locale), command, name, filled)

    async def message_command(
        self, channel: Channel, member: Member, name: str, message: Message, *, locale: str = DEFAULT_LOCALE
    ) -> Interaction:
        """Choose a command from the menu of a message. Raises MapSeekError."""
        command = self._command(channel, member, name, MESSAGE_COMMAND, locale)
        client.check_message_visible(message, member)
        if message.channel is not channel:
            raise MapSeekError(f"The message is in #{message.channel.name}, not in #{channel.name}.")
        if message.flags & EPHEMERAL:
            raise MapSeekError("The menu of an ephemeral message has no commands.")
        return interactions.use_message_command(self._world, Invoker(channel, member, locale), command, message)

    async def press(
        self,
        target: Message | VisibleAnswer,
        member: Member,
        custom_id: str | None = None,
        *,
        label: str | None = None,
        locale: str = DEFAULT_LOCALE,
    ) -> Interaction:
        """Press the button with that custom id, with the only one that begins so, or with that label. Raises MapSeekError."""
        message = target.message if isinstance(target, VisibleAnswer) else target
        self._check_reachable(message.channel, locale)
        client.check_message_visible(message, member)
        button = client.find_button(message, custom_id, label)
        return interactions.press_button(self._world, Invoker(message.channel, member, locale), message, button)

    async def answer(self, interaction: Interaction, *, embedded: bool = False, timeout: float = 30) -> VisibleAnswer:
        """Wait for the answer: the deferred one edited, a message as first response, or the message of the button changed.

        With `embedded` an answer without embeds, such as a line that says at what the bot is, is passed over. Raises TimeoutError.
        """

        def answered_now() -> bool:
            original = interaction.original
            return original is not None and interaction.answered_after_s is not None and bool(original.embeds or not embedded)

        await self._world.until(answered_now, timeout)
        message, answered = interaction.original, interaction.answered_after_s
        if message is None or answered is None:
            raise RuntimeError("an answer without a message")
        return build_visible_answer(message, interaction, answered, self._world.cdn.sign)

    async def followups(
        self, interaction: Interaction, n: int, *, embedded: bool = False, timeout: float = 30
    ) -> list[VisibleAnswer]:
        """Wait for `n` messages besides the answer, and see all that there are by then, in order. Raises TimeoutError.

        With `embedded` messages without embeds are not counted.
        """
        await self._world.until(lambda: sum(bool(m.embeds or not embedded) for m in interaction.followups.values()) >= n, timeout)
        sign = self._world.cdn.sign
        return [
            build_visible_answer(each, interaction, interaction.followed_after_s[each.id], sign)
            for each in interaction.followups.values()
        ]

    def _command(self, channel: Channel, member: Member, name: str, kind: int, locale: str) -> JSON:
        self._check_reachable(channel, locale)
        shown = f"/{name}" if kind == CHAT_INPUT_COMMAND else name
        command = _offered(self._world, None if channel.kind == DM else channel.guild.id, name, kind)
        if command is None:
            raise MapSeekError(
                f"The bot has not registered the command {shown}; wait until it has logged in and synchronised its commands."
            )
        if not self._world.gateway.connected:
            raise MapSeekError(f"No bot is connected that could be asked {shown}; start the gateway first.")
        client.check_command_allowed(command, channel, member)
        return command

    def _check_reachable(self, channel: Channel, locale: str) -> None:
        client.check_locale(locale)
        if channel.id not in self._world.channels:
            raise MapSeekError(f"#{channel.name} is no longer there.")
        if self._world.bot.id not in channel.guild.members:
            raise MapSeekError(f"The bot is no longer in {channel.guild.name}.")


def _offered(world: World, guild_id: int | None, name: str, kind: int) -> JSON | None:
    """The command of that name that members see in a guild (its own come first) or, with None, in direct messages."""
    own = [] if guild_id is None else world.commands.get(guild_id, [])
    wanted = (name.split() or [""])[0] if kind == CHAT_INPUT_COMMAND else name
    return next((each for each in (*own, *world.commands[None]) if (each["name"], each["type"]) == (wanted, kind)), None)


class MessageActions:
    """The part of the simulator that writes messages."""

    _world: World

    async def post(
        self,
        channel: Channel,
        author: Member,
        content: str = "",
        *,
        files: Sequence[Upload] = (),
        embeds: Sequence[JSON] = (),
        at: datetime | None = None,
        reference: Message | None = None,
        snapshot: bool = False,
    ) -> Message:
        """Post as a member, now or in the past, also in a thread or a forum's post, which a message of now opens again.

        `reference` is the message that is replied to or, with `snapshot`, forwarded.
        """
        world = self._world
        if channel.is_thread and at is None:
            channels.enter_thread(world, channel, author)
        message = world.new_message(channel, author.user, at)
        if channel.parent is not None and channel.parent.kind == GUILD_FORUM and not channel.messages and at is None:
            message.id = channel.id
        message.content, message.embeds, message.reference = content, list(embeds), reference
        message.attachments = [world.upload(f"attachments/{channel.id}", name, data) for name, data in files]
        if reference is not None and snapshot:
            message.snapshot, message.flags = _copy(reference), HAS_SNAPSHOT
        world.create_message(message)
        return message

    async def edit(
        self,
        message: Message,
        *,
        content: str | None = None,
        embeds: Sequence[JSON] | None = None,
        attachments: Sequence[Attachment] | None = None,
    ) -> None:
        """Change the text or which attachments are kept, as the author does, or the embeds alone, as Discord does with links."""
        if content is not None:
            message.content, message.edited_at = content, self._world.clock()
        if embeds is not None:
            message.embeds = list(embeds)
        if attachments is not None:
            for dropped in [each for each in message.attachments if each not in attachments and not each.forwarded]:
                self._world.cdn.forget(dropped)
            message.attachments = [each for each in message.attachments if each in attachments]
            message.edited_at = self._world.clock()
        self._world.announce(message, "MESSAGE_UPDATE")

    async def delete(self, message: Message) -> None:
        """Delete a message with its files."""
        self._world.delete_message(message)

    async def redeliver(self, message: Message) -> None:
        """Send MESSAGE_CREATE once more for a message."""
        self._world.announce(message, "MESSAGE_CREATE")

    def direct_messages(self, member: Member) -> list[Message]:
        """What a person and the bot have written to each other, oldest first."""
        channel = self._world.direct.get(member.id)
        return [] if channel is None else channel.before(None, len(channel.messages))[::-1]

    def direct_channel(self, member: Member) -> Channel:
        """The conversation between a person and the bot, to post or ask in."""
        return open_dm_channel(self._world, member.user)

    def close_dms(self, member: Member) -> None:
        """A person no longer takes direct messages: sending one is refused with code 50007."""
        self._world.dms_closed_by.add(member.id)


def _copy(message: Message) -> Message:
    """A message as it is now; its files stay, whatever becomes of it."""
    for attachment in message.attachments:
        attachment.forwarded = True
    return replace(message, attachments=list(message.attachments), embeds=list(message.embeds), reactions={}, reference=None)


class GuildActions:
    """The part of the simulator that builds, rearranges and takes away."""

    _world: World

    def me(self, guild: Guild) -> Member:
        """The bot as a member of a guild, to aim an overwrite or a role at."""
        return self._world.me(guild)

    def add_guild(self, name: str, *, everyone: Permission = DEFAULT_PERMISSIONS) -> Guild:
        """A guild that the bot is in; `everyone` are the permissions of @everyone."""
        return self._world.add_guild(name, everyone)

    def add_role(self, guild: Guild, name: str, permissions: Permission = Permission.NONE) -> Role:
        """A role that grants permissions everywhere in a guild."""
        return self._world.add_role(guild, name, permissions)

    def add_member(self, guild: Guild, name: str, roles: Sequence[Role] = (), *, same_as: Member | None = None) -> Member:
        """A person in a guild; `same_as` is the same person in another guild."""
        return self._world.add_member(guild, name, roles, None if same_as is None else same_as.user)

    def add_text_channel(
        self,
        guild: Guild,
        name: str,
        overwrites: Sequence[Overwrite] = (),
        *,
        category: Channel | None = None,
        nsfw: bool = False,
    ) -> Channel:
        """A text channel; `nsfw` makes it age-restricted."""
        return channels.add_channel(self._world, guild, name, GUILD_TEXT, overwrites, category, nsfw)

    def add_forum(
        self,
        guild: Guild,
        name: str,
        overwrites: Sequence[Overwrite] = (),
        *,
        category: Channel | None = None,
        nsfw: bool = False,
    ) -> Channel:
        """A forum, whose threads are its posts."""
        return channels.add_channel(self._world, guild, name, GUILD_FORUM, overwrites, category, nsfw)

    def add_category(self, guild: Guild, name: str, overwrites: Sequence[Overwrite] = ()) -> Channel:
        """A heading above channels."""
        return channels.add_channel(self._world, guild, name, GUILD_CATEGORY, overwrites, None, False)

    async def add_thread(
        self,
        parent: Channel,
        name: str,
        *,
        owner: Member | None = None,
        private: bool = False,
        archived: bool = False,
        message: Message | None = None,
    ) -> Channel:
        """A thread of a text channel, or a post of a forum, by its owner (None: the guild's).

        The first message posted in a forum post has the post's own id, and a thread started from a `message` has that one's, as on
        Discord. Raises MapSeekError where there can be no such thread.
        """
        author = owner or parent.guild.members[parent.guild.owner_id]
        thread = channels.add_thread(self._world, parent, name, author, private=private, message=message)
        if archived:
            channels.set_archived(self._world, thread, archived=True)
        return thread

    async def join_thread(self, thread: Channel, member: Member) -> None:
        """Add a person or the bot to a thread. Raises MapSeekError if Discord would not allow it."""
        channels.join_thread(self._world, thread, member)

    async def leave_thread(self, thread: Channel, member: Member) -> None:
        """Take a person or the bot out of a thread."""
        channels.leave_thread(self._world, thread, member)

    async def archive_thread(self, thread: Channel, *, locked: bool = False) -> None:
        """Archive a thread; the next message posted there opens it again. The bot cannot open a locked one."""
        channels.set_archived(self._world, thread, archived=True, locked=locked)

    async def set_overwrites(self, channel: Channel, overwrites: Sequence[Overwrite]) -> None:
        """Replace a channel's overwrites; channels of a category follow it as long as theirs are the same."""
        channels.set_overwrites(self._world, channel, overwrites)

    async def set_roles(self, member: Member, roles: Sequence[Role]) -> None:
        """Replace a member's roles."""
        channels.set_roles(self._world, member, roles)

    async def remove_member(self, member: Member) -> None:
        """A person leaves a guild. No event tells: that takes the members intent."""
        channels.remove_member(member)

    async def set_age_restricted(self, channel: Channel, nsfw: bool) -> None:
        """Make a channel one for adults only, or no longer."""
        channels.set_age_restricted(self._world, channel, nsfw)

    async def edit_role(self, role: Role, permissions: Permission) -> None:
        """Change what a role grants."""
        guild = next(each for each in self._world.guilds.values() if role.id in each.roles)
        channels.edit_role(self._world, guild, role, permissions)

    async def delete_channel(self, channel: Channel) -> None:
        """Delete a channel with its threads, or one thread."""
        channels.delete_channel(self._world, channel)

    async def bulk_delete(self, messages: Collection[Message]) -> None:
        """Delete messages at once, as moderators' bots do."""
        channels.bulk_delete(self._world, messages)

    async def remove_guild(self, guild: Guild) -> None:
        """Kick the bot out of a guild."""
        channels.remove_guild(self._world, guild)

    async def invite_bot(self, guild: Guild) -> None:
        """Take the bot into a guild again that it was kicked out of."""
        channels.invite_bot(self._world, guild)

    async def set_unavailable(self, guild: Guild, unavailable: bool = True) -> None:
        """Let a guild drop out, as in an outage, or come back."""
        channels.set_unavailable(self._world, guild, unavailable)
