"""The commands that search: `/find`, the message command, and `/find-text`.

Each is acknowledged at once and then recorded. Other processes send the answers.
"""

from typing import Any, cast

import aiohttp
import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageCommandInteraction

from contracts.events import Filters, SearchDescribed
from infra.discord.ask.audience import asker_may_read
from infra.discord.ask.parse import (
    MessageLink,
    PictureLink,
    QueryPicture,
    TextQuery,
    UnusableLink,
    parse_date,
    parse_link,
    parse_text_query,
    picture_from_attachment,
    picture_from_link,
    pictures_from_message,
)
from infra.discord.ask.query import (
    InteractionContext,
    build_context,
    interaction_scope,
    request_searches,
    reserve_search,
    user_error,
)
from infra.discord.pictures import DiscordPayload, PostedMessage, UnreadableMessage, may_be_picture, read_message
from infra.discord.services import Services
from infra.discord.translate import query_from_interaction
from infra.discord.wording import localize_all

log = structlog.get_logger()

GUILD_ONLY: dict[str, Any] = {
    "contexts": disnake.InteractionContextTypes(guild=True),
    "install_types": disnake.ApplicationInstallTypes(guild=True),
}
"""Offers a command in guilds only."""

FILTER_CHANNEL_TYPES = [
    disnake.ChannelType.text,
    disnake.ChannelType.news,
    disnake.ChannelType.voice,
    disnake.ChannelType.stage_voice,
    disnake.ChannelType.forum,
    disnake.ChannelType.media,
    disnake.ChannelType.category,
]


def name_and_description(name: str) -> dict[str, Any]:
    """Return the name and the description of a command or an option in every language, as keyword arguments."""
    return {"name": localize_all(f"asking-{name}-name"), "description": localize_all(f"asking-{name}-description")}


def _optional(name: str, **limits: Any) -> Any:
    return commands.Param(None, **name_and_description(name), **limits)


IMAGE_OPTION = _optional("image")

LINK_OPTION = _optional("link", max_length=1000)

PRIVATE_OPTION = _optional("private")

QUERY_OPTION: Any = commands.Param(**name_and_description("query"), max_length=300)

CHANNEL_OPTION = _optional("channel", channel_types=FILTER_CHANNEL_TYPES)

AUTHOR_OPTION = _optional("author")

AFTER_OPTION = _optional("after", max_length=20)

BEFORE_OPTION = _optional("before", max_length=20)


