"""Questions: `/find` is acknowledged at once and then recorded; the answer comes from elsewhere."""

from typing import Any

import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction

from contracts.envelope import Origin
from contracts.errors import MapSeekError, Unavailable
from contracts.ports import Journal
from infra.discord.translate import is_image, search_of
from infra.discord.webhooks import forgetful

log = structlog.get_logger()

NOT_AN_IMAGE = "That file is not an image. Attach a PNG, JPEG, WebP, GIF or BMP picture."
UNAVAILABLE = "MapSeek cannot take questions at the moment. Please try again in a few minutes."
BROKEN = "Something went wrong on our side. Please try again."


class Asking(commands.Cog):
    """The slash commands that ask."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @commands.slash_command(
        name="find",
        contexts=disnake.InteractionContextTypes(guild=True),
        install_types=disnake.ApplicationInstallTypes(guild=True),
    )
    async def find(self, interaction: ApplicationCommandInteraction[Any], image: disnake.Attachment) -> None:
        """Find where a piece of map art was first posted.

        Parameters
        ----------
        image: A picture of the map art, a screenshot will do.
        """
        correlation_id = f"interaction-{interaction.id}"
        with forgetful(), structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
            if not is_image(image):
                await interaction.response.send_message(NOT_AN_IMAGE, ephemeral=True)
                return
            await interaction.response.defer(ephemeral=True)
            await self._journal.record(search_of(interaction, image), Origin(correlation_id=correlation_id))
            log.info("search requested", guild=interaction.guild_id)

    async def cog_slash_command_error(self, interaction: ApplicationCommandInteraction[Any], error: Exception) -> None:
        """Say one sentence rather than leave the asker waiting."""
        cause = error.original if isinstance(error, commands.CommandInvokeError) else error
        log.warning("search not recorded", interaction=interaction.id, exc_info=cause)
        if interaction.response.is_done():
            with forgetful():
                await interaction.edit_original_response(_sentence(cause), allowed_mentions=disnake.AllowedMentions.none())


def _sentence(cause: BaseException) -> str:
    match cause:
        case MapSeekError():
            return str(cause)
        case Unavailable():
            return UNAVAILABLE
        case _:
            return BROKEN
