"""`mapseek compare`: show two generations side by side, on the terminal and in a report."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from contracts.errors import MapSeekError, Unavailable
from contracts.text import escape_controls
from pipeline.cli.app import build_progress_reporter
from pipeline.cli.open import open_log_client
from pipeline.cli.paths import refuse_unwritable, write_report
from pipeline.compare.queries import check_query_folder, gather_queries, open_compared_archive
from pipeline.compare.report import VERDICT_LABELS, render_compare_report
from pipeline.compare.run import GenerationComparison, check_vectors, run_comparison
from pipeline.compare.score import Change, build_table_rows
from pipeline.engine.topology import read_generations_if_any
from pipeline.generations.lifecycle import find_alive_generation
from pipeline.settings import Settings, ensure_data_folder

MAX_LISTED_CHANGES = 20
"""The most changes that are printed. The report has all of them."""


async def compare_generations(
    settings: Settings, first: str, second: str, queries: Path | None, sample: int | None, report: Path, out: Console, err: Console
) -> int:
    """Run the same queries in both generations, print the numbers and the changes, and write the report."""
    if first == second:
        raise MapSeekError(f"{first} cannot be compared with itself: name two generations, see `mapseek generations`.")
    refuse_unwritable(report)
    if queries is not None:
        await asyncio.to_thread(check_query_folder, queries)
    try:
        comparison = await _compare(settings, first, second, queries, sample, err)
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: start it or correct its setting.") from None
    table = build_table_rows(comparison.queries, comparison.first, comparison.second)
    out.print(_build_table(table))
    if comparison.note:
        out.print(escape_controls(comparison.note), style="yellow", markup=False, highlight=False)
    if comparison.changes:
        out.print(_build_changes_table(comparison))
    page = render_compare_report(
        comparison.names, table, len(comparison.queries), comparison.changes, comparison.pictures, comparison.note
    )
    out.print(escape_controls(f"Report: {write_report(report, page)}"), soft_wrap=True, markup=False, highlight=False)
    return 0


async def _compare(
    settings: Settings, first: str, second: str, queries: Path | None, sample: int | None, err: Console
) -> GenerationComparison:
    async with open_log_client(settings, "mapseek-compare") as client:
        generations = await read_generations_if_any(client)
        pair = find_alive_generation(generations, first), find_alive_generation(generations, second)
        async with open_compared_archive(client, settings, ensure_data_folder(settings)) as archive:
            check_vectors(archive, pair)
            gathered = await gather_queries(archive, queries, sample, settings.max_pixels)
            columns = (TextColumn("searching {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Bars(*columns, console=err) as bars:
                return await run_comparison(archive, pair, gathered, settings, build_progress_reporter(bars))


def _build_table(table: Sequence[Sequence[str]]) -> Table:
    head, *body = table
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in head:
        shown.add_column(escape(heading), overflow="fold")
    for row in body:
        shown.add_row(*map(escape, row))
    return shown


def _build_changes_table(comparison: GenerationComparison) -> Table:
    changes, (first, second) = comparison.changes, comparison.names
    more = f", the first {MAX_LISTED_CHANGES} of them" if len(changes) > MAX_LISTED_CHANGES else ""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, title=f"{len(changes)} queries answered differently{more}", title_justify="left")
    for heading in ("query", first, second, ""):
        shown.add_column(heading, overflow="fold")
    for change in changes[:MAX_LISTED_CHANGES]:
        shown.add_row(Text(escape_controls(change.query.name)), *_format_verdicts(change), _format_gain(change))
    return shown


def _format_verdicts(change: Change) -> list[str]:
    marks = {True: "right", False: "wrong", None: "not judged"}
    answers = zip((change.before, change.after), change.right, strict=True)
    return [f"{VERDICT_LABELS[answer.verdict]}, {marks[right]}" for answer, right in answers]


def _format_gain(change: Change) -> str:
    if change.gain == 0:
        return ""
    return "[green]better[/]" if change.gain > 0 else "[red]worse[/]"
