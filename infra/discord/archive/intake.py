"""The way of every post into the log, and which channels are watched.

The owner of the installation names channels, and so do the managers of a guild.
"""

from collections.abc import Iterable
from typing import Any

import disnake
from disnake.ext import commands

from contracts.envelope import Origin
from contracts.events import ImagePosted
from contracts.state import GuildSettings
from infra.discord.services import Services
from infra.discord.translate import facts_from_message
from infra.discord.wording import localize

TYPES_WITH_MESSAGES = (disnake.TextChannel, disnake.VoiceChannel, disnake.StageChannel, disnake.Thread)

ALL_CHANNELS = "all"
MAX_LISTED_CHANNELS = 60
"""The most channels named in one message, which holds at most 2,000 characters."""


class Intake:
    """Records the images of messages, whether they are live, caught up or back-filled.

    It leaves out the bot's own posts, posts of members who asked to be forgotten, and posts that were deleted a moment ago.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    def list_images(self, message: disnake.Message) -> list[ImagePosted]:
        """Return the images of a message that must be archived."""
        guild = message.guild
        if guild is None or self._bot.get_guild(guild.id) is None or message.author.id == self._bot.user.id:
            return []
        if self._services.forgotten_members.covers(guild.id, message.author.id, message.created_at):
            return []
        return self._services.recent_deletions.filter_remaining(facts_from_message(message))

    def enqueue(self, messages: Iterable[disnake.Message]) -> int:
        """Add the images of messages to the recorder's queue without waiting, and return their number."""
        count = 0
        for message in messages:
            for fact in self.list_images(message):
                self._services.recorder.add(fact, Origin(correlation_id=f"message-{message.id}"))
                count += 1
        return count


def is_listed(channel: Any, channels: frozenset[str] | None) -> bool:
    """Tell whether a channel, its category or, for a thread, its parent is in the list. None and `all` mean every channel."""
    if channels is None or ALL_CHANNELS in channels:
        return True
    parent = channel.parent if isinstance(channel, disnake.Thread) else None
    parent_id = channel.parent_id if isinstance(channel, disnake.Thread) else None
    ids = (channel.id, parent_id, getattr(parent or channel, "category_id", None))
    return not channels.isdisjoint(str(known) for known in ids if known is not None)


def is_watched_channel(services: Services, channel: Any) -> bool:
    """Tell whether posts in a guild's channel or thread are archived: the owner of the installation or a manager chose it."""
    if is_listed(channel, services.watched):
        return True
    guild = getattr(channel, "guild", None)
    return guild is not None and is_listed(channel, frozenset(services.guilds.get(guild.id).watched))


def with_watched(settings: GuildSettings, channel_id: int) -> GuildSettings:
    """Return the settings with one more watched channel."""
    return settings.model_copy(update={"watched": tuple(dict.fromkeys((*settings.watched, str(channel_id))))})


def without_watched(settings: GuildSettings, channel_id: int) -> GuildSettings:
    """Return the settings without a watched channel."""
    return settings.model_copy(update={"watched": tuple(each for each in settings.watched if each != str(channel_id))})


def render_watched_channels(services: Services, guild: disnake.Guild, locale: str) -> str:
    """Return a text that names the watched channels of a guild, those of the owner and those of the managers."""
    owners = services.watched
    if owners is None or ALL_CHANNELS in owners:
        return localize(locale, "archive-watching-all")
    named = [str(each.id) for each in (*guild.channels, *guild.threads) if str(each.id) in owners]
    places = list(dict.fromkeys((*named, *services.guilds.get(guild.id).watched)))
    if not places:
        return localize(locale, "archive-watching-none")
    shown = " ".join(f"<#{each}>" for each in places[:MAX_LISTED_CHANNELS])
    return localize(locale, "archive-watching", channels=shown, more=max(0, len(places) - MAX_LISTED_CHANNELS))
