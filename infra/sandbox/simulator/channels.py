"""Channels of a guild: added, changed, deleted, and the threads that the bot comes to see with them.

Threads and forum posts: opened, joined, archived, and woken by the next message.

Direct messages between one person and the bot. Such a conversation is in a guild of its own that nobody is told of.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta

from contracts.errors import MapSeekError
from infra.sandbox.simulator import payloads
from infra.sandbox.simulator.fields import JSON
from infra.sandbox.simulator.gateway import GUILD_MESSAGES_INTENT
from infra.sandbox.simulator.model import (
    ALL_PERMISSIONS,
    DM,
    GUILD_CATEGORY,
    GUILD_FORUM,
    GUILD_TEXT,
    HAS_THREAD,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
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
    """A channel below those that are there."""
    channel = Channel(world.new_id(None), guild, name, list(overwrites), kind=kind, category=category, nsfw=nsfw)
    guild.channels[channel.id] = world.channels[channel.id] = channel
    world.tell(guild, "CHANNEL_CREATE", payloads.channel(channel))
    return channel


def set_overwrites(world: World, channel: Channel, overwrites: Sequence[Overwrite]) -> None:
    """Replace a channel's overwrites; those of the channels of a category that had the same as it, too."""
    before, rules = list_visible_channels(world, channel.guild), _rules(channel)
    followers = [each for each in channel.guild.channels.values() if each.category is channel and _rules(each) == rules]
    for each in (channel, *followers):
        each.overwrites = list(overwrites)
        world.tell(channel.guild, "CHANNEL_UPDATE", payloads.channel(each))
    send_thread_list_sync(world, channel.guild, before)


def delete_channel(world: World, channel: Channel) -> None:
    """Take a channel away with its threads and all their messages. Of the threads of a channel no event tells."""
    if channel.is_thread:
        _forget(world, channel)
        if world.bot_may(channel, Permission.VIEW_CHANNEL):
            keys = ("id", "guild_id", "parent_id", "type")
            payload = payloads.thread(channel)
            world.tell(channel.guild, "THREAD_DELETE", {key: payload[key] for key in keys})
        return
    for thread in [each for each in channel.guild.threads.values() if each.parent is channel]:
        _forget(world, thread)
    payload = payloads.channel(channel)
    _forget(world, channel)
    world.tell(channel.guild, "CHANNEL_DELETE", payload)
    for child in channel.guild.channels.values():
        if child.category is channel:
            child.category = None
            world.tell(channel.guild, "CHANNEL_UPDATE", payloads.channel(child))


def bulk_delete(world: World, messages: Collection[Message]) -> None:
    """Take messages away at once: one event for each channel."""
    for channel in {each.channel: None for each in messages}:
        gone = [each for each in messages if each.channel is channel]
        for message in gone:
            world.forget(message)
        if world.bot_may(channel, Permission.VIEW_CHANNEL):
            place = {"channel_id": str(channel.id), "guild_id": str(channel.guild.id)}
            ids = [str(each.id) for each in gone]
            world.tell(channel.guild, "MESSAGE_DELETE_BULK", {"ids": ids, **place}, intent=GUILD_MESSAGES_INTENT)


def set_roles(world: World, member: Member, roles: Sequence[Role]) -> None:
    """Replace a member's roles. Without the members intent the bot is told of itself alone."""
    before = list_visible_channels(world, member.guild)
    member.roles = list(roles)
    if member.user is world.bot:
        payload = {**payloads.member(member), "guild_id": str(member.guild.id)}
        world.tell(member.guild, "GUILD_MEMBER_UPDATE", payload)
        send_thread_list_sync(world, member.guild, before)


def remove_member(member: Member) -> None:
    """A person is no longer in a guild, nor in its threads."""
    del member.guild.members[member.id]
    for thread in member.guild.threads.values():
        thread.joined.pop(member.id, None)


def set_age_restricted(world: World, channel: Channel, nsfw: bool) -> None:
    """A channel becomes one for adults only, or no longer."""
    channel.nsfw = nsfw
    world.tell(channel.guild, "CHANNEL_UPDATE", payloads.channel(channel))


def edit_role(world: World, guild: Guild, role: Role, permissions: Permission) -> None:
    """Change what a role grants."""
    before = list_visible_channels(world, guild)
    role.permissions = permissions
    world.tell(guild, "GUILD_ROLE_UPDATE", {"guild_id": str(guild.id), "role": payloads.role(role)})
    send_thread_list_sync(world, guild, before)


def remove_guild(world: World, guild: Guild) -> None:
    """The bot is taken out of a guild, which stays where it is."""
    world.tell(guild, "GUILD_DELETE", {"id": str(guild.id)})
    del world.guilds[guild.id], guild.members[world.bot.id]
    for thread in guild.threads.values():
        thread.joined.pop(world.bot.id, None)


def invite_bot(world: World, guild: Guild) -> None:
    """The bot is taken into a guild again."""
    guild.members[world.bot.id] = Member(world.bot, guild, [], world.clock())
    world.guilds[guild.id] = guild
    world.tell(guild, "GUILD_CREATE", payloads.guild_create(guild, world.me(guild)))


def set_unavailable(world: World, guild: Guild, unavailable: bool) -> None:
    """A guild drops out for a while, as in an outage, or comes back."""
    if unavailable:
        world.tell(guild, "GUILD_DELETE", {"id": str(guild.id), "unavailable": True})
    guild.unavailable = unavailable
    if not unavailable:
        world.tell(guild, "GUILD_CREATE", {**payloads.guild_create(guild, world.me(guild)), "unavailable": False})


def list_visible_channels(world: World, guild: Guild) -> set[Channel]:
    """The channels of a guild that the bot may see."""
    return {each for each in guild.channels.values() if world.bot_may(each, Permission.VIEW_CHANNEL)}


