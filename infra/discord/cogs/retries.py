"""Reads messages again whose dead letters somebody put back (`mapseek failures retry`)."""

import asyncio
from typing import Any

import aiohttp
import disnake
import structlog
from disnake.ext import commands

from contracts.errors import Retry
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, Intake
from infra.discord.services import Services

log = structlog.get_logger()


class UnreadableRetries(commands.Cog):
    """Asks Discord for the message as it is now. What still cannot be read is kept again, with its round raised."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._intake = Intake(bot, services)
        self._following: asyncio.Task[None] | None = None

    def cog_unload(self) -> None:
        """Stop because the client closes."""
        if self._following is not None:
            self._following.cancel()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Begin, once the client knows its guilds. A later session changes nothing."""
        if self._following is None:
            following = self._services.ports.unreadable_messages.follow_retries(self.read_again)
            self._following = asyncio.create_task(following, name="message-retries")

    async def read_again(self, guild_id: str, channel_id: str, message_id: str) -> None:
        """Record what a message shows now. Return when that is recorded, or kept again. Raises Retry if Discord does not tell."""
        guild, read_at = self._bot.get_guild(int(guild_id)), self._services.recent_changes.clock()
        try:
            payload: Any = await self._bot.http.get_message(int(channel_id), int(message_id))
            known = guild.get_channel_or_thread(int(channel_id)) if guild is not None else None
            channel = known or await self._bot.fetch_channel(int(channel_id))
        except disnake.NotFound:
            log.info("message_retry_gone", channel_id=channel_id, message_id=message_id)
            return
        except (disnake.HTTPException, disnake.InvalidData, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retry(f"Discord did not return a message: {error}") from error
        if isinstance(channel, TYPES_WITH_MESSAGES):
            self._intake.update(channel, payload, read_at)
            await self._services.recorder.wait_recorded()
