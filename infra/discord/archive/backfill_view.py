"""Renders back-fills and `/archive status`, and shows the progress of a back-fill on Discord.

Lists that are too long for Discord are shortened.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import aiohttp
import disnake
import structlog
from disnake.ext import commands
from disnake.webhook import Webhook

from contracts.ports import Overview
from contracts.state import Backfill, update_document
from contracts.subjects import backfill_key
from infra.discord.answers.buttons import BACKFILL, build_custom_id
from infra.discord.answers.webhook import ORIGINAL_RESPONSE, own_webhook_adapter
from infra.discord.archive.history import TYPES_WITHOUT_MESSAGES, bot_may_read
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, is_watched_channel
from infra.discord.services import Services
from infra.discord.wording import localize

log = structlog.get_logger()

BAR_CELLS = 20

STATE_COLOURS = {"running": 0x4C7FFF, "paused": 0xE5E533, "cancelled": 0x707070, "finished": 0x7FB238}
STATE_ACTIONS: dict[str, tuple[str, ...]] = {"running": ("pause", "cancel"), "paused": ("resume", "cancel")}
BUTTON_STYLES = {"cancel": disnake.ButtonStyle.danger, "resume": disnake.ButtonStyle.success}

HANDOVER_MARGIN = timedelta(minutes=1)
"""How long before the token expires a message of the bot replaces the command's answer."""

SHOW_ERRORS = (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError, disnake.InvalidData)
NO_MENTIONS = disnake.AllowedMentions.none()

MAX_FIELD_LINES = 12
MAX_FIELD_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """How far a back-fill is.

    `fraction` is from 0 to 1, `per_second` counts messages, and `left_s` is None while it cannot be estimated.
    """

    fraction: float
    per_second: float
    left_s: float | None


def estimate_progress(backfill: Backfill) -> BackfillProgress:
    """Estimate the progress by the time span that is read. Every channel and thread counts the same.

    A message id is a snowflake, whose upper bits are its time.
    """
    if backfill.done >= len(backfill.sources):
        return BackfillProgress(1.0, _messages_per_second(backfill), 0.0)
    fraction = (backfill.done + _source_fraction(backfill)) / len(backfill.sources)
    left = backfill.worked_s * (1 - fraction) / fraction if fraction > 0 and backfill.worked_s > 0 else None
    return BackfillProgress(fraction, _messages_per_second(backfill), left)


def render_cells(fraction: float, cells: int = BAR_CELLS) -> str:
    """Render a bar of so many cells. It is full only at the end."""
    full = cells if fraction >= 1 else min(cells - 1, int(fraction * cells))
    return "▰" * full + "▱" * (cells - full)


def format_percent(locale: str, fraction: float) -> str:
    """Return a fraction as whole per cent, as the reader's language writes it."""
    return localize(locale, "archive-percent", percent=round(fraction * 100))


def _source_fraction(backfill: Backfill) -> float:
    """Return the fraction of the current source that is read. A source newer than the start begins at its creation."""
    begin = max(int(backfill.since), int(backfill.sources[backfill.done]))
    span, read = int(backfill.until) - begin, int(backfill.position) - begin
    return min(1.0, max(0.0, read / span)) if span > 0 else 0.0


def _messages_per_second(backfill: Backfill) -> float:
    return backfill.messages / backfill.worked_s if backfill.worked_s > 0 else 0.0


def render_backfill(backfill: Backfill) -> dict[str, Any]:
    """Render the embed and the buttons of a back-fill, as arguments of a message's edit."""
    locale, progress = backfill.locale, estimate_progress(backfill)
    lines = [
        localize(locale, f"archive-backfill-{backfill.state}", channel=f"<#{backfill.channel_id}>"),
        f"{render_cells(progress.fraction)} {format_percent(locale, progress.fraction)}",
        localize(locale, "archive-backfill-counts", messages=backfill.messages, images=backfill.images),
    ]
    if backfill.state == "running":
        lines.append(_pace_line(backfill))
    if backfill.unreadable:
        names = " ".join(f"<#{each}>" for each in backfill.unreadable[:10])
        lines.append(localize(locale, "archive-backfill-unreadable", count=len(backfill.unreadable), channels=names))
    return {"embed": _embed(backfill, "\n".join(lines)), "components": _buttons(backfill)}


