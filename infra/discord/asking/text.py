"""`/find-text`: looking for a picture by words."""

from typing import Any

import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction

from contracts.events import Filters, SearchDescribed
from infra.discord.ask.parse import Words, beginning_of, words_of
from infra.discord.ask.question import Occasion, admitted, interacting, occasion_of, refused
from infra.discord.asking.options import AFTER, AUTHOR, BEFORE, CHANNEL, IN_GUILDS, PRIVATE, QUERY, described
from infra.discord.services import Services
from infra.discord.translate import question_of

log = structlog.get_logger()


class Describing(commands.Cog):
    """The command that asks with words."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.slash_command(**described("text"), **IN_GUILDS)
    async def find_text(
        self,
        interaction: ApplicationCommandInteraction[Any],
        query: str = QUERY,
        channel: disnake.abc.GuildChannel | None = CHANNEL,
        author: disnake.User | None = AUTHOR,
        after: str | None = AFTER,
        before: str | None = BEFORE,
        private: bool | None = PRIVATE,
    ) -> None:
        with interacting(interaction):
            occasion = occasion_of(interaction, self._services, private=private)
            words, filters = _words(occasion, query), _filters(occasion, author, after, before)
            with admitted(occasion, self._services):
                await interaction.response.defer(ephemeral=occasion.private)
                await self._record(occasion, words, filters, channel)

    async def _record(self, occasion: Occasion, words: Words, filters: Filters | None, channel: Any) -> None:
        interaction = occasion.interaction
        channels = await occasion.channels()
        if channel is not None:
            channels = tuple(each for each in channels if each in within(occasion.guild, channel.id))
            if not channels:
                raise refused(occasion, "asking-channel-unreadable", channel=f"<#{channel.id}>")
        fact = SearchDescribed(
            guild_id=str(occasion.guild.id),
            search_id=str(interaction.id),
            question=question_of(interaction, channels, locale=occasion.locale, private=occasion.private, filters=filters),
            words=words.wanted,
            excluded=words.excluded,
        )
        await self._services.ports.journal.record(fact, occasion.origin)
        log.info("search by words requested", guild=fact.guild_id)


def within(guild: disnake.Guild, channel_id: int) -> frozenset[str]:
    """The ids of a channel, or of a category's channels."""
    channel = guild.get_channel(channel_id)
    inside = channel.channels if isinstance(channel, disnake.CategoryChannel) else []
    return frozenset({str(channel_id), *(str(each.id) for each in inside)})


def _words(occasion: Occasion, query: str) -> Words:
    words = words_of(query)
    if not words.wanted:
        raise refused(occasion, "asking-no-words")
    return words


def _filters(occasion: Occasion, author: disnake.User | None, after: str | None, before: str | None) -> Filters | None:
    if author is None and after is None and before is None:
        return None
    dates = [None if date is None else beginning_of(date) for date in (after, before)]
    for typed, moment in zip((after, before), dates, strict=True):
        if typed is not None and moment is None:
            raise refused(occasion, "asking-no-date", typed=disnake.utils.escape_markdown(typed))
    since, until = dates
    if since is not None and until is not None and since >= until:
        raise refused(occasion, "asking-dates-crossed")
    return Filters(author_id=None if author is None else str(author.id), after=since, before=until)
