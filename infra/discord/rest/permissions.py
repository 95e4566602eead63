"""Who may read what now, asked of Discord over REST, for processes without a gateway, which hold no guilds and members."""

import asyncio
from typing import Any

import disnake
from disnake.channel import _guild_channel_factory
from disnake.http import HTTPClient, Route
from disnake.state import ConnectionState

from infra.discord.ask.audience import TYPES_WITH_POSTS, all_may_read, may_open, required_permissions
from infra.discord.completion import (
    THREAD_TYPES,
    complete_channel,
    complete_guild,
    complete_member,
    complete_thread,
    complete_user,
    list_readable,
    try_channel,
    try_thread,
)

PRIVATE_THREAD = 12


async def person_may_read(client: HTTPClient, guild_id: str, channel_id: str, person_id: str, *, age_restricted: bool) -> bool:
    """Tell whether a person may read a channel's or thread's history now. A person who has left the guild may not.

    The guild's own id as `person_id` means all members, whatever their roles. False if the bot itself may not see the channel.
    Raises the client's errors, except NotFound and Forbidden.
    """
    try:
        guild = guild_from_payload(client, await client.get_guild(int(guild_id), with_counts=False))
        channel, private = await _fetch_home(client, guild, channel_id)
        if person_id == guild_id:
            return not private and _all_members_may_read(channel, age_restricted=age_restricted)
        member_payload = complete_member(await client.get_member(int(guild_id), int(person_id)))
        member = disnake.Member(data=member_payload, guild=guild, state=guild._state)
        if not may_open(channel, member, age_restricted=age_restricted):
            return False
        return not private or channel.permissions_for(member).manage_threads or await _is_in(client, channel_id, person_id)
    except (disnake.NotFound, disnake.Forbidden):
        return False


async def onlookers_may_read(client: HTTPClient, guild_id: str, channel_id: str, place_id: str) -> bool:
    """Tell whether everyone who sees the bot's messages in a place may read a channel's or thread's history now.

    Raises the client's errors, except NotFound and Forbidden.
    """
    try:
        guild = guild_from_payload(client, await client.get_guild(int(guild_id), with_counts=False))
        channel, private = await _fetch_home(client, guild, channel_id)
        home, _ = await _fetch_home(client, guild, place_id)
    except (disnake.NotFound, disnake.Forbidden):
        return False
    if not isinstance(channel, TYPES_WITH_POSTS) or not isinstance(home, TYPES_WITH_POSTS) or (private and channel_id != place_id):
        return False
    return (home.is_nsfw() or not channel.is_nsfw()) and all_may_read(channel, home)


async def _fetch_home(client: HTTPClient, guild: disnake.Guild, channel_id: str) -> tuple[Any, bool]:
    """Return the channel whose permissions apply in a channel or thread, and whether that is a private thread.

    The channel is None if it belongs to another guild.
    """
    payload: Any = await client.get_channel(int(channel_id))
    private = payload["type"] == PRIVATE_THREAD
    if payload["type"] in THREAD_TYPES:
        payload = await client.get_channel(int(payload["parent_id"]))
    return (_channel_from_payload(guild, payload) if str(payload.get("guild_id")) == str(guild.id) else None), private


def guild_from_payload(client: HTTPClient, payload: Any) -> disnake.Guild:
    """Build a guild with its roles, as a gateway would have it, but without channels and members."""
    state = ConnectionState(
        dispatch=lambda *_: None,
        handlers={},
        hooks={},
        http=client,
        loop=asyncio.get_running_loop(),
        intents=disnake.Intents(guilds=True),
        max_messages=None,
    )
    return disnake.Guild(data=complete_guild(payload, state), state=state)


def _channel_from_payload(guild: disnake.Guild, payload: Any) -> Any:
    kind, _ = _guild_channel_factory(payload["type"])
    return None if kind is None else kind(guild=guild, state=guild._state, data=complete_channel(payload))


def _all_members_may_read(channel: Any, *, age_restricted: bool) -> bool:
    """Tell whether everyone may read a channel, and no overwrite denies that to anyone."""
    if not isinstance(channel, TYPES_WITH_POSTS):
        return False
    everyone: Any = channel.guild.default_role
    denied = (each.deny for each in channel._overwrites if each.id != channel.guild.id)
    return may_open(channel, everyone, age_restricted=age_restricted) and not any(
        deny & required_permissions(channel) for deny in denied
    )


async def _is_in(client: HTTPClient, thread_id: str, person_id: str) -> bool:
    try:
        await client.get_thread_member(int(thread_id), int(person_id))
    except disnake.NotFound:
        return False
    return True


async def fetch_bot(client: HTTPClient) -> Any:
    """Return the bot's account as Discord returns it. Raises the client's errors."""
    return await client.request(Route("GET", "/users/@me"))


async def fetch_guild(client: HTTPClient, guild_id: str, bot: Any) -> disnake.Guild:
    """Return a guild with its channels, active threads and the bot's member: enough to check what the bot may read and to read it.

    Raises the client's errors.
    """
    guild = guild_from_payload(client, await client.get_guild(int(guild_id), with_counts=False))
    guild._state.user = disnake.ClientUser(state=guild._state, data=complete_user(bot))
    me = complete_member(await client.get_member(guild.id, int(bot["id"])))
    guild._add_member(disnake.Member(data=me, guild=guild, state=guild._state))
    channels: Any = await client.get_all_guild_channels(guild.id)
    for payload in list_readable("channel", channels, lambda each: try_channel(each, guild)):
        if (channel := _channel_or_thread_from_payload(guild, payload)) is not None:
            guild._add_channel(channel)
    active: Any = await client.get_active_threads(guild.id)
    for payload in list_readable("thread", active["threads"], lambda each: try_thread(each, guild)):
        guild._add_thread(disnake.Thread(guild=guild, state=guild._state, data=payload))
    return guild


async def fetch_channel(client: HTTPClient, guild: disnake.Guild, channel_id: str) -> Any:
    """Return a channel or thread of the guild, including archived threads.

    Raises the client's errors, NotFound also for a channel of another guild.
    """
    known = guild.get_channel_or_thread(int(channel_id))
    return known if known is not None else _channel_or_thread_from_payload(guild, await client.get_channel(int(channel_id)))


async def fetch_guild_id(client: HTTPClient, channel_id: str) -> str | None:
    """Return the id of the guild of a channel or thread; None if the bot cannot see it. Raises the client's other errors."""
    try:
        payload: Any = await client.get_channel(int(channel_id))
    except (disnake.NotFound, disnake.Forbidden):
        return None
    guild_id = payload.get("guild_id")
    return None if guild_id is None else str(guild_id)


def _channel_or_thread_from_payload(guild: disnake.Guild, payload: Any) -> Any:
    if payload["type"] in THREAD_TYPES:
        return disnake.Thread(guild=guild, state=guild._state, data=complete_thread(payload))
    return _channel_from_payload(guild, payload)
