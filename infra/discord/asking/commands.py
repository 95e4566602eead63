"""`/find` and the right click on a message: acknowledged at once and then recorded; the answers come from elsewhere."""

from typing import Any

import aiohttp
import disnake
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageCommandInteraction

from infra.discord.ask.audience import may_read
from infra.discord.ask.parse import MessageLink, NotAskable, Picture, PictureLink, parse_link, picture_of, pictures_of
from infra.discord.ask.question import Occasion, admitted, ask_about, interacting, occasion_of, refused
from infra.discord.asking.options import IMAGE, IN_GUILDS, LINK, PRIVATE, described
from infra.discord.services import Services
from infra.discord.translate import is_image
from infra.discord.wording import localized


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
