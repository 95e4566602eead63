"""A channel's history, page by page, and whether the bot may read it at all."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import aiohttp
import disnake

from infra.discord.ask.audience import CONNECT_PERMISSION, READ_PERMISSIONS
from infra.discord.pictures import DiscordPayload, find_message_id

MESSAGES_PER_PAGE = 100
"""The most messages that Discord returns at once."""

TYPES_WITH_THREADS = (disnake.TextChannel, disnake.ForumChannel, disnake.MediaChannel)
TYPES_WITHOUT_MESSAGES = (disnake.ForumChannel, disnake.MediaChannel, disnake.CategoryChannel)


class UnreadableHistory(Exception):
    """The bot may not read this channel's history. Discord would return an empty history instead of an error."""


def channel_place(channel: Any) -> tuple[str, str]:
    """Return the guild id and the channel id, the key of a high-water mark."""
    return str(channel.guild.id), str(channel.id)


def newest_message_id(channel: Any) -> int:
    """Return the id of a channel's newest message; without messages the channel's own id, which is older than any."""
    return int(getattr(channel, "last_message_id", None) or channel.id)


def bot_may_read(channel: Any) -> bool:
    """Tell whether the bot may read the history of a channel or thread."""
    if isinstance(channel, disnake.Thread) and channel.parent is None:
        return False
    vocal = isinstance(channel, disnake.VoiceChannel | disnake.StageChannel)
    needed = READ_PERMISSIONS | CONNECT_PERMISSION if vocal else READ_PERMISSIONS
    me = channel.guild.me  # None until Discord tells: see GatewayClient.dispatch
    return me is not None and bool(channel.permissions_for(me) >= needed)


async def read_history_page(channel: Any, after: int) -> list[DiscordPayload]:
    """Return the payloads of the messages that follow an id, oldest first, at most a page of them.

    They are not parsed here, so that one message that cannot be read costs no other. Raises UnreadableHistory, disnake's
    errors and aiohttp's. The permission is checked before and after, since it may change during the request.
    """
    if not bot_may_read(channel):
        raise UnreadableHistory
    try:
        page: Any = await channel._state.http.logs_from(channel.id, MESSAGES_PER_PAGE, after=after)
    except disnake.Forbidden as error:
        raise UnreadableHistory from error
    if not isinstance(page, list):
        raise aiohttp.ClientPayloadError("Discord sent no list of messages")
    if not bot_may_read(channel):
        raise UnreadableHistory
    return sorted(page, key=find_message_id)


async def read_history_pages(channel: Any, after: int) -> AsyncIterator[list[DiscordPayload]]:
    """Yield all messages that follow an id, page by page, oldest first. Raises as `read_history_page`."""
    while page := await read_history_page(channel, after):
        yield page
        if len(page) < MESSAGES_PER_PAGE or (last := find_last_id(page)) <= after:
            return
        after = last


def find_last_id(page: Sequence[DiscordPayload]) -> int:
    """Return the id of the newest message of a page, 0 for an empty page."""
    return max(map(find_message_id, page), default=0)


async def list_archived_threads(channel: Any, since: datetime | None = None) -> AsyncIterator[disnake.Thread]:
    """Yield a channel's threads that were archived since a moment, and the private ones that the bot may read.

    Raises UnreadableHistory.
    """
    if not bot_may_read(channel):
        raise UnreadableHistory
    older = 0
    async for thread in channel.archived_threads(limit=None):
        if since is None or thread.archive_timestamp >= since:
            older = 0
            yield thread
        elif (older := older + 1) >= MESSAGES_PER_PAGE:  # pages come newest first, but disnake reverses each page
            break
    if isinstance(channel, disnake.TextChannel):
        joined = not channel.permissions_for(channel.guild.me).manage_threads
        with contextlib.suppress(disnake.Forbidden):  # then the bot may read no private thread
            async for thread in channel.archived_threads(limit=None, private=True, joined=joined):
                if since is None or thread.archive_timestamp >= since:
                    yield thread
