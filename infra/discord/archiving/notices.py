"""The message that shows how a back-fill goes: the command's own answer while its token works, then a message of the bot."""

from datetime import timedelta
from typing import Any, cast

import aiohttp
import disnake
import structlog
from disnake.ext import commands
from disnake.webhook import Webhook

from contracts.state import Backfill, amend
from contracts.subjects import backfill_key
from infra.discord.answers.webhook import forgetful
from infra.discord.archiving.views import moved_view, silent_view, view_of
from infra.discord.services import Services

log = structlog.get_logger()

ORIGINAL = cast(int, "@original")
HANDED_OVER = timedelta(minutes=1)
"""How long before the token's end the fresh message takes over."""

FAULTS = (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError, disnake.InvalidData)
NOBODY = disnake.AllowedMentions.none()


class Notices:
    """A back-fill goes on whether or not its progress can be shown; what cannot be shown is said in `/archive status`."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._silent: set[str] = set()

    async def show(self, guild_id: str, backfill: Backfill) -> None:
        """Show the present state. Raises Unavailable."""
        now = self._services.ports.now()
        try:
            if backfill.notice is not None:
                await self._edit(backfill)
            elif backfill.token is not None and backfill.token_until is not None and now < backfill.token_until - HANDED_OVER:
                await self._answer(backfill, view_of(backfill))
            elif backfill.channel_id not in self._silent:
                await self._hand_over(guild_id, backfill)
        except FAULTS as error:
            log.info("progress of a back-fill not shown", channel=backfill.channel_id, error=str(error))

    async def _hand_over(self, guild_id: str, backfill: Backfill) -> None:
        message = await self._fresh(backfill)
        if message is None:
            self._silent.add(backfill.channel_id)
        else:
            notice = (str(message.channel.id), str(message.id))

            def noted(stored: Backfill | None) -> Backfill:
                return (stored or backfill).model_copy(update={"notice": notice, "token": None})

            await amend(self._services.ports.state, backfill_key(guild_id, backfill.channel_id), Backfill, noted)
        if backfill.token is not None and backfill.token_until is not None and self._services.ports.now() < backfill.token_until:
            await self._answer(backfill, silent_view(backfill) if message is None else moved_view(backfill, message.jump_url))

    async def _fresh(self, backfill: Backfill) -> disnake.Message | None:
        """A message of the bot in the channel where the command was used; None where the bot may not write."""
        if backfill.asked_in is None:
            return None
        try:
            channel: Any = self._bot.get_channel(int(backfill.asked_in)) or await self._bot.fetch_channel(int(backfill.asked_in))
            return cast(disnake.Message, await channel.send(**view_of(backfill), allowed_mentions=NOBODY))
        except (disnake.Forbidden, disnake.NotFound, disnake.InvalidData, AttributeError) as error:
            log.info("a back-fill goes on in silence", channel=backfill.channel_id, error=str(error))
            return None

    async def _edit(self, backfill: Backfill) -> None:
        channel_id, message_id = backfill.notice or ("0", "0")
        channel = self._bot.get_partial_messageable(
            int(channel_id), type=disnake.ChannelType.text
        )  # any type with messages will do
        await channel.get_partial_message(int(message_id)).edit(**view_of(backfill), allowed_mentions=NOBODY)

    async def _answer(self, backfill: Backfill, view: dict[str, Any]) -> None:
        data: Any = {"id": backfill.application_id, "type": 3, "token": backfill.token}
        with forgetful():
            await Webhook.from_state(data, state=self._bot._connection).edit_message(ORIGINAL, **view, allowed_mentions=NOBODY)
