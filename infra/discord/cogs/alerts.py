"""Alerts: the button under an answer without a match, `/alerts`, and the buttons that cancel an alert."""

import io
from collections.abc import Iterable
from typing import Any

import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageInteraction

from contracts.envelope import Origin
from contracts.events import AlertCancelled, AlertRequested, AlertSet, SearchMatched
from infra.discord.answers.buttons import ALERT, CANCEL_ALERT, build_custom_id, parse_custom_id
from infra.discord.answers.embeds import SPOILER_PREFIX
from infra.discord.ask.audience import is_age_restricted
from infra.discord.ask.query import build_context, button_scope, check_press_quota, interaction_scope, user_error
from infra.discord.cogs.errors import interaction_reference
from infra.discord.cogs.find import GUILD_ONLY, name_and_description
from infra.discord.services import GatewayPorts, Services
from infra.discord.translate import person_from_user
from infra.discord.wording import localize

log = structlog.get_logger()

MAX_ALERTS = 25
"""The most open alerts of one member in a guild."""
ALERTS_PER_MESSAGE = 10
"""Discord takes at most ten embeds, and ten files, in a message."""


class AlertCommands(commands.Cog):
    """Records the alerts that members set and cancel."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.slash_command(**name_and_description("alerts"), **GUILD_ONLY)
    async def alerts(self, interaction: ApplicationCommandInteraction[Any]) -> None:
        with interaction_scope(interaction):
            context = build_context(interaction, self._services, private=True)
            await interaction.response.defer(ephemeral=True)
            opened = await self._services.ports.alerts.list_open(str(context.guild.id), str(context.asker.id))
            opened = opened[:MAX_ALERTS]
            if not opened:
                await interaction.edit_original_response(localize(context.locale, "asking-alerts-none"))
                return
            numbered = list(enumerate(opened, start=1))
            heading = localize(context.locale, "asking-alerts-some", count=len(opened))
            page = await self._page(numbered[:ALERTS_PER_MESSAGE], context.locale)
            await interaction.edit_original_response(heading, **page)
            for start in range(ALERTS_PER_MESSAGE, len(numbered), ALERTS_PER_MESSAGE):
                page = await self._page(numbered[start : start + ALERTS_PER_MESSAGE], context.locale)
                await interaction.followup.send(**page, ephemeral=True)

    async def _page(self, numbered: Iterable[tuple[int, AlertSet]], locale: str) -> dict[str, Any]:
        """Return the arguments of a message that shows these alerts: an embed with a small picture and a button for each.

        A spoiler is beside the embeds, where Discord covers it.
        """
        embeds, files, buttons = [], [], []
        for number, alert in numbered:
            picture = await self._services.ports.alert_thumbnail(alert)
            filename = f"{SPOILER_PREFIX if alert.spoiler else ''}alert-{number}.webp"
            embeds.append(_alert_embed(number, alert, None if picture is None else filename, locale))
            if picture is not None:
                files.append(disnake.File(io.BytesIO(picture), filename, description=_picture_description(number, locale)))
            buttons.append(_cancel_button(alert.guild_id, alert.alert_id, localize(locale, "asking-alerts-cancel", number=number)))
        return {"embeds": embeds, "files": files, "components": buttons}

    @commands.Cog.listener()
    async def on_button_click(self, interaction: MessageInteraction[Any]) -> None:
        pressed = interaction.component.custom_id or ""
        async with button_scope(interaction):
            await self._handle_press(interaction, pressed)

    async def _handle_press(self, interaction: MessageInteraction[Any], pressed: str) -> None:
        if (asked := parse_custom_id(pressed, ALERT, 1)) is not None:
            await self._request(interaction, *asked)
        elif (cancelled := parse_custom_id(pressed, CANCEL_ALERT, 2)) is not None:
            await self._cancel(interaction, *cancelled)

    async def _request(self, interaction: MessageInteraction[Any], search_id: str) -> None:
        context = build_context(interaction, self._services, private=True)
        check_press_quota(context, self._services)
        await interaction.response.defer(with_message=True, ephemeral=True)
        guild_id, ports = str(context.guild.id), self._services.ports
        if not await ports.journal.holds(SearchMatched, guild_id, search_id):
            raise user_error(context, "answers-too-old")
        if len(await ports.alerts.list_open(guild_id, str(context.asker.id))) >= MAX_ALERTS:
            raise user_error(context, "asking-alerts-full", most=MAX_ALERTS)
        fact = AlertRequested(
            guild_id=guild_id,
            alert_id=await _alert_id(interaction, guild_id, search_id, ports),
            person=person_from_user(context.asker),
            search_id=search_id,
            channel_id=str(interaction.channel_id),
            locale=context.locale,
            age_restricted=is_age_restricted(context.guild.get_channel_or_thread(interaction.channel_id)),
            requested_at=disnake.utils.snowflake_time(interaction.id),
        )
        await ports.journal.record(fact, context.origin)
        log.info("alert_requested", guild_id=guild_id, search_id=search_id, alert_id=fact.alert_id)
        cancel = _cancel_button(guild_id, fact.alert_id, localize(context.locale, "asking-alert-cancel"))
        await interaction.edit_original_response(localize(context.locale, "asking-alert-noted"), components=cancel)

    async def _cancel(self, interaction: MessageInteraction[Any], guild_id: str, alert_id: str) -> None:
        """Cancel an alert, also from a direct message. The alert's key contains the presser, which proves that it is theirs."""
        await interaction.response.defer(with_message=True, ephemeral=True)
        locale, presser, journal = str(interaction.locale), person_from_user(interaction.author), self._services.ports.journal
        if not await journal.holds(AlertRequested, guild_id, alert_id, presser.id):
            await interaction.edit_original_response(localize(locale, "asking-alert-not-yours"))
            return
        fact = AlertCancelled(
            guild_id=guild_id, alert_id=alert_id, person=presser, cancelled_at=disnake.utils.snowflake_time(interaction.id)
        )
        await journal.record(fact, Origin(interaction_reference(interaction)))
        log.info("alert_cancelled", guild_id=guild_id, alert_id=alert_id)
        await interaction.edit_original_response(localize(locale, "asking-alert-cancelled"))


