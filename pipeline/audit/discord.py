"""What was posted on Discord against what the log has: every watched channel is read from where it was first watched."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import Any

from nats.aio.client import Client

from contracts.errors import MapSeekError, Retry
from contracts.events import ImagePosted, RemovalRequested
from contracts.ports import State
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.discord.owner import claim
from infra.discord.rest.comparing import Difference, differences
from infra.discord.rest.guilds import bot_of, guild_id_of
from infra.discord.rest.login import RestLogin
from infra.discord.rest.watching import read_watching
from infra.nats.tail import past, readable
from pipeline.audit.chain import Images
from pipeline.audit.gaps import Gap

Posted = dict[str, dict[int, dict[int, list[str]]]]
"""The images that the log has, by guild, channel and message; local ones are no matter of Discord's."""


async def read_posted(client: Client, guild: str | None = None) -> Posted:
    """Read the posts. Raises nats-py's errors when the server cannot be reached."""
    posted: Posted = {}
    filters = [kind_filter(ImagePosted) if guild is None else guild_filter(ImagePosted, guild)]
    async with aclosing(past(client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = readable(message)
            if recorded is not None and isinstance(post := recorded.fact, ImagePosted) and post.message_id.isdigit():
                channel = posted.setdefault(post.guild_id, {}).setdefault(int(post.channel_id), {})
                channel.setdefault(int(post.message_id), []).append(post.image_id)
    return posted


async def compare_discord(
    rest: RestLogin,
    state: State,
    channels: frozenset[str],
    posted: Posted,
    now: Callable[[], datetime],
    *,
    guild: str | None = None,
    channel: str | None = None,
) -> AsyncIterator[Difference]:
    """The differences of all guilds, of one or of one channel, as far as messages are older than this call.

    Raises MapSeekError when Discord does not answer, and for the token of another bot; Unavailable when the log does not.
    """
    until = now()
    try:
        bot = await _bot(rest)
        await claim(state, str(bot["id"]))
        watching = await read_watching(state, channels, now)
        guilds = {guild} if guild is not None else posted.keys() | watching.known_guilds
        for guild_id in sorted(each for each in guilds if each.isdigit()):
            only = None if channel is None else int(channel)
            async for difference in differences(rest, bot, watching, guild_id, posted.get(guild_id, {}), until, only):
                yield difference
    except Retry as error:
        raise MapSeekError(f"{error}: try again later, or leave Discord out with --no-discord.") from None


async def guild_with(rest: RestLogin, posted: Posted, channel: str) -> str:
    """The guild of a channel, by what the log knows of it or else by Discord. Raises MapSeekError where neither knows."""
    for guild_id, places in posted.items():
        if int(channel) in places:
            return guild_id
    try:
        async with rest.asking("for a channel") as client:
            found = await guild_id_of(client, channel)
    except Retry as error:
        raise MapSeekError(f"{error}: try again later.") from None
    if found is None:
        raise MapSeekError(f"Neither the log nor the bot knows a channel {channel}: check the id.")
    return found


async def _bot(rest: RestLogin) -> Any:
    async with rest.asking("who the bot is") as client:
        return await bot_of(client)


class Seen:
    """The differences of a whole audit, by channel."""

    def __init__(self) -> None:
        self.images = 0
        self.names: dict[str, str] = {}
        self.missed: dict[str, list[str]] = {}
        self.gone: dict[str, list[str]] = {}
        self.unreadable: list[str] = []

    def add(self, difference: Difference) -> None:
        """One more page."""
        channel = difference.channel_id
        self.images += difference.images
        self.names[channel] = difference.name or channel
        self.missed.setdefault(channel, []).extend(post.image_id for post in difference.missed)
        self.gone.setdefault(channel, []).extend(difference.gone)
        if difference.unreadable:
            self.unreadable.append(f"{difference.name} ({channel})" if channel else f"the whole guild {difference.guild_id}")

    def gaps(self, posted: Images, removed: Images, leaving: Images) -> list[Gap]:
        """What is left of the differences when that is taken off which was recorded or removed meanwhile, or is about to be."""
        found = []
        for channel, name in self.names.items():
            command = (f"mapseek sync --channel {channel}",)
            if missed := [each for each in self.missed[channel] if each not in posted and each not in removed]:
                found.append(Gap("not-posted", f"on Discord in {name}, but not in the log", tuple(missed), command))
            if gone := [each for each in self.gone[channel] if each not in removed and each not in leaving]:
                found.append(Gap("gone", f"in the log, but gone from {name} on Discord", tuple(gone), command))
        return found


def leaving(posted: Posted, removals: Iterable[RemovalRequested]) -> set[str]:
    """The images that a removal which is still to be worked on may be about."""
    found: set[str] = set()
    for removal in removals:
        for channel, messages in posted.get(removal.guild_id, {}).items():
            for message, images in messages.items():
                if removal.scope in ("guild", "author") or int(removal.target) in (channel, message):
                    found.update(images)
    return found
