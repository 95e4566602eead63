"""`mapseek audit`, `mapseek sweep` and `mapseek sync`, and an audit's report as a table and as JSON."""

from dataclasses import asdict

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from contracts.errors import MapSeekError, format_count
from contracts.text import escape_controls
from infra.blobs.files import open_blob_store
from infra.discord.rest.compare import record_difference
from infra.nats.reader import LogPosts
from pipeline.audit.audit import AuditReport, Sources, audit
from pipeline.audit.blobs import find_orphans
from pipeline.audit.chain import Scope, read_posted_images
from pipeline.audit.checks import FEATURE_INDEX, VECTOR_INDEX
from pipeline.audit.discord import compare_discord, find_guild_of_channel
from pipeline.audit.gaps import Gap, unique
from pipeline.cli.app import print_json
from pipeline.cli.open import open_archive
from pipeline.clock import utc_now
from pipeline.container import QUERY_PICTURE_AGE_S, find_old_query_pictures
from pipeline.engine.unreadable import UnreadableLetters
from pipeline.settings import Settings, require_token
from stages.erase import BLOB_GRACE

NO_LOGIN_NOTE = "Discord was not audited: DISCORD_TOKEN is not set."
NO_DISCORD_NOTE = "Discord was not audited because of --no-discord."


def report_to_json(report: AuditReport) -> str:
    """Return one JSON object: whether the archive is clean, each step, each gap with all its ids, and the notes."""
    gaps = [{"count": len(gap.found), **asdict(gap)} for gap in report.gaps]
    steps = [asdict(step) for step in report.steps]
    shown = {"clean": report.clean, "generation": report.generation, "steps": steps, "gaps": gaps, "notes": report.notes}
    return orjson.dumps(shown).decode()


def print_report(report: AuditReport, out: Console) -> None:
    """Print the steps as a table, then each gap with an example and the commands that close it."""
    out.print(_build_table(report))
    for note in report.notes:
        out.print(escape_controls(f"Note: {note}"), style="yellow", markup=False, highlight=False, soft_wrap=True)
    moving = sum(step.on_the_way for step in report.steps)
    if moving:
        out.print("Images on the way are not gaps: a process works on them, or they wait for one.", highlight=False)
    if report.clean:
        out.print("Clean: everything is where it should be.", style="green", highlight=False)
        return
    number = len(report.gaps)
    kinds = f"{number} kind{'s' if number > 1 else ''} of gap"
    out.print(f"{kinds}. Run the commands under each gap, then audit again.", highlight=False)
    for gap in report.gaps:
        _print_gap(gap, out)


def _build_table(report: AuditReport) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("step", no_wrap=True)
    for heading in ("found", "on the way", "gaps"):
        table.add_column(heading, justify="right")
    for step in report.steps:
        wrong = f"[red]{step.wrong}[/]" if step.wrong else "-"
        table.add_row(step.name, str(step.there), str(step.on_the_way or "-"), wrong)
    return table


def _print_gap(gap: Gap, out: Console) -> None:
    count = len(gap.found)
    out.print()
    out.print(
        f"{count} {gap.of}{'s' if count != 1 else ''} {gap.what}", style="bold", markup=False, highlight=False, soft_wrap=True
    )
    example = escape_controls(gap.found[0])
    out.print(f"  for example {example}" if count > 1 else f"  {example}", style="dim", markup=False, highlight=False)
    for command in unique(gap.commands):
        out.print(f"    {escape_controls(command)}", markup=False, highlight=False, soft_wrap=True)


async def show_audit(
    settings: Settings, *, guild: str | None, use_discord: bool, whole: bool, json: bool, out: Console, err: Console
) -> int:
    """Audit the archive and print the report. Return 1 if there is a gap."""
    async with open_archive(settings) as look:
        with err.status("auditing ...") as status:
            sources = Sources(
                Scope(look.client, look.generation, guild),
                look.catalogue,
                look.blobs,
                BLOB_GRACE.total_seconds(),
                look.state,
                settings.channels,
                look.rest if use_discord else None,
                {FEATURE_INDEX: look.folder / "features"}
                | ({} if settings.vectors == "atlas" else {VECTOR_INDEX: look.folder / "vectors"}),
                whole,
                lambda what: status.update(f"auditing {what} ..."),
            )
            report = await audit(sources)
    if look.rest is None or not use_discord:
        report.notes.append(NO_LOGIN_NOTE if use_discord else NO_DISCORD_NOTE)
    if json:
        print_json(report_to_json(report), out)
    else:
        print_report(report, out)
    return 0 if report.clean else 1


async def sweep_blobs(settings: Settings, *, dry_run: bool, out: Console) -> int:
    """Delete the blobs that no image needs, and the pictures of searches that the log has dropped."""
    grace_s = BLOB_GRACE.total_seconds()
    async with open_archive(settings) as look:
        queries = open_blob_store(look.folder / "questions")
        unused = await find_orphans(look.client, look.blobs, look.catalogue, grace_s)
        old = await find_old_query_pictures(look.client, queries, QUERY_PICTURE_AGE_S)
        for store, names in ((look.blobs, unused), (queries, old)):
            for name in () if dry_run else names:
                if await store.seconds_since_put(name) > grace_s:  # Checked again: somebody may have put it since.
                    await store.delete(name)
    for name in unused if dry_run else ():
        out.print(escape_controls(name), markup=False, highlight=False)
    would = "Would be deleted" if dry_run else "Deleted"
    out.print(
        f"{would}: {format_count(len(unused), 'unneeded blob')} and {format_count(len(old), 'picture')} of old searches.",
        highlight=False,
    )
    return 0


async def sync_channel(settings: Settings, channel: str, out: Console, err: Console) -> int:
    """Record posts that only Discord has, and request the removal of images that only the log has."""
    require_token(settings)
    async with open_archive(settings) as look:
        new = gone = requested_before = unread = 0
        if look.rest is None:
            raise MapSeekError("DISCORD_TOKEN is not set: set it to the bot's token.")
        with err.status(escape_markup(escape_controls(f"reading channel {channel} ..."))):
            posted = await read_posted_images(look.client)
            guild = await find_guild_of_channel(look.rest, posted, channel)
            posts, unreadable = LogPosts(look.client), UnreadableLetters(look.client, look.journal, lambda: None)
            found = compare_discord(look.rest, look.state, settings.channels, posts, posted, utc_now, guild=guild, channel=channel)
            async for difference in found:
                if difference.unreadable:
                    raise MapSeekError(f"The bot may not read channel {channel}: grant it Read Message History there.")
                recorded, removed = await record_difference(difference, look.journal, posts, unreadable, utc_now)
                unread += len(difference.unread)
                new, gone = new + recorded, gone + removed
                requested_before += len(difference.gone) - removed
    out.print(
        f"Channel {escape_controls(channel)}: {format_count(new, 'image')} recorded, "
        f"{format_count(gone, 'image')} hidden or removed.",
        markup=False,
        highlight=False,
    )
    if unread:
        out.print(f"{format_count(unread, 'message')} cannot be read: see `mapseek failures list --stage record`.", highlight=False)
    if requested_before:
        out.print(
            f"Removal of {format_count(requested_before, 'image')} was requested before: see `mapseek audit`.",
            highlight=False,
        )
    return 0
