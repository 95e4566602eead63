"""Changes of channels, threads, roles and guilds, with their gateway events, and DM channels.

A DM channel is in a guild of its own that is never sent to the bot.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from contracts.errors import MapSeekError
from infra.sandbox.simulator import payloads
from infra.sandbox.simulator.fields import JSON
from infra.sandbox.simulator.gateway import GUILD_MESSAGES_INTENT
from infra.sandbox.simulator.model import (
    ALL_PERMISSIONS,
    ANNOUNCEMENT_THREAD,
    DM,
    GUILD_ANNOUNCEMENT,
    GUILD_CATEGORY,
    HAS_THREAD,
    POST_CHANNELS,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    THREAD_PARENTS,
    THREAD_STARTER_MESSAGE,
    Channel,
    Guild,
    Member,
    Message,
    Overwrite,
    Permission,
    Role,
    User,
    compute_permissions,
)
from infra.sandbox.simulator.world import World


def add_channel(
    world: World, guild: Guild, name: str, kind: int, overwrites: Sequence[Overwrite], category: Channel | None, nsfw: bool
) -> Channel:
    """Add a channel below the existing ones."""
    channel = Channel(world.new_id(None), guild, name, list(overwrites), kind=kind, category=category, nsfw=nsfw)
    guild.channels[channel.id] = world.channels[channel.id] = channel
    world.dispatch_guild_event(guild, "CHANNEL_CREATE", payloads.channel(channel))
    return channel


def set_overwrites(world: World, channel: Channel, overwrites: Sequence[Overwrite]) -> None:
    """Replace the overwrites of a channel. Channels of a category that had the same overwrites change with it."""
    before, rules = list_visible_channels(world, channel.guild), _overwrite_set(channel)
    followers = [each for each in channel.guild.channels.values() if each.category is channel and _overwrite_set(each) == rules]
    for each in (channel, *followers):
        each.overwrites = list(overwrites)
        world.dispatch_guild_event(channel.guild, "CHANNEL_UPDATE", payloads.channel(each))
    send_thread_list_sync(world, channel.guild, before)


def delete_channel(world: World, channel: Channel) -> None:
    """Delete a channel with its threads and all messages. No event is sent for the threads of a channel."""
    if channel.is_thread:
        _discard_channel(world, channel)
        if world.bot_may(channel, Permission.VIEW_CHANNEL):
            keys = ("id", "guild_id", "parent_id", "type")
            payload = payloads.thread(channel)
            world.dispatch_guild_event(channel.guild, "THREAD_DELETE", {key: payload[key] for key in keys})
        return
    for thread in [each for each in channel.guild.threads.values() if each.parent is channel]:
        _discard_channel(world, thread)
    payload = payloads.channel(channel)
    _discard_channel(world, channel)
    world.dispatch_guild_event(channel.guild, "CHANNEL_DELETE", payload)
    for child in channel.guild.channels.values():
        if child.category is channel:
            child.category = None
            world.dispatch_guild_event(channel.guild, "CHANNEL_UPDATE", payloads.channel(child))


def bulk_delete(world: World, messages: Collection[Message]) -> None:
    """Delete several messages at once, with one event for each channel."""
    for channel in {each.channel: None for each in messages}:
        gone = [each for each in messages if each.channel is channel]
        for message in gone:
            world.discard_message(message)
        if world.bot_may(channel, Permission.VIEW_CHANNEL):
            place = {"channel_id": str(channel.id), "guild_id": str(channel.guild.id)}
            ids = [str(each.id) for each in gone]
            world.dispatch_guild_event(channel.guild, "MESSAGE_DELETE_BULK", {"ids": ids, **place}, intent=GUILD_MESSAGES_INTENT)


def set_roles(world: World, member: Member, roles: Sequence[Role]) -> None:
    """Replace the roles of a member. Without the members intent, the bot gets an event only about itself."""
    before = list_visible_channels(world, member.guild)
    member.roles = list(roles)
    if member.user is world.bot:
        payload = {**payloads.member(member), "guild_id": str(member.guild.id)}
        world.dispatch_guild_event(member.guild, "GUILD_MEMBER_UPDATE", payload)
        send_thread_list_sync(world, member.guild, before)


def time_out(world: World, member: Member, until: datetime | None) -> None:
    """Put a member in a time-out, or end it. Without the members intent, the bot gets an event only about itself.

    Raises MapSeekError for the owner and for administrators, whom Discord lets nobody hold back.
    """
    if member.id == member.guild.owner_id or any(Permission.ADMINISTRATOR in role.permissions for role in member.roles):
        raise MapSeekError(f"{member.user.name} cannot be put in a time-out: the owner and administrators never are.")
    before = list_visible_channels(world, member.guild)
    member.timed_out_until = until
    if member.user is world.bot:
        payload = {**payloads.member(member), "guild_id": str(member.guild.id)}
        world.dispatch_guild_event(member.guild, "GUILD_MEMBER_UPDATE", payload)
        send_thread_list_sync(world, member.guild, before)


def remove_member(member: Member) -> None:
    """Remove a member from a guild and its threads."""
    del member.guild.members[member.id]
    for thread in member.guild.threads.values():
        thread.joined.pop(member.id, None)


def set_age_restricted(world: World, channel: Channel, nsfw: bool) -> None:
    """Make a channel age-restricted, or no longer."""
    channel.nsfw = nsfw
    world.dispatch_guild_event(channel.guild, "CHANNEL_UPDATE", payloads.channel(channel))


def edit_role(world: World, guild: Guild, role: Role, permissions: Permission) -> None:
    """Change the permissions of a role."""
    before = list_visible_channels(world, guild)
    role.permissions = permissions
    world.dispatch_guild_event(guild, "GUILD_ROLE_UPDATE", {"guild_id": str(guild.id), "role": payloads.role(role)})
    send_thread_list_sync(world, guild, before)


def remove_guild(world: World, guild: Guild) -> None:
    """Remove the bot from a guild. The guild continues to exist."""
    world.dispatch_guild_event(guild, "GUILD_DELETE", {"id": str(guild.id)})
    del world.guilds[guild.id], guild.members[world.bot.id]
    for thread in guild.threads.values():
        thread.joined.pop(world.bot.id, None)


def invite_bot(world: World, guild: Guild) -> None:
    """Add the bot to a guild again."""
    guild.members[world.bot.id] = Member(world.bot, guild, [], world.clock())
    world.guilds[guild.id] = guild
    world.dispatch_guild_event(guild, "GUILD_CREATE", payloads.guild_create(guild, world.me(guild)))


def set_unavailable(world: World, guild: Guild, unavailable: bool) -> None:
    """Make a guild unavailable, as in an outage of Discord, or available again."""
    if unavailable:
        world.dispatch_guild_event(guild, "GUILD_DELETE", {"id": str(guild.id), "unavailable": True})
    guild.unavailable = unavailable
    if not unavailable:
        world.dispatch_guild_event(guild, "GUILD_CREATE", {**payloads.guild_create(guild, world.me(guild)), "unavailable": False})


def list_visible_channels(world: World, guild: Guild) -> set[Channel]:
    """Return the channels of a guild that the bot may see."""
    return {each for each in guild.channels.values() if world.bot_may(each, Permission.VIEW_CHANNEL)}


def send_thread_list_sync(world: World, guild: Guild, before: set[Channel]) -> None:
    """Send THREAD_LIST_SYNC with the active threads of channels that the bot could not see before."""
    gained = [each for each in list_visible_channels(world, guild) - before if each.kind != GUILD_CATEGORY]
    if gained and guild.id in world.guilds:
        me = world.me(guild)
        threads = [each for each in payloads.active_threads(guild, me) if each.parent in gained]
        payload: JSON = {"guild_id": str(guild.id), "channel_ids": [str(each.id) for each in gained]}
        world.dispatch_guild_event(guild, "THREAD_LIST_SYNC", payload | payloads.thread_list(threads, me))


def _overwrite_set(channel: Channel) -> set[tuple[int, Permission, Permission]]:
    return {(each.target.id, each.allow, each.deny) for each in channel.overwrites}


def _discard_channel(world: World, channel: Channel) -> None:
    """Delete one channel or thread with its messages, without an event."""
    for message in list(channel.messages.values()):
        world.discard_message(message)
    del world.channels[channel.id]
    (channel.guild.threads if channel.is_thread else channel.guild.channels).pop(channel.id)


def add_thread(
    world: World, parent: Channel, name: str, owner: Member, *, private: bool = False, message: Message | None = None
) -> Channel:
    """Add a thread to a text or announcement channel, or a post to a forum or media channel.

    A thread started from a message has the id of the message.

    Raises MapSeekError if the channel cannot have such a thread.
    """
    if (
        parent.kind not in THREAD_PARENTS
        or (parent.kind in POST_CHANNELS and (private or message))
        or (private and (message or parent.kind == GUILD_ANNOUNCEMENT))
    ):
        raise MapSeekError(f"#{parent.name} cannot have {'private' if private else 'public'} threads.")
    public = ANNOUNCEMENT_THREAD if parent.kind == GUILD_ANNOUNCEMENT else PUBLIC_THREAD
    kind = PRIVATE_THREAD if private else public
    thread = Channel(message.id if message else world.new_id(None), parent.guild, name, kind=kind, parent=parent, owner=owner)
    thread.joined[owner.id] = world.clock()
    parent.guild.threads[thread.id] = world.channels[thread.id] = thread
    _dispatch_thread_event(world, thread, "THREAD_CREATE", newly_created=True)
    if message is not None:
        _add_starter_message(world, thread, message, owner)
    return thread


def join_thread(world: World, thread: Channel, member: Member) -> None:
    """Add a member to a thread. Raises MapSeekError if Discord would not allow it."""
    parent = thread.parent
    if parent is None or Permission.VIEW_CHANNEL not in compute_permissions(parent, member):
        raise MapSeekError(f"{member.user.name} cannot join #{thread.name} without seeing the channel it is in.")
    if thread.archived:
        raise MapSeekError(f"#{thread.name} is archived: nobody can join it until it is open again.")
    if member.id in thread.joined:
        return
    thread.joined[member.id] = world.clock()
    if member.user is world.bot:
        if thread.private:
            _dispatch_thread_event(world, thread, "THREAD_CREATE")
        _dispatch_thread_members(world, thread, {"added_members": [payloads.thread_member(thread, member.id)]})


def leave_thread(world: World, thread: Channel, member: Member) -> None:
    """Remove a member from a thread."""
    if thread.joined.pop(member.id, None) is not None and member.user is world.bot:
        _dispatch_thread_members(world, thread, {"removed_member_ids": [str(member.id)]})


def set_archived(world: World, thread: Channel, *, archived: bool, locked: bool = False) -> None:
    """Archive or reopen a thread.

    The archive times of the threads of a guild all differ, because pages of archived threads are separated by that time.
    """
    others = [each.archive_changed_at for each in thread.guild.threads.values() if each.archive_changed_at is not None]
    thread.archived, thread.locked = archived, locked
    thread.archive_changed_at = max([world.clock(), *(each + timedelta(microseconds=1) for each in others)])
    _dispatch_thread_event(world, thread, "THREAD_UPDATE")


def enter_thread(world: World, thread: Channel, member: Member) -> None:
    """Reopen a thread and add the author to it, as a new message in it does."""
    if thread.archived:
        set_archived(world, thread, archived=False, locked=thread.locked)
    if member.id not in thread.joined and compute_permissions(thread, member):
        join_thread(world, thread, member)


def _add_starter_message(world: World, thread: Channel, message: Message, owner: Member) -> None:
    """Add what Discord adds for a thread started from a message: a first message in it, and a flag on the original message."""
    starter = world.new_message(thread, owner.user)
    starter.kind, starter.reference = THREAD_STARTER_MESSAGE, message
    world.create_message(starter)
    message.flags |= HAS_THREAD
    world.dispatch_message_event(message, "MESSAGE_UPDATE")


def _dispatch_thread_event(world: World, thread: Channel, event: str, **more: object) -> None:
    if world.bot_may(thread, Permission.VIEW_CHANNEL):
        world.dispatch_guild_event(thread.guild, event, {**payloads.thread(thread, world.me(thread.guild)), **more})


def _dispatch_thread_members(world: World, thread: Channel, change: JSON) -> None:
    shared = {"id": str(thread.id), "guild_id": str(thread.guild.id), "member_count": min(len(thread.joined), 50)}
    world.dispatch_guild_event(thread.guild, "THREAD_MEMBERS_UPDATE", {**shared, **change})


def open_dm_channel(world: World, account: User) -> Channel:
    """Return the DM channel between a user and the bot. The first call creates it."""
    if account.id not in world.direct:
        guild = Guild(world.new_id(None), "", account.id, world.clock)
        guild.roles[guild.id] = Role(guild.id, "@everyone", Permission(ALL_PERMISSIONS & ~Permission.ADMINISTRATOR), position=0)
        for each in (account, world.bot):
            guild.members[each.id] = Member(each, guild, [], world.clock())
        channel = Channel(world.new_id(None), guild, account.name, kind=DM, recipient=account)
        world.direct[account.id] = world.channels[channel.id] = channel
    return world.direct[account.id]


def find_user(world: World, user_id: int) -> User | None:
    """Find a user by id in all guilds, including those that the bot is not in."""
    payloads = [each.guild for each in world.channels.values()]
    found = (guild.members.get(user_id) for guild in (*world.guilds.values(), *payloads))
    return next((member.user for member in found if member is not None), None)


def accepts_dms(world: World, person: User) -> bool:
    """Whether the bot may send direct messages to a user: they accept them, and share a guild with the bot."""
    return person.id not in world.dms_closed_by and any(person.id in guild.members for guild in world.guilds.values())
