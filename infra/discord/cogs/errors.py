"""What goes wrong in a command or at a button: logged with a reference, and told to the one who asked in one sentence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import disnake
import structlog
from disnake import interactions
from disnake.ext import commands

from contracts.errors import MapSeekError, Unavailable
from infra.discord.answers.webhook import forgetful
from infra.discord.services import Services
from infra.discord.wording import say

log = structlog.get_logger()

UNKNOWN_INTERACTION = 10062
ALREADY_ACKNOWLEDGED = 40060
INVALID_TOKEN = 50027
PERMISSIONS = {"manage_guild": "failures-manage-guild", "manage_messages": "failures-manage-messages"}

Interaction = interactions.Interaction[Any]


class Failures(commands.Cog):
    """Handles the errors of every command; those of a button by `telling_failures` around its listener."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_slash_command_error(self, interaction: Interaction, error: Exception) -> None:
        await tell_failure(interaction, error)

    @commands.Cog.listener()
    async def on_message_command_error(self, interaction: Interaction, error: Exception) -> None:
        await tell_failure(interaction, error)

    @commands.Cog.listener()
    async def on_user_command_error(self, interaction: Interaction, error: Exception) -> None:
        await tell_failure(interaction, error)


def reference_of(interaction: Interaction) -> str:
    """By which everything that an interaction caused is found in the logs."""
    return f"interaction-{interaction.id}"


@asynccontextmanager
async def telling_failures(interaction: Interaction) -> AsyncIterator[None]:
    """What fails inside is logged and told, and goes no further: for listeners of buttons, which disnake has no handler for."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the asker is told, and it is logged with its traceback
        await tell_failure(interaction, error)


async def tell_failure(interaction: Interaction, error: BaseException) -> None:
    """Log a failure and say one sentence to the asker, whether or not they were answered already. Raises nothing of Discord's."""
    cause = error.original if isinstance(error, commands.CommandInvokeError) else error
    reference = reference_of(interaction)
    _log(cause, reference)
    try:
        with forgetful():
            await _say(interaction, worded(cause, str(interaction.locale), reference))
    except (disnake.HTTPException, disnake.InteractionResponded, aiohttp.ClientError, TimeoutError, OSError) as unsaid:
        log.warning("the asker could not be told of a failure", correlation_id=reference, error=str(unsaid))


def worded(cause: BaseException, locale: str, reference: str) -> str:
    """The sentence for the asker."""
    match cause:
        case MapSeekError():
            return str(cause)
        case Unavailable():
            return say(locale, "failures-unavailable", reference=reference)
        case commands.NoPrivateMessage():
            return say(locale, "failures-only-in-servers")
        case commands.MissingPermissions(missing_permissions=missing):
            return say(locale, "failures-you-lack", permissions=_permissions(missing, locale))
        case commands.BotMissingPermissions(missing_permissions=missing):
            return say(locale, "failures-bot-lacks", permissions=_permissions(missing, locale))
        case commands.CheckFailure():
            return say(locale, "failures-not-allowed")
        case commands.UserInputError():
            return say(locale, "failures-input", reference=reference)
        case disnake.Forbidden():
            return say(locale, "failures-discord-refused", reference=reference)
        case _:
            return say(locale, "failures-broken", reference=reference)


def _log(cause: BaseException, reference: str) -> None:
    if isinstance(cause, MapSeekError | commands.CheckFailure | commands.UserInputError):
        log.info("refused", correlation_id=reference, reason=str(cause))
    elif isinstance(cause, Unavailable):
        log.warning("not done: the log is unreachable", correlation_id=reference, error=str(cause))
    elif isinstance(cause, disnake.HTTPException) and cause.code in (UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED, INVALID_TOKEN):
        log.warning("Discord took no answer: it came too late", correlation_id=reference, error=str(cause))
    else:
        log.error("an interaction failed", correlation_id=reference, exc_info=cause)


async def _say(interaction: Interaction, sentence: str) -> None:
    """In place of the "thinking" that the asker sees, otherwise in a message that they alone see."""
    nobody = disnake.AllowedMentions.none()
    if not interaction.response.is_done():
        await interaction.response.send_message(sentence, ephemeral=True, allowed_mentions=nobody)
    elif interaction.response.type is disnake.InteractionResponseType.deferred_channel_message:
        await interaction.edit_original_response(sentence, embeds=[], components=[], allowed_mentions=nobody)
    else:
        await interaction.followup.send(sentence, ephemeral=True, allowed_mentions=nobody)


def _permissions(missing: list[str], locale: str) -> str:
    return ", ".join(say(locale, PERMISSIONS[each]) if each in PERMISSIONS else each.replace("_", " ") for each in missing)
