"""What members do: post messages, and change guilds. Simulator inherits it, and the use of commands from client.py.

The bot receives the same events as from Discord. No limit of Discord is enforced on what members post, so that tests can also
create what old or unusual clients left behind.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime

from contracts.errors import MapSeekError
from infra.sandbox.simulator import channels, payloads
from infra.sandbox.simulator.channels import open_dm_channel
from infra.sandbox.simulator.fields import JSON
from infra.sandbox.simulator.message_parts import complete_components
from infra.sandbox.simulator.model import (
    DEFAULT_PERMISSIONS,
    GUILD_ANNOUNCEMENT,
    GUILD_CATEGORY,
    GUILD_FORUM,
    GUILD_TEXT,
    HAS_SNAPSHOT,
    IS_COMPONENTS_V2,
    POST_CHANNELS,
    SUPPRESS_EMBEDS,
    WITHOUT_MESSAGES,
    Attachment,
    Channel,
    Guild,
    Member,
    Message,
    Overwrite,
    Permission,
    Role,
    User,
    Webhook,
)
from infra.sandbox.simulator.world import Upload, World


class MessageActions:
    """Posting, editing and deleting messages."""

    _world: World

    async def post(
        self,
        channel: Channel,
        author: Member | Webhook,
        content: str = "",
        *,
        files: Sequence[Upload] = (),
        spoilers: Collection[str] = (),
        embeds: Sequence[JSON] = (),
        components: Sequence[JSON] = (),
        at: datetime | None = None,
        reference: Message | None = None,
        snapshot: bool = False,
    ) -> Message:
        """Post as a member or a webhook, now or in the past (`at`), in a channel, a thread or a forum post.

        A message posted now reopens an archived thread. `spoilers` are the names of files that are marked as spoilers. With
        `components`, the message is one of version 2, and shows its files by `attachment://name`. `reference` is the message to
        reply to or, with `snapshot`, to forward. Raises MapSeekError in a channel without messages, and in a time-out.
        """
        world = self._world
        message = _begin_message(world, channel, author, at)
        if channel.parent is not None and channel.parent.kind in POST_CHANNELS and not channel.messages and at is None:
            message.id = channel.id
        message.content, message.embeds, message.reference = content, list(embeds), reference
        message.attachments = [world.upload(f"attachments/{channel.id}", name, data) for name, data in files]
        for name, attachment in zip((name for name, _ in files), message.attachments, strict=True):
            attachment.spoiler = attachment.spoiler or name in spoilers
        if components:
            message.components, message.flags = complete_components(components, lambda: world.new_id(None)), IS_COMPONENTS_V2
        if reference is not None and snapshot:
            message.snapshot, message.flags = _snapshot_message(reference), HAS_SNAPSHOT
        world.create_message(message)
        return message

    async def edit(
        self,
        message: Message,
        *,
        content: str | None = None,
        embeds: Sequence[JSON] | None = None,
        attachments: Sequence[Attachment] | None = None,
        components: Sequence[JSON] | None = None,
        files: Sequence[Upload] = (),
    ) -> None:
        """Change the text or the kept attachments, as the author can, or only the embeds, as Discord does for links.

        A webhook or another bot can also add `files` and change the components.
        """
        world = self._world
        if files:
            folder = f"attachments/{message.channel.id}"
            added = [world.upload(folder, name, data) for name, data in files]
            message.attachments, attachments = message.attachments + added, None if attachments is None else [*attachments, *added]
            message.edited_at = world.clock()
        if components is not None:
            message.components = complete_components(components, lambda: world.new_id(None))
            message.edited_at = world.clock()
        if content is not None:
            message.content, message.edited_at = content, world.clock()
        if embeds is not None:
            message.embeds = list(embeds)
        if attachments is not None:
            for dropped in [each for each in message.attachments if each not in attachments and not each.forwarded]:
                world.cdn.discard(dropped)
            message.attachments = [each for each in message.attachments if each in attachments]
            message.edited_at = world.clock()
        world.dispatch_message_event(message, "MESSAGE_UPDATE")
        world.update_crossposts(message)

    async def suppress_embeds(self, message: Message, suppressed: bool = True) -> None:
        """Hide the embeds of a message, as its author and moderators can, or show them again."""
        message.flags = message.flags | SUPPRESS_EMBEDS if suppressed else message.flags & ~SUPPRESS_EMBEDS
        self._world.dispatch_message_event(message, "MESSAGE_UPDATE")
        self._world.update_crossposts(message)

    async def crosspost(self, message: Message) -> list[Message]:
        """Publish a message of an announcement channel to the channels that follow it, and return the messages there.

        They change with the message, and lose what they show when it is deleted. Raises MapSeekError if Discord would refuse it.
        """
        return self._world.crosspost(message)

    async def post_payload(
        self, channel: Channel, fields: JSON, *, by: Member | Webhook, without: Collection[str] = (), at: datetime | None = None
    ) -> Message:
        """Post a message whose payload is that of an empty message with `fields` in place of its own and no fields `without`.

        Nothing is checked, so the payload may be one that no client can read. The gateway, every REST call and every interaction
        show it exactly so. `upload_file` returns an attachment for `fields`.
        """
        message = _begin_message(self._world, channel, by, at)
        message.replaced, message.removed = dict(fields), frozenset(without)
        self._world.create_message(message)
        return message

    async def edit_payload(self, message: Message, fields: JSON, *, without: Collection[str] = ()) -> None:
        """Edit a message to what `post_payload` would have posted with these fields. Fields of before do not stay."""
        message.replaced, message.removed = dict(fields), frozenset(without)
        self._world.dispatch_message_event(message, "MESSAGE_UPDATE")

    def upload_file(self, channel: Channel, name: str, data: bytes) -> JSON:
        """Upload a file to a channel without a message, and return its attachment object, with a URL that is signed now."""
        return payloads.attachment(self._world.upload(f"attachments/{channel.id}", name, data), self._world.cdn.sign)

    async def delete(self, message: Message) -> None:
        """Delete a message with its files."""
        self._world.delete_message(message)

    async def redeliver(self, message: Message) -> None:
        """Send MESSAGE_CREATE for a message a second time."""
        self._world.dispatch_message_event(message, "MESSAGE_CREATE")

    def direct_messages(self, member: Member) -> list[Message]:
        """Return the direct messages between a member and the bot, oldest first."""
        channel = self._world.direct.get(member.id)
        return [] if channel is None else channel.before(None, len(channel.messages))[::-1]

    def direct_channel(self, member: Member) -> Channel:
        """Return the DM channel between a member and the bot, to post or use commands in."""
        return open_dm_channel(self._world, member.user)

    def close_dms(self, member: Member) -> None:
        """Make a member refuse direct messages: sending one fails with code 50007."""
        self._world.dms_closed_by.add(member.id)


def _begin_message(world: World, channel: Channel, author: Member | Webhook, at: datetime | None) -> Message:
    """Create an empty message of a member or a webhook, which is not stored yet. It reopens a thread. Raises MapSeekError."""
    if channel.kind in WITHOUT_MESSAGES:
        raise MapSeekError(f"#{channel.name} has no messages of its own; post in one of its threads, or in another channel.")
    if isinstance(author, Webhook):
        message = world.new_message(channel, User(author.id, author.name, bot=True), at)
        message.webhook = author
        return message
    if at is None and author.in_time_out:
        raise MapSeekError(f"{author.user.name} is in a time-out and may not post.")
    if channel.is_thread and at is None:
        channels.enter_thread(world, channel, author)
    return world.new_message(channel, author.user, at)


def _snapshot_message(message: Message) -> Message:
    """Copy a message as it is now. Its files stay when the original is deleted."""
    for attachment in message.attachments:
        attachment.forwarded = True
    return replace(message, attachments=list(message.attachments), embeds=list(message.embeds), reactions={}, reference=None)


class GuildActions:
    """Building and changing guilds, channels, threads and roles."""

    _world: World

    def me(self, guild: Guild) -> Member:
        """Return the bot as a member of a guild, as the target of an overwrite or a role."""
        return self._world.me(guild)

    def change_events(self, change: Callable[[str, JSON], JSON]) -> None:
        """From now on send what `change` makes of each event's name and payload. It must not change the payload itself."""
        self._world.gateway.change_event = change

    def add_guild(self, name: str, *, everyone: Permission = DEFAULT_PERMISSIONS) -> Guild:
        """Add a guild with the bot in it. `everyone` are the permissions of @everyone."""
        return self._world.add_guild(name, everyone)

    def add_role(self, guild: Guild, name: str, permissions: Permission = Permission.NONE) -> Role:
        """Add a role with permissions for the whole guild."""
        return self._world.add_role(guild, name, permissions)

    def add_member(self, guild: Guild, name: str, roles: Sequence[Role] = (), *, same_as: Member | None = None) -> Member:
        """Add a member to a guild. `same_as` is the same person in another guild."""
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
        """Add a text channel. `nsfw` makes it age-restricted."""
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
        """Add a forum. Its threads are its posts."""
        return channels.add_channel(self._world, guild, name, GUILD_FORUM, overwrites, category, nsfw)

    def add_channel(
        self,
        guild: Guild,
        name: str,
        kind: int,
        overwrites: Sequence[Overwrite] = (),
        *,
        category: Channel | None = None,
        nsfw: bool = False,
    ) -> Channel:
        """Add a channel of any type, such as GUILD_VOICE, GUILD_ANNOUNCEMENT, GUILD_STAGE_VOICE or GUILD_MEDIA."""
        return channels.add_channel(self._world, guild, name, kind, overwrites, category, nsfw)

    def add_webhook(self, channel: Channel, name: str) -> Webhook:
        """Add a webhook that posts in a channel and its threads."""
        return Webhook(self._world.new_id(None), name, channel)

    async def follow(self, source: Channel, target: Channel) -> Webhook:
        """Let a channel follow an announcement channel: what is crossposted there is posted here, by the webhook returned.

        Raises MapSeekError if `source` is no announcement channel.
        """
        if source.kind != GUILD_ANNOUNCEMENT:
            raise MapSeekError(f"#{source.name} is no announcement channel, so no channel can follow it.")
        webhook = Webhook(self._world.new_id(None), f"{source.guild.name} #{source.name}", target)
        source.followers.append(webhook)
        return webhook

    async def time_out(self, member: Member, until: datetime | None) -> None:
        """Put a member in a time-out until a time, or end it with None. Until then they may only read. Raises MapSeekError."""
        channels.time_out(self._world, member, until)

    def add_category(self, guild: Guild, name: str, overwrites: Sequence[Overwrite] = ()) -> Channel:
        """Add a category."""
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
        """Add a thread to a text or announcement channel, or a post to a forum or media channel.

        `owner` None means the owner of the guild. As on Discord, the first message of a forum post has the id of the post, and a
        thread started from a `message` has the id of that message. Raises MapSeekError if the channel cannot have such a thread.
        """
        author = owner or parent.guild.members[parent.guild.owner_id]
        thread = channels.add_thread(self._world, parent, name, author, private=private, message=message)
        if archived:
            channels.set_archived(self._world, thread, archived=True)
        return thread

    async def join_thread(self, thread: Channel, member: Member) -> None:
        """Add a member or the bot to a thread. Raises MapSeekError if Discord would not allow it."""
        channels.join_thread(self._world, thread, member)

    async def leave_thread(self, thread: Channel, member: Member) -> None:
        """Remove a member or the bot from a thread."""
        channels.leave_thread(self._world, thread, member)

    async def archive_thread(self, thread: Channel, *, locked: bool = False) -> None:
        """Archive a thread. The next message in it reopens it. The bot cannot reopen a locked thread."""
        channels.set_archived(self._world, thread, archived=True, locked=locked)

    async def set_overwrites(self, channel: Channel, overwrites: Sequence[Overwrite]) -> None:
        """Replace the overwrites of a channel. The channels of a category that had the same overwrites change with it."""
        channels.set_overwrites(self._world, channel, overwrites)

    async def set_roles(self, member: Member, roles: Sequence[Role]) -> None:
        """Replace the roles of a member."""
        channels.set_roles(self._world, member, roles)

    async def remove_member(self, member: Member) -> None:
        """Remove a member from a guild. No event is sent: that needs the members intent."""
        channels.remove_member(member)

    async def set_age_restricted(self, channel: Channel, nsfw: bool) -> None:
        """Make a channel age-restricted, or no longer."""
        channels.set_age_restricted(self._world, channel, nsfw)

    async def edit_role(self, role: Role, permissions: Permission) -> None:
        """Change the permissions of a role."""
        guild = next(each for each in self._world.guilds.values() if role.id in each.roles)
        channels.edit_role(self._world, guild, role, permissions)

    async def delete_channel(self, channel: Channel) -> None:
        """Delete a channel with its threads, or one thread."""
        channels.delete_channel(self._world, channel)

    async def bulk_delete(self, messages: Collection[Message]) -> None:
        """Delete several messages at once, as moderation bots do."""
        channels.bulk_delete(self._world, messages)

    async def remove_guild(self, guild: Guild) -> None:
        """Remove the bot from a guild."""
        channels.remove_guild(self._world, guild)

    async def invite_bot(self, guild: Guild) -> None:
        """Add the bot again to a guild that it was removed from."""
        channels.invite_bot(self._world, guild)

    async def set_unavailable(self, guild: Guild, unavailable: bool = True) -> None:
        """Make a guild unavailable, as in an outage of Discord, or available again."""
        channels.set_unavailable(self._world, guild, unavailable)