def render_moved_backfill(backfill: Backfill, link: str) -> dict[str, Any]:
    """Render what remains of the command's answer after a message of the bot has replaced it."""
    return {"embed": _embed(backfill, localize(backfill.locale, "archive-backfill-moved", link=link)), "components": []}


def render_silent_backfill(backfill: Backfill) -> dict[str, Any]:
    """Render the last state of a command's answer that no message can replace."""
    return {"embed": _embed(backfill, localize(backfill.locale, "archive-backfill-silent")), "components": []}


def format_time_span(locale: str, seconds: float) -> str:
    """Format a time span in the largest unit of which it has at least two."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return localize(locale, "archive-duration", unit=unit, count=round(seconds / size))
    return localize(locale, "archive-duration", unit="seconds", count=max(1, round(seconds)))


def _pace_line(backfill: Backfill) -> str:
    progress = estimate_progress(backfill)
    if progress.left_s is None:
        return localize(backfill.locale, "archive-backfill-beginning")
    left = format_time_span(backfill.locale, progress.left_s)
    return localize(backfill.locale, "archive-backfill-pace", rate=round(progress.per_second), left=left)


def _embed(backfill: Backfill, text: str) -> disnake.Embed:
    title = localize(backfill.locale, "archive-backfill-title")
    return disnake.Embed(title=title, description=text, colour=disnake.Colour(STATE_COLOURS[backfill.state]))


def _buttons(backfill: Backfill) -> list[disnake.ui.Button[None]]:
    return [
        disnake.ui.Button(
            label=localize(backfill.locale, f"archive-button-{action}"),
            style=BUTTON_STYLES.get(action, disnake.ButtonStyle.secondary),
            custom_id=build_custom_id(BACKFILL, action, backfill.channel_id),
        )
        for action in STATE_ACTIONS.get(backfill.state, ())
    ]


class BackfillMessages:
    """Shows the progress of back-fills: in the command's own answer while its token is valid, then in a message of the bot.

    A back-fill continues whether or not its progress can be shown; `/archive status` always shows it.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._silent: set[str] = set()

    async def show(self, guild_id: str, backfill: Backfill) -> None:
        """Show the present state of a back-fill. Raises Unavailable."""
        now = self._services.ports.now()
        try:
            if backfill.notice is not None:
                await self._edit_message(backfill)
            elif backfill.token is not None and backfill.token_until is not None and now < backfill.token_until - HANDOVER_MARGIN:
                await self._edit_answer(backfill, render_backfill(backfill))
            elif backfill.channel_id not in self._silent:
                await self._hand_over(guild_id, backfill)
        except SHOW_ERRORS as error:
            log.info("backfill_progress_not_shown", channel_id=backfill.channel_id, error=str(error))

    async def _hand_over(self, guild_id: str, backfill: Backfill) -> None:
        message = await self._send_fresh(backfill)
        if message is None:
            self._silent.add(backfill.channel_id)
        else:
            notice = (str(message.channel.id), str(message.id))

            def add_notice(stored: Backfill | None) -> Backfill:
                return (stored or backfill).model_copy(update={"notice": notice, "token": None})

            await update_document(self._services.ports.state, backfill_key(guild_id, backfill.channel_id), Backfill, add_notice)
        if backfill.token is not None and backfill.token_until is not None and self._services.ports.now() < backfill.token_until:
            await self._edit_answer(
                backfill, render_silent_backfill(backfill) if message is None else render_moved_backfill(backfill, message.jump_url)
            )

    async def _send_fresh(self, backfill: Backfill) -> disnake.Message | None:
        """Send a message of the bot in the channel where the command was used; return None if the bot may not write there."""
        if backfill.asked_in is None:
            return None
        try:
            channel: Any = self._bot.get_channel(int(backfill.asked_in)) or await self._bot.fetch_channel(int(backfill.asked_in))
            return cast(disnake.Message, await channel.send(**render_backfill(backfill), allowed_mentions=NO_MENTIONS))
        except (disnake.Forbidden, disnake.NotFound, disnake.InvalidData, AttributeError) as error:
            log.info("backfill_message_refused", channel_id=backfill.channel_id, error=str(error))
            return None

    async def _edit_message(self, backfill: Backfill) -> None:
        channel_id, message_id = backfill.notice or ("0", "0")
        channel = self._bot.get_partial_messageable(
            int(channel_id), type=disnake.ChannelType.text
        )  # any channel type with messages works
        await channel.get_partial_message(int(message_id)).edit(**render_backfill(backfill), allowed_mentions=NO_MENTIONS)

    async def _edit_answer(self, backfill: Backfill, view: dict[str, Any]) -> None:
        data: Any = {"id": backfill.application_id, "type": 3, "token": backfill.token}
        with own_webhook_adapter():
            await Webhook.from_state(data, state=self._bot._connection).edit_message(
                ORIGINAL_RESPONSE, **view, allowed_mentions=NO_MENTIONS
            )


