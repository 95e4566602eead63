"""`/archive status`: one embed, with lists that are cut rather than refused."""

from collections.abc import Iterable, Sequence

import disnake

from contracts.ports import Overview
from contracts.state import Backfill
from infra.discord.archiving.history import NO_MESSAGES, may_read
from infra.discord.archiving.intake import WITH_MESSAGES
from infra.discord.archiving.progress import bar, progress_of
from infra.discord.archiving.watching import watches
from infra.discord.services import Services
from infra.discord.wording import say

MOST_LINES = 12
LONGEST_FIELD = 1024


async def overview_of(services: Services, guild: disnake.Guild, backfills: Sequence[Backfill], locale: str) -> disnake.Embed:
    """The state of a guild's archive now. Raises Unavailable."""
    overview = await services.ports.overseeing.overview(str(guild.id))
    watched = [channel for channel in guild.channels if isinstance(channel, (*WITH_MESSAGES, *NO_MESSAGES))]
    watched = [each for each in watched if not isinstance(each, disnake.CategoryChannel) and watches(services, each)]
    marks = services.marks.of_guild(str(guild.id))
    seen = [
        say(locale, "archive-status-seen", channel=f"<#{each.id}>", when=_relative(int(marks[str(each.id)].message_id)))
        for each in watched
        if str(each.id) in marks and may_read(each)
    ]
    tried = [guild.get_channel_or_thread(int(channel)) for home, channel in services.marks.unreadable if home == str(guild.id)]
    unreadable = {str(each.id) for each in (*watched, *tried) if each is not None and not may_read(each)}
    embed = disnake.Embed(title=say(locale, "archive-status-title"), description="\n".join(_summary(overview, locale)))
    fields = {
        "archive-status-stages": _stages(overview, locale),
        "archive-status-backfills": [_line(each) for each in backfills],
        "archive-status-unreadable": [f"<#{each}>" for each in sorted(unreadable)],
        "archive-status-channels": seen,
    }
    for name, lines in fields.items():
        if lines:
            embed.add_field(say(locale, name), clipped(lines, locale), inline=False)
    return embed


def clipped(lines: Sequence[str], locale: str) -> str:
    """As many lines as an embed's field takes, and how many more there are."""
    shown = list(lines[:MOST_LINES])
    while True:
        more = len(lines) - len(shown)
        text = "\n".join((*shown, *([say(locale, "archive-status-more", count=more)] if more else [])))
        if len(text) <= LONGEST_FIELD or not shown:
            return text
        shown.pop()


def _summary(overview: Overview, locale: str) -> Iterable[str]:
    yield say(locale, "archive-status-images", count=overview.images)
    yield say(locale, "archive-status-stored", megabytes=round(overview.stored_bytes / 1e6, 1))
    failures = sum(lag.failures for lag in overview.lags)
    yield say(locale, "archive-status-failures", count=failures)


def _stages(overview: Overview, locale: str) -> list[str]:
    return [
        say(locale, "archive-status-lag", stage=lag.stage, lane=lag.lane, pending=lag.pending, failures=lag.failures)
        for lag in sorted(overview.lags, key=lambda lag: (-lag.pending, -lag.failures))
        if lag.pending or lag.failures
    ] or [say(locale, "archive-status-idle")]


def _line(backfill: Backfill) -> str:
    fraction = progress_of(backfill).fraction
    state = say(backfill.locale, f"archive-state-{backfill.state}")
    return f"<#{backfill.channel_id}> {bar(fraction, 10)} {fraction:.0%} ({state})"


def _relative(message_id: int) -> str:
    return disnake.utils.format_dt(disnake.utils.snowflake_time(message_id), "R")