class FindCommands(commands.Cog):
    """The commands that search with a picture."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.slash_command(**name_and_description("find"), **GUILD_ONLY)
    async def find(
        self,
        interaction: ApplicationCommandInteraction[Any],
        image: disnake.Attachment | None = IMAGE_OPTION,
        link: str | None = LINK_OPTION,
        private: bool | None = PRIVATE_OPTION,
    ) -> None:
        with interaction_scope(interaction):
            context = build_context(interaction, self._services, private=private)
            if (image is None) == (link is None):
                raise user_error(context, "asking-image-or-link")
            if image is not None:
                await self._ask(context, [self._read_attachment(context, image)])
                return
            target = self._parse_target(context, link or "")
            if isinstance(target, PictureLink):
                await self._ask(context, [picture_from_link(target)])
                return
            await self._ask_about(context, target)

    @commands.message_command(name=localize_all("asking-menu-name"), **GUILD_ONLY)
    async def find_this_map(self, interaction: MessageCommandInteraction[Any]) -> None:
        with interaction_scope(interaction):
            context = build_context(interaction, self._services)
            target = interaction.data["resolved"]["messages"][str(interaction.data.target_id)]
            message = _read_message(context, target)
            if message.stands_for is None:
                await self._ask(context, _list_pictures(context, int(target["channel_id"]), message))
            else:
                await self._ask_about(context, MessageLink(context.guild.id, *message.stands_for))

    async def _ask_about(self, context: InteractionContext, link: MessageLink) -> None:
        """Search for the pictures of a message that must be fetched first."""
        with reserve_search(context, self._services):
            await context.interaction.response.defer(ephemeral=context.private)
            message = _read_message(context, await self._fetch_linked(context, link))
            if message.stands_for is not None:
                link = MessageLink(link.guild_id, *message.stands_for)
                message = _read_message(context, await self._fetch_linked(context, link))
            await request_searches(context, self._services, _list_pictures(context, link.channel_id, message))

    async def _ask(self, context: InteractionContext, pictures: list[QueryPicture]) -> None:
        with reserve_search(context, self._services):
            await context.interaction.response.defer(ephemeral=context.private)
            await request_searches(context, self._services, pictures)

    def _read_attachment(self, context: InteractionContext, image: disnake.Attachment) -> QueryPicture:
        if not may_be_picture(image.filename, image.content_type, image.width, image.height):
            raise user_error(context, "asking-not-an-image")
        return picture_from_attachment(image)

    def _parse_target(self, context: InteractionContext, link: str) -> MessageLink | PictureLink:
        try:
            return parse_link(link, self._services.cdn_origins)
        except UnusableLink as problem:
            raise user_error(context, str(problem)) from None

    async def _fetch_linked(self, context: InteractionContext, link: MessageLink) -> DiscordPayload:
        """Return the payload of the message of a link. Raises MapSeekError.

        A message that the asker may not read gives the same answer as one that does not exist.
        """
        try:
            channel = await self._fetch_channel(context, link)
            if isinstance(channel, disnake.abc.Messageable) and await asker_may_read(
                channel, context.asker, context.interaction.channel
            ):
                payload: Any = await self._bot.http.get_message(link.channel_id, link.message_id)
                return cast(DiscordPayload, payload)
        except (disnake.NotFound, disnake.Forbidden, disnake.InvalidData):
            pass
        except (disnake.HTTPException, aiohttp.ClientError, TimeoutError, OSError):
            raise user_error(context, "asking-link-later") from None
        raise user_error(context, "asking-link-missing")

    async def _fetch_channel(self, context: InteractionContext, link: MessageLink) -> Any:
        """Return the channel or thread of a link. The client does not hold archived threads, so they are fetched."""
        if link.guild_id != context.guild.id:
            return None
        known = context.guild.get_channel_or_thread(link.channel_id)
        return known or await context.guild.fetch_channel(link.channel_id)


def _read_message(context: InteractionContext, payload: DiscordPayload) -> PostedMessage:
    try:
        return read_message(payload)
    except UnreadableMessage as error:
        log.warning("message_unreadable", channel_id=context.interaction.channel_id, error=str(error))
        raise user_error(context, "asking-message-unreadable") from error


def _list_pictures(context: InteractionContext, channel_id: int, message: PostedMessage) -> list[QueryPicture]:
    pictures = pictures_from_message(channel_id, message.id, message.pictures)
    if not pictures:
        raise user_error(context, "asking-message-without-picture")
    return pictures


class FindTextCommand(commands.Cog):
    """The command that searches with words."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.slash_command(**name_and_description("text"), **GUILD_ONLY)
    async def find_text(
        self,
        interaction: ApplicationCommandInteraction[Any],
        query: str = QUERY_OPTION,
        channel: disnake.abc.GuildChannel | None = CHANNEL_OPTION,
        author: disnake.User | None = AUTHOR_OPTION,
        after: str | None = AFTER_OPTION,
        before: str | None = BEFORE_OPTION,
        private: bool | None = PRIVATE_OPTION,
    ) -> None:
        with interaction_scope(interaction):
            context = build_context(interaction, self._services, private=private)
            words, filters = _parse_words(context, query), _build_filters(context, author, after, before)
            with reserve_search(context, self._services):
                await interaction.response.defer(ephemeral=context.private)
                await self._record(context, words, filters, channel)

    async def _record(self, context: InteractionContext, words: TextQuery, filters: Filters | None, channel: Any) -> None:
        interaction = context.interaction
        channels = await context.list_channels()
        if channel is not None:
            channels = tuple(each for each in channels if each in expand_category(context.guild, channel.id))
            if not channels:
                raise user_error(context, "asking-channel-unreadable", channel=f"<#{channel.id}>")
        fact = SearchDescribed(
            guild_id=str(context.guild.id),
            search_id=str(interaction.id),
            question=query_from_interaction(interaction, channels, locale=context.locale, private=context.private, filters=filters),
            words=words.wanted,
            excluded=words.excluded,
        )
        await self._services.ports.journal.record(fact, context.origin)
        log.info("search_requested", guild_id=fact.guild_id, search_id=fact.search_id)


def expand_category(guild: disnake.Guild, channel_id: int) -> frozenset[str]:
    """Return the ids of a channel and, for a category, of its channels."""
    channel = guild.get_channel(channel_id)
    inside = channel.channels if isinstance(channel, disnake.CategoryChannel) else []
    return frozenset({str(channel_id), *(str(each.id) for each in inside)})


def _parse_words(context: InteractionContext, query: str) -> TextQuery:
    words = parse_text_query(query)
    if not words.wanted:
        raise user_error(context, "asking-no-words")
    return words


def _build_filters(
    context: InteractionContext, author: disnake.User | None, after: str | None, before: str | None
) -> Filters | None:
    if author is None and after is None and before is None:
        return None
    dates = [None if date is None else parse_date(date) for date in (after, before)]
    for typed, moment in zip((after, before), dates, strict=True):
        if typed is not None and moment is None:
            raise user_error(context, "asking-no-date", typed=disnake.utils.escape_markdown(typed))
    since, until = dates
    if since is not None and until is not None and since >= until:
        raise user_error(context, "asking-dates-crossed")
    return Filters(author_id=None if author is None else str(author.id), after=since, before=until)