async def render_archive_status(
    services: Services, guild: disnake.Guild, backfills: Sequence[Backfill], locale: str
) -> disnake.Embed:
    """Render the present state of a guild's archive. Raises Unavailable."""
    overview = await services.ports.overviews.read_overview(str(guild.id))
    watched = [channel for channel in guild.channels if isinstance(channel, (*TYPES_WITH_MESSAGES, *TYPES_WITHOUT_MESSAGES))]
    watched = [each for each in watched if not isinstance(each, disnake.CategoryChannel) and is_watched_channel(services, each)]
    marks = services.marks.of_guild(str(guild.id))
    seen = [
        localize(locale, "archive-status-seen", channel=f"<#{each.id}>", when=_relative(int(marks[str(each.id)].message_id)))
        for each in watched
        if str(each.id) in marks and bot_may_read(each)
    ]
    tried = [guild.get_channel_or_thread(int(channel)) for home, channel in services.marks.unreadable if home == str(guild.id)]
    unreadable = {str(each.id) for each in (*watched, *tried) if each is not None and not bot_may_read(each)}
    embed = disnake.Embed(title=localize(locale, "archive-status-title"), description="\n".join(_summary_lines(overview, locale)))
    fields = {
        "archive-status-stages": _backlog_lines(overview, locale),
        "archive-status-backfills": [_backfill_line(each, locale) for each in backfills],
        "archive-status-unreadable": [f"<#{each}>" for each in sorted(unreadable)],
        "archive-status-channels": seen,
    }
    for name, lines in fields.items():
        if lines:
            embed.add_field(localize(locale, name), clip_lines(lines, locale), inline=False)
    return embed


def clip_lines(lines: Sequence[str], locale: str) -> str:
    """Join as many lines as an embed's field can hold, and say how many more there are."""
    shown = list(lines[:MAX_FIELD_LINES])
    while True:
        more = len(lines) - len(shown)
        text = "\n".join((*shown, *([localize(locale, "archive-status-more", count=more)] if more else [])))
        if len(text) <= MAX_FIELD_LENGTH or not shown:
            return text
        shown.pop()


def _summary_lines(overview: Overview, locale: str) -> Iterable[str]:
    yield localize(locale, "archive-status-images", count=overview.images)
    yield localize(locale, "archive-status-stored", megabytes=round(overview.stored_bytes / 1e6, 1))
    failures = sum(lag.failures for lag in overview.backlogs)
    yield localize(locale, "archive-status-failures", count=failures)
    if overview.unreadable:
        yield localize(locale, "archive-status-unread", count=overview.unreadable)


def _backlog_lines(overview: Overview, locale: str) -> list[str]:
    return [
        localize(locale, "archive-status-lag", stage=lag.stage, lane=lag.lane, pending=lag.pending, failures=lag.failures)
        for lag in sorted(overview.backlogs, key=lambda lag: (-lag.pending, -lag.failures))
        if lag.pending or lag.failures
    ] or [localize(locale, "archive-status-idle")]


def _backfill_line(backfill: Backfill, locale: str) -> str:
    fraction = estimate_progress(backfill).fraction
    state = localize(locale, f"archive-state-{backfill.state}")
    return f"<#{backfill.channel_id}> {render_cells(fraction, 10)} {format_percent(locale, fraction)} ({state})"


def _relative(message_id: int) -> str:
    return disnake.utils.format_dt(disnake.utils.snowflake_time(message_id), "R")
