"""`/find` and the right click on a message: acknowledged at once and then recorded; the answers come from elsewhere.

`/find-text`: looking for a picture by words.

The options of the commands that ask, named and described in every language.
"""

from typing import Any

import aiohttp
import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageCommandInteraction

from contracts.events import Filters, SearchDescribed
from infra.discord.ask.audience import may_read
from infra.discord.ask.parse import (
    MessageLink,
    NotAskable,
    Picture,
    PictureLink,
    Words,
    beginning_of,
    parse_link,
    picture_of,
    pictures_of,
    words_of,
)
from infra.discord.ask.question import Occasion, admitted, ask_about, interacting, occasion_of, refused
from infra.discord.services import Services
from infra.discord.translate import is_image, question_of
from infra.discord.wording import localized

log = structlog.get_logger()

IN_GUILDS: dict[str, Any] = {
    "contexts": disnake.InteractionContextTypes(guild=True),
    "install_types": disnake.ApplicationInstallTypes(guild=True),
}
"""Where the commands are offered."""

PLACES = [
    disnake.ChannelType.text,
    disnake.ChannelType.news,
    disnake.ChannelType.voice,
    disnake.ChannelType.stage_voice,
    disnake.ChannelType.forum,
    disnake.ChannelType.media,
    disnake.ChannelType.category,
]


def described(name: str) -> dict[str, Any]:
    """The name and the description of a command or an option."""
    return {"name": localized(f"asking-{name}-name"), "description": localized(f"asking-{name}-description")}


def _optional(name: str, **limits: Any) -> Any:
    return commands.Param(None, **described(name), **limits)


IMAGE = _optional("image")

LINK = _optional("link", max_length=1000)

PRIVATE = _optional("private")

QUERY: Any = commands.Param(**described("query"), max_length=300)

CHANNEL = _optional("channel", channel_types=PLACES)

AUTHOR = _optional("author")

AFTER = _optional("after", max_length=20)

BEFORE = _optional("before", max_length=20)


class Asking(commands.Cog):
    """The commands that ask with a picture."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.slash_command(**described("find"), **IN_GUILDS)
    async def find(
        self,
        interaction: ApplicationCommandInteraction[Any],
        image: disnake.Attachment | None = IMAGE,
        link: str | None = LINK,
        private: bool | None = PRIVATE,
    ) -> None:
        with interacting(interaction):
            occasion = occasion_of(interaction, self._services, private=private)
            if (image is None) == (link is None):
                raise refused(occasion, "asking-image-or-link")
            if image is not None:
                await self._ask(occasion, [self._attached(occasion, image)])
                return
            target = self._target(occasion, link or "")
            if isinstance(target, PictureLink):
                await self._ask(occasion, [Picture(target.filename, target.file)])
                return
            with admitted(occasion, self._services):
                await interaction.response.defer(ephemeral=occasion.private)
                await ask_about(occasion, self._services, _shown(occasion, await self._linked(occasion, target)))

    @commands.message_command(name=localized("asking-menu-name"), **IN_GUILDS)
    async def find_this_map(self, interaction: MessageCommandInteraction[Any]) -> None:
        with interacting(interaction):
            occasion = occasion_of(interaction, self._services)
            await self._ask(occasion, _shown(occasion, interaction.target))

    async def _ask(self, occasion: Occasion, pictures: list[Picture]) -> None:
        with admitted(occasion, self._services):
            await occasion.interaction.response.defer(ephemeral=occasion.private)
            await ask_about(occasion, self._services, pictures)

    def _attached(self, occasion: Occasion, image: disnake.Attachment) -> Picture:
        if not is_image(image):
            raise refused(occasion, "asking-not-an-image")
        return picture_of(image)

    def _target(self, occasion: Occasion, link: str) -> MessageLink | PictureLink:
        try:
            return parse_link(link, self._services.cdn_origins)
        except NotAskable as problem:
            raise refused(occasion, str(problem)) from None

    async def _linked(self, occasion: Occasion, link: MessageLink) -> disnake.Message:
        """The message behind a link. What the asker may not read is not told from what is not there. Raises MapSeekError."""
        try:
            channel = await self._channel(occasion, link)
            if isinstance(channel, disnake.abc.Messageable) and await may_read(
                channel, occasion.asker, occasion.interaction.channel
            ):
                return await channel.fetch_message(link.message_id)
        except (disnake.NotFound, disnake.Forbidden, disnake.InvalidData):
            pass
        except (disnake.HTTPException, aiohttp.ClientError, TimeoutError, OSError):
            raise refused(occasion, "asking-link-later") from None
        raise refused(occasion, "asking-link-missing")

    async def _channel(self, occasion: Occasion, link: MessageLink) -> Any:
        """The channel or thread of a link; archived threads are not known to the client, so they are asked for."""
        if link.guild_id != occasion.guild.id:
            return None
        known = occasion.guild.get_channel_or_thread(link.channel_id)
        return known or await occasion.guild.fetch_channel(link.channel_id)


def _shown(occasion: Occasion, message: disnake.Message) -> list[Picture]:
    pictures = pictures_of(message)
    if not pictures:
        raise refused(occasion, "asking-message-without-picture")
    return pictures


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
