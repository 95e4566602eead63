"""A guild as the gateway would know it, asked of Discord by REST: its channels, its active threads and the bot as a member."""

from typing import Any

import disnake
from disnake.channel import _guild_channel_factory
from disnake.http import HTTPClient, Route

from infra.discord.rest.access import THREADS, guild_from


async def bot_of(client: HTTPClient) -> Any:
    """The account of the bot, as Discord tells it. Raises as the client does."""
    return await client.request(Route("GET", "/users/@me"))


async def guild_of(client: HTTPClient, guild_id: str, bot: Any) -> disnake.Guild:
    """The guild, complete enough to ask what the bot may read and to read it. Raises as the client does."""
    guild = guild_from(client, await client.get_guild(int(guild_id), with_counts=False))
    guild._state.user = disnake.ClientUser(state=guild._state, data=bot)
    me: Any = await client.get_member(guild.id, int(bot["id"]))
    guild._add_member(disnake.Member(data=me, guild=guild, state=guild._state))
    for payload in await client.get_all_guild_channels(guild.id):
        if (channel := _made(guild, payload)) is not None:
            guild._add_channel(channel)
    active = await client.get_active_threads(guild.id)
    for thread in active["threads"]:
        guild._add_thread(disnake.Thread(guild=guild, state=guild._state, data=thread))
    return guild


async def channel_of(client: HTTPClient, guild: disnake.Guild, channel_id: str) -> Any:
    """A channel or thread of the guild, archived ones too. Raises as the client does, NotFound for one of another guild."""
    known = guild.get_channel_or_thread(int(channel_id))
    return known if known is not None else _made(guild, await client.get_channel(int(channel_id)))


async def guild_id_of(client: HTTPClient, channel_id: str) -> str | None:
    """The guild that a channel or thread is in; None for one that the bot does not know. Raises as the client does otherwise."""
    try:
        payload: Any = await client.get_channel(int(channel_id))
    except (disnake.NotFound, disnake.Forbidden):
        return None
    guild_id = payload.get("guild_id")
    return None if guild_id is None else str(guild_id)


def _made(guild: disnake.Guild, payload: Any) -> Any:
    if payload["type"] in THREADS:
        return disnake.Thread(guild=guild, state=guild._state, data=payload)
    kind, _ = _guild_channel_factory(payload["type"])
    return None if kind is None else kind(guild=guild, state=guild._state, data=payload)