async def _alert_id(interaction: MessageInteraction[Any], guild_id: str, search_id: str, ports: GatewayPorts) -> str:
    """Return the id for an alert: the same for every press of a member on one search, and a new one after the first has ended."""
    key = (guild_id, search_id, str(interaction.author.id))
    if not await ports.journal.holds(AlertRequested, *key):
        return search_id
    opened = {alert.alert_id for alert in await ports.alerts.list_open(guild_id, key[2])}
    ended = search_id not in opened and await ports.journal.holds(AlertSet, *key)
    return str(interaction.id) if ended or await ports.journal.holds(AlertCancelled, *key) else search_id


def _alert_embed(number: int, alert: AlertSet, filename: str | None, locale: str) -> disnake.Embed:
    """Say when and where an alert was set, beside the attached picture; `filename` is None where the picture is gone."""
    since = disnake.utils.format_dt(alert.requested_at, "R")
    line = localize(locale, "asking-alerts-line", number=number, since=since, channel=f"<#{alert.channel_id}>")
    if filename is None:
        return disnake.Embed(description=f"{line}\n{localize(locale, 'asking-alerts-picture-gone')}")
    embed = disnake.Embed(description=line)
    return embed if alert.spoiler else embed.set_thumbnail(url=f"attachment://{filename}")


def _picture_description(number: int, locale: str) -> str:
    """Return the words for those who don't see the picture."""
    return localize(locale, "asking-alerts-picture", number=number)


def _cancel_button(guild_id: str, alert_id: str, label: str) -> disnake.ui.Button[Any]:
    return disnake.ui.Button(
        label=label, style=disnake.ButtonStyle.secondary, custom_id=build_custom_id(CANCEL_ALERT, guild_id, alert_id)
    )