def send_thread_list_sync(world: World, guild: Guild, before: set[Channel]) -> None:
    """Tell the bot of the active threads in channels that it could not see before."""
    gained = [each for each in list_visible_channels(world, guild) - before if each.kind != GUILD_CATEGORY]
    if gained and guild.id in world.guilds:
        me = world.me(guild)
        threads = [each for each in payloads.active_threads(guild, me) if each.parent in gained]
        payload: JSON = {"guild_id": str(guild.id), "channel_ids": [str(each.id) for each in gained]}
        world.tell(guild, "THREAD_LIST_SYNC", payload | payloads.thread_list(threads, me))


def _rules(channel: Channel) -> set[tuple[int, Permission, Permission]]:
    return {(each.target.id, each.allow, each.deny) for each in channel.overwrites}


def _forget(world: World, channel: Channel) -> None:
    """Take one channel or thread away with its messages."""
    for message in list(channel.messages.values()):
        world.forget(message)
    del world.channels[channel.id]
    (channel.guild.threads if channel.is_thread else channel.guild.channels).pop(channel.id)


def add_thread(
    world: World, parent: Channel, name: str, owner: Member, *, private: bool = False, message: Message | None = None
) -> Channel:
    """A thread in a text channel, or a post in a forum; one started from a message has its id.

    Raises MapSeekError where there can be none.
    """
    if (
        parent.kind not in (GUILD_TEXT, GUILD_FORUM)
        or (parent.kind == GUILD_FORUM and (private or message))
        or (private and message)
    ):
        raise MapSeekError(f"#{parent.name} cannot have {'private' if private else 'public'} threads.")
    kind = PRIVATE_THREAD if private else PUBLIC_THREAD
    thread = Channel(message.id if message else world.new_id(None), parent.guild, name, kind=kind, parent=parent, owner=owner)
    thread.joined[owner.id] = world.clock()
    parent.guild.threads[thread.id] = world.channels[thread.id] = thread
    _tell(world, thread, "THREAD_CREATE", newly_created=True)
    if message is not None:
        _start_from(world, thread, message, owner)
    return thread


def join_thread(world: World, thread: Channel, member: Member) -> None:
    """Somebody joins a thread, or is added to a private one. Raises MapSeekError if Discord would not allow it."""
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
            _tell(world, thread, "THREAD_CREATE")
        _tell_members(world, thread, {"added_members": [payloads.thread_member(thread, member.id)]})


def leave_thread(world: World, thread: Channel, member: Member) -> None:
    """Somebody leaves a thread, or is taken out of it."""
    if thread.joined.pop(member.id, None) is not None and member.user is world.bot:
        _tell_members(world, thread, {"removed_member_ids": [str(member.id)]})


def set_archived(world: World, thread: Channel, *, archived: bool, locked: bool = False) -> None:
    """Archive a thread or open it again. No two threads of a guild are archived at the same moment: pages go by it."""
    others = [each.archive_changed_at for each in thread.guild.threads.values() if each.archive_changed_at is not None]
    thread.archived, thread.locked = archived, locked
    thread.archive_changed_at = max([world.clock(), *(each + timedelta(microseconds=1) for each in others)])
    _tell(world, thread, "THREAD_UPDATE")


def enter_thread(world: World, thread: Channel, member: Member) -> None:
    """What a message does to the thread it is posted in: it is open again, and the author a member."""
    if thread.archived:
        set_archived(world, thread, archived=False, locked=thread.locked)
    if member.id not in thread.joined and compute_permissions(thread, member):
        join_thread(world, thread, member)


def _start_from(world: World, thread: Channel, message: Message, owner: Member) -> None:
    """What Discord writes when a thread is started from a message: a first message in it, and a mark on that other one."""
    starter = world.new_message(thread, owner.user)
    starter.kind, starter.reference = THREAD_STARTER_MESSAGE, message
    world.create_message(starter)
    message.flags |= HAS_THREAD
    world.announce(message, "MESSAGE_UPDATE")


def _tell(world: World, thread: Channel, event: str, **more: object) -> None:
    if world.bot_may(thread, Permission.VIEW_CHANNEL):
        world.tell(thread.guild, event, {**payloads.thread(thread, world.me(thread.guild)), **more})


def _tell_members(world: World, thread: Channel, change: JSON) -> None:
    shared = {"id": str(thread.id), "guild_id": str(thread.guild.id), "member_count": min(len(thread.joined), 50)}
    world.tell(thread.guild, "THREAD_MEMBERS_UPDATE", {**shared, **change})


def open_dm_channel(world: World, account: User) -> Channel:
    """The one channel between a person and the bot, opened when first asked for."""
    if account.id not in world.direct:
        guild = Guild(world.new_id(None), "", account.id)
        guild.roles[guild.id] = Role(guild.id, "@everyone", Permission(ALL_PERMISSIONS & ~Permission.ADMINISTRATOR), position=0)
        for each in (account, world.bot):
            guild.members[each.id] = Member(each, guild, [], world.clock())
        channel = Channel(world.new_id(None), guild, account.name, kind=DM, recipient=account)
        world.direct[account.id] = world.channels[channel.id] = channel
    return world.direct[account.id]


def find_user(world: World, user_id: int) -> User | None:
    """The person with an id, in whatever guild, whether the bot is there or not."""
    payloads = [each.guild for each in world.channels.values()]
    found = (guild.members.get(user_id) for guild in (*world.guilds.values(), *payloads))
    return next((member.user for member in found if member is not None), None)


def accepts_dms(world: World, person: User) -> bool:
    """Whether the bot may write to somebody: they take such messages, and share a guild with it."""
    return person.id not in world.dms_closed_by and any(person.id in guild.members for guild in world.guilds.values())
