"""Channels of a guild: added, changed, deleted, and the threads that the bot comes to see with them."""

from collections.abc import Collection, Sequence

from infra.simulator import payloads, places
from infra.simulator.errors import JSON
from infra.simulator.gateway import GUILD_MESSAGES
from infra.simulator.model import CATEGORY, Channel, Guild, Member, Message, Overwrite, Role
from infra.simulator.permissions import Permission
from infra.simulator.world import World


def add_channel(
    world: World, guild: Guild, name: str, kind: int, overwrites: Sequence[Overwrite], category: Channel | None, nsfw: bool
) -> Channel:
    """A channel below those that are there."""
    channel = Channel(world.new_id(None), guild, name, list(overwrites), kind=kind, category=category, nsfw=nsfw)
    guild.channels[channel.id] = world.channels[channel.id] = channel
    world.tell(guild, "CHANNEL_CREATE", places.channel(channel))
    return channel


def set_overwrites(world: World, channel: Channel, overwrites: Sequence[Overwrite]) -> None:
    """Replace a channel's overwrites; those of the channels of a category that had the same as it, too."""
    before, rules = visible(world, channel.guild), _rules(channel)
    followers = [each for each in channel.guild.channels.values() if each.category is channel and _rules(each) == rules]
    for each in (channel, *followers):
        each.overwrites = list(overwrites)
        world.tell(channel.guild, "CHANNEL_UPDATE", places.channel(each))
    show_threads(world, channel.guild, before)


def delete_channel(world: World, channel: Channel) -> None:
    """Take a channel away with its threads and all their messages. Of the threads of a channel no event tells."""
    if channel.is_thread:
        _forget(world, channel)
        if world.bot_may(channel, Permission.VIEW_CHANNEL):
            keys = ("id", "guild_id", "parent_id", "type")
            payload = places.thread(channel)
            world.tell(channel.guild, "THREAD_DELETE", {key: payload[key] for key in keys})
        return
    for thread in [each for each in channel.guild.threads.values() if each.parent is channel]:
        _forget(world, thread)
    payload = places.channel(channel)
    _forget(world, channel)
    world.tell(channel.guild, "CHANNEL_DELETE", payload)
    for child in channel.guild.channels.values():
        if child.category is channel:
            child.category = None
            world.tell(channel.guild, "CHANNEL_UPDATE", places.channel(child))


def bulk_delete(world: World, messages: Collection[Message]) -> None:
    """Take messages away at once: one event for each channel."""
    for channel in {each.channel: None for each in messages}:
        gone = [each for each in messages if each.channel is channel]
        for message in gone:
            world.forget(message)
        if world.bot_may(channel, Permission.VIEW_CHANNEL):
            place = {"channel_id": str(channel.id), "guild_id": str(channel.guild.id)}
            ids = [str(each.id) for each in gone]
            world.tell(channel.guild, "MESSAGE_DELETE_BULK", {"ids": ids, **place}, intent=GUILD_MESSAGES)


def set_roles(world: World, member: Member, roles: Sequence[Role]) -> None:
    """Replace a member's roles. Without the members intent the bot is told of itself alone."""
    before = visible(world, member.guild)
    member.roles = list(roles)
    if member.user is world.bot:
        payload = {**payloads.member(member), "guild_id": str(member.guild.id)}
        world.tell(member.guild, "GUILD_MEMBER_UPDATE", payload)
        show_threads(world, member.guild, before)


def remove_member(member: Member) -> None:
    """A person is no longer in a guild, nor in its threads."""
    del member.guild.members[member.id]
    for thread in member.guild.threads.values():
        thread.joined.pop(member.id, None)


def set_age_restricted(world: World, channel: Channel, nsfw: bool) -> None:
    """A channel becomes one for adults only, or no longer."""
    channel.nsfw = nsfw
    world.tell(channel.guild, "CHANNEL_UPDATE", places.channel(channel))


def edit_role(world: World, guild: Guild, role: Role, permissions: Permission) -> None:
    """Change what a role grants."""
    before = visible(world, guild)
    role.permissions = permissions
    world.tell(guild, "GUILD_ROLE_UPDATE", {"guild_id": str(guild.id), "role": payloads.role(role)})
    show_threads(world, guild, before)


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
    world.tell(guild, "GUILD_CREATE", places.created_guild(guild, world.me(guild)))


def set_unavailable(world: World, guild: Guild, unavailable: bool) -> None:
    """A guild drops out for a while, as in an outage, or comes back."""
    if unavailable:
        world.tell(guild, "GUILD_DELETE", {"id": str(guild.id), "unavailable": True})
    guild.unavailable = unavailable
    if not unavailable:
        world.tell(guild, "GUILD_CREATE", {**places.created_guild(guild, world.me(guild)), "unavailable": False})


def visible(world: World, guild: Guild) -> set[Channel]:
    """The channels of a guild that the bot may see."""
    return {each for each in guild.channels.values() if world.bot_may(each, Permission.VIEW_CHANNEL)}


def show_threads(world: World, guild: Guild, before: set[Channel]) -> None:
    """Tell the bot of the active threads in channels that it could not see before."""
    gained = [each for each in visible(world, guild) - before if each.kind != CATEGORY]
    if gained and guild.id in world.guilds:
        me = world.me(guild)
        threads = [each for each in places.active_threads(guild, me) if each.parent in gained]
        payload: JSON = {"guild_id": str(guild.id), "channel_ids": [str(each.id) for each in gained]}
        world.tell(guild, "THREAD_LIST_SYNC", payload | places.thread_list(threads, me))


def _rules(channel: Channel) -> set[tuple[int, Permission, Permission]]:
    return {(each.target.id, each.allow, each.deny) for each in channel.overwrites}


def _forget(world: World, channel: Channel) -> None:
    """Take one channel or thread away with its messages."""
    for message in list(channel.messages.values()):
        world.forget(message)
    del world.channels[channel.id]
    (channel.guild.threads if channel.is_thread else channel.guild.channels).pop(channel.id)
