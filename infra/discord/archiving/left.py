"""Guilds that the bot was removed from while it was away: their archive is erased as if it had heard of it."""

import aiohttp
import disnake
import structlog
from disnake.ext import commands

from contracts.errors import Unavailable
from contracts.subjects import BACKFILLS
from infra.discord.services import Services

log = structlog.get_logger()

FAULTS = (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError, Unavailable)


class Left(commands.Cog):
    """Dispatches `guild_gone`, an event of our own, with every guild that marks or back-fills tell of and the bot is not in.

    Discord is asked for each by itself, since what is erased does not come back. That the token is that of this archive's bot was
    looked at before.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Every guild is known, those with an outage too."""
        try:
            filled = await self._services.ports.state.under(BACKFILLS)
            guilds = self._services.marks.guilds() | {key.split(".")[1] for key in filled}
            for guild_id in sorted(guilds):
                if self._bot.get_guild(int(guild_id)) is None and await self._is_left(int(guild_id)):
                    log.warning("the bot was removed from a guild meanwhile: its archive is erased", guild=guild_id)
                    self._bot.dispatch("guild_gone", guild_id)
        except FAULTS as error:
            log.warning("not looked for guilds that were left: the next session does", error=str(error))

    async def _is_left(self, guild_id: int) -> bool:
        try:
            await self._bot.fetch_guild(guild_id)
        except (disnake.NotFound, disnake.Forbidden):
            return True
        return False
