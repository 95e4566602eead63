"""An audit's report as the owner of an archive reads it, and as JSON."""

from dataclasses import asdict

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline.audit.gaps import Gap, unique
from pipeline.audit.report import Report


def as_json(report: Report) -> str:
    """One object: whether the archive is clean, each step, each gap with all that it is about, and the notes."""
    gaps = [{"count": len(gap.found), **asdict(gap)} for gap in report.gaps]
    steps = [asdict(step) for step in report.steps]
    shown = {"clean": report.clean, "generation": report.generation, "steps": steps, "gaps": gaps, "notes": report.notes}
    return orjson.dumps(shown).decode()


def show(report: Report, out: Console) -> None:
    """The chain as a table, then each gap with an example and the commands that close it."""
    out.print(_chain(report))
    for note in report.notes:
        out.print(f"Note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    moving = sum(step.on_the_way for step in report.steps)
    if moving:
        out.print("What is on the way is being worked on, or waits for a process that does; it is no gap.", highlight=False)
    if report.clean:
        out.print("Clean: everything is where it should be.", style="green", highlight=False)
        return
    number = len(report.gaps)
    out.print(f"{number} kind{'s' if number > 1 else ''} of gap. Run what is below each, then audit again.", highlight=False)
    for gap in report.gaps:
        _show_gap(gap, out)


def _chain(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("step", no_wrap=True)
    for heading in ("there", "on the way", "gaps"):
        table.add_column(heading, justify="right")
    for step in report.steps:
        wrong = f"[red]{step.wrong}[/]" if step.wrong else "-"
        table.add_row(step.name, str(step.there), str(step.on_the_way or "-"), wrong)
    return table


def _show_gap(gap: Gap, out: Console) -> None:
    count = len(gap.found)
    out.print()
    out.print(
        f"{count} {gap.of}{'s' if count != 1 else ''} {gap.what}", style="bold", markup=False, highlight=False, soft_wrap=True
    )
    out.print(f"  for example {gap.found[0]}" if count > 1 else f"  {gap.found[0]}", style="dim", markup=False, highlight=False)
    for command in unique(gap.commands):
        out.print(f"    {command}", markup=False, highlight=False, soft_wrap=True)
