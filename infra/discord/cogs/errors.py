"""Errors in a command or at a button: each is logged with a reference and reported to the asker in one sentence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import disnake
import structlog
from disnake import interactions
from disnake.ext import commands

from contracts.errors import MapSeekError, Unavailable
from infra.discord.answers.webhook import INVALID_WEBHOOK_TOKEN, own_webhook_adapter
from infra.discord.services import Services
from infra.discord.wording import localize

log = structlog.get_logger()

UNKNOWN_INTERACTION = 10062
ALREADY_ACKNOWLEDGED = 40060
PERMISSION_TEXTS = {"manage_guild": "failures-manage-guild", "manage_messages": "failures-manage-messages"}

AnyInteraction = interactions.Interaction[Any]


class CommandErrors(commands.Cog):
    """Handles the errors of every command. For a button, `report_errors` around its listener does the same."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_slash_command_error(self, interaction: AnyInteraction, error: Exception) -> None:
        await report_error(interaction, error)

    @commands.Cog.listener()
    async def on_message_command_error(self, interaction: AnyInteraction, error: Exception) -> None:
        await report_error(interaction, error)

    @commands.Cog.listener()
    async def on_user_command_error(self, interaction: AnyInteraction, error: Exception) -> None:
        await report_error(interaction, error)


def interaction_reference(interaction: AnyInteraction) -> str:
    """Return the correlation id by which everything that an interaction caused is found in the logs."""
    return f"interaction-{interaction.id}"


@asynccontextmanager
async def report_errors(interaction: AnyInteraction) -> AsyncIterator[None]:
    """Log and report an error inside, and go on. For listeners of buttons, for which disnake has no error handler."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - every error is logged with its traceback and reported to the asker
        await report_error(interaction, error)


async def report_error(interaction: AnyInteraction, error: BaseException) -> None:
    """Log an error and tell the asker one sentence, whether or not they were answered already. Raises no error of Discord.

    Nobody can be told if the answer came too late: Discord takes no other one.
    """
    cause = error.original if isinstance(error, commands.CommandInvokeError) else error
    reference = interaction_reference(interaction)
    if is_too_late(cause):
        _log_late_answer(cause, reference)
        return
    _log(cause, reference)
    try:
        with own_webhook_adapter():
            await _reply(interaction, format_error(cause, str(interaction.locale), reference))
    except (disnake.HTTPException, disnake.InteractionException, aiohttp.ClientError, TimeoutError, OSError) as reply_error:
        if is_too_late(reply_error):
            _log_late_answer(reply_error, reference)
        else:
            log.warning("error_reply_failed", correlation_id=reference, error=str(reply_error))


def is_too_late(cause: BaseException) -> bool:
    """Whether Discord no longer takes an answer to the interaction. For the first one, disnake has an error of its own."""
    if isinstance(cause, disnake.HTTPException):
        return cause.code in (UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED, INVALID_WEBHOOK_TOKEN)
    return isinstance(cause, disnake.InteractionTimedOut)


def format_error(cause: BaseException, locale: str, reference: str) -> str:
    """Return the sentence for the asker."""
    match cause:
        case MapSeekError():
            return str(cause)
        case Unavailable():
            return localize(locale, "failures-unavailable", reference=reference)
        case commands.NoPrivateMessage():
            return localize(locale, "failures-only-in-servers")
        case commands.MissingPermissions(missing_permissions=missing):
            return localize(locale, "failures-you-lack", permissions=_format_permissions(missing, locale))
        case commands.BotMissingPermissions(missing_permissions=missing):
            return localize(locale, "failures-bot-lacks", permissions=_format_permissions(missing, locale))
        case commands.CheckFailure():
            return localize(locale, "failures-not-allowed")
        case commands.UserInputError():
            return localize(locale, "failures-input", reference=reference)
        case disnake.Forbidden():
            return localize(locale, "failures-discord-refused", reference=reference)
        case _:
            return localize(locale, "failures-broken", reference=reference)


def _log_late_answer(error: BaseException, reference: str) -> None:
    # disnake's own sentence is several lines of advice; what Discord said is its cause.
    log.warning("interaction_answered_too_late", correlation_id=reference, error=str(error.__cause__ or error))


def _log(cause: BaseException, reference: str) -> None:
    if isinstance(cause, MapSeekError | commands.CheckFailure | commands.UserInputError):
        log.info("interaction_refused", correlation_id=reference, reason=str(cause))
    elif isinstance(cause, Unavailable):
        log.warning("interaction_log_unreachable", correlation_id=reference, error=str(cause))
    else:
        log.error("interaction_failed", correlation_id=reference, exc_info=cause)


async def _reply(interaction: AnyInteraction, sentence: str) -> None:
    """Replace the "thinking" that the asker sees, or send a message that only they see."""
    nobody = disnake.AllowedMentions.none()
    if not interaction.response.is_done():
        await interaction.response.send_message(sentence, ephemeral=True, allowed_mentions=nobody)
    elif interaction.response.type is disnake.InteractionResponseType.deferred_channel_message:
        await interaction.edit_original_response(sentence, embeds=[], components=[], allowed_mentions=nobody)
    else:
        await interaction.followup.send(sentence, ephemeral=True, allowed_mentions=nobody)


def _format_permissions(missing: list[str], locale: str) -> str:
    return ", ".join(
        localize(locale, PERMISSION_TEXTS[each]) if each in PERMISSION_TEXTS else each.replace("_", " ") for each in missing
    )
