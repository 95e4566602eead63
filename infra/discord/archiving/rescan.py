"""A second look at the last days: what was deleted or edited while the bot was away is removed too."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import disnake
import structlog
from disnake.ext import commands

from contracts.events import ImagePosted
from infra.discord.archive.history import Unreadable, may_read, pages_after
from infra.discord.archive.removal_facts import is_embedded
from infra.discord.archiving.removals import deleted, edited, remove_channel
from infra.discord.services import Services

log = structlog.get_logger()

WINDOW = timedelta(hours=72)

Known = dict[int, list[ImagePosted]]
"""Images by message."""


async def rescan(bot: commands.InteractionBot, services: Services, guild: disnake.Guild) -> None:
    """Compare what the log has of the last days with what the channels show now. Raises disnake's errors."""
    since = services.ports.now() - WINDOW
    known: dict[int, Known] = {}
    async for post in services.ports.posts.of_guild(str(guild.id), since=since):
        if post.posted_at >= since:
            known.setdefault(int(post.channel_id), {}).setdefault(int(post.message_id), []).append(post)
    heard = services.marks.of_guild(str(guild.id))
    marked = {int(channel_id) for channel_id, mark in heard.items() if mark.heard_at >= since}
    for channel_id in sorted(known.keys() | marked):
        channel = guild.get_channel_or_thread(channel_id) or await _fetched(bot, services, guild, channel_id)
        if channel is not None and known.get(channel_id):
            await _compare(services, channel, known[channel_id])


async def _fetched(bot: commands.InteractionBot, services: Services, guild: disnake.Guild, channel_id: int) -> Any:
    """An archived thread; None for a channel that is gone, whose images go too, and for one that may not be seen."""
    try:
        return await bot.fetch_channel(channel_id)
    except disnake.NotFound:
        log.info("a channel was deleted meanwhile", channel=channel_id)
        remove_channel(services, guild.id, channel_id)
    except (disnake.Forbidden, disnake.InvalidData):
        log.warning("a channel cannot be looked at again", channel=channel_id)
    return None


async def _compare(services: Services, channel: Any, known: Known) -> None:
    if not may_read(channel):
        return
    try:
        shown = await _shown(channel, known)
    except Unreadable:
        return
    missing = [message_id for message_id in known if message_id not in shown]
    if missing and await _is_gone(channel, missing[0]):
        log.info("messages were deleted meanwhile", channel=channel.id, count=len(missing))
        deleted(services, channel.guild.id, missing)
    for message in changed(shown, known):
        edited(services, message)


async def _shown(channel: Any, known: Known) -> dict[int, disnake.Message]:
    """Those of the known messages that are still there."""
    newest = max(known)
    shown: dict[int, disnake.Message] = {}
    async for page in pages_after(channel, min(known) - 1):
        shown |= {message.id: message for message in page if message.id in known}
        if page[-1].id >= newest:
            break
    return shown


async def _is_gone(channel: Any, message_id: int) -> bool:
    """Ask for one message by itself: an empty history may mean that it may not be read."""
    try:
        await channel.fetch_message(message_id)
    except disnake.NotFound:
        return True
    except disnake.Forbidden:
        return False
    return False


def changed(shown: Mapping[int, disnake.Message], known: Mapping[int, Sequence[ImagePosted]]) -> list[disnake.Message]:
    """The messages that have lost an attachment."""
    return [
        message
        for message_id, message in shown.items()
        if {post.image_id for post in known[message_id] if not is_embedded(post.image_id)}
        - {str(file.id) for file in message.attachments}
    ]
