"""A channel's past, page by page, and whether the bot may read it at all."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import disnake

PAGE = 100
"""Messages in one page, the most that Discord gives."""

READING = disnake.Permissions(view_channel=True, read_message_history=True)
CONNECTING = disnake.Permissions(connect=True)
WITH_THREADS = (disnake.TextChannel, disnake.ForumChannel, disnake.MediaChannel)
NO_MESSAGES = (disnake.ForumChannel, disnake.MediaChannel, disnake.CategoryChannel)


class Unreadable(Exception):
    """The bot may not read this channel's history; Discord would show an empty one rather than say so."""


def place_of(channel: Any) -> tuple[str, str]:
    """The guild and the channel, by which marks are kept."""
    return str(channel.guild.id), str(channel.id)


def newest_of(channel: Any) -> int:
    """The newest message of a channel; the channel's own id is older than any."""
    return int(getattr(channel, "last_message_id", None) or channel.id)


def may_read(channel: Any) -> bool:
    """Whether the bot may read the history of a channel or thread."""
    if isinstance(channel, disnake.Thread) and channel.parent is None:
        return False
    vocal = isinstance(channel, disnake.VoiceChannel | disnake.StageChannel)
    needed = READING | CONNECTING if vocal else READING
    return bool(channel.permissions_for(channel.guild.me) >= needed)


async def page_after(channel: Any, after: int) -> list[disnake.Message]:
    """The messages that follow an id, oldest first, at most a page of them. Raises Unreadable, and disnake's errors."""
    if not may_read(channel):
        raise Unreadable
    try:
        page = [message async for message in channel.history(limit=PAGE, after=disnake.Object(after), oldest_first=True)]
    except disnake.Forbidden as error:
        raise Unreadable from error
    if not may_read(channel):
        raise Unreadable
    return page


async def pages_after(channel: Any, after: int) -> AsyncIterator[list[disnake.Message]]:
    """All messages that follow an id, oldest first. Raises as `page_after`."""
    while page := await page_after(channel, after):
        yield page
        if len(page) < PAGE:
            return
        after = page[-1].id


async def archived_threads(channel: Any, since: datetime | None = None) -> AsyncIterator[disnake.Thread]:
    """The threads of a channel that were archived since a moment, and the private ones that the bot may read. Raises Unreadable."""
    if not may_read(channel):
        raise Unreadable
    older = 0
    async for thread in channel.archived_threads(limit=None):
        if since is None or thread.archive_timestamp >= since:
            older = 0
            yield thread
        elif (older := older + 1) >= PAGE:  # pages come newest first, but each is turned round
            break
    if isinstance(channel, disnake.TextChannel):
        joined = not channel.permissions_for(channel.guild.me).manage_threads
        with contextlib.suppress(disnake.Forbidden):  # then it reads none of them
            async for thread in channel.archived_threads(limit=None, private=True, joined=joined):
                if since is None or thread.archive_timestamp >= since:
                    yield thread
