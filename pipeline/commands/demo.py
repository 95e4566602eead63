"""`mapseek demo`: play the script, print the table, write the report."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from pipeline.clock import utc_now
from pipeline.console.status import as_table, cells
from pipeline.demo.play import Asked, Progress, ask_all, everything_running, post_all
from pipeline.demo.report import html
from pipeline.demo.script import PIECES, questions
from pipeline.monitoring.status import status
from pipeline.registry import STAGES


async def run_demo(report: Path, out: Console) -> int:
    """Play the demo. 0 only if every posted image reached the catalogue and every question was answered."""
    began = monotonic()
    out.print("Starting nats-server, a simulated Discord, the gateway and every stage (the model takes a few seconds) ...")
    with tempfile.TemporaryDirectory(prefix="mapseek-demo-") as folder:
        async with everything_running(Path(folder)) as (scenery, process):
            with _bars(out) as bars:
                midway = asyncio.create_task(status(process.wiring.client, STAGES, sample_s=0.5))
                links, archived = await post_all(scenery, process, _progress(bars))
                asked = await ask_all(scenery, links, questions(), _progress(bars))
            out.print("[bold]mapseek status[/], while it worked:", as_table(await midway, utc_now()))
            final = await status(process.wiring.client, STAGES)
            out.print("[bold]mapseek status[/], afterwards:", as_table(final, utc_now()))
            trained = (await process.wiring.encoder()).encoder.trained
    out.print(_table(asked))
    path = _write(report, html(archived, asked, cells(final, utc_now()), trained))
    right, answered = sum(each.right for each in asked), sum(each.answer is not None for each in asked)
    out.print(f"{archived} of {PIECES} posted pieces are archived; {answered} of {len(asked)} questions answered, {right} rightly.")
    if not trained:
        out.print("[yellow]The model is untrained[/]: it knows pictures that are nearly the same, and little else.")
    out.print(f"Report: {path} ({monotonic() - began:.0f} s)", soft_wrap=True, highlight=False)
    return 0 if archived == PIECES and answered == len(asked) else 1


def _bars(out: Console) -> Bars:
    return Bars(TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out)


def _progress(bars: Bars) -> Progress:
    tasks: dict[str, TaskID] = {}

    def progress(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done)

    return progress


def _table(asked: Sequence[Asked]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="20 questions, asked with /find", title_justify="left")
    for heading in ("question", "verdict", "the link answered", "right"):
        table.add_column(heading, overflow="fold")
    table.add_column("ms", justify="right")
    for each in asked:
        right = "[green]yes[/]" if each.right else "[red]no[/]"
        link = f".../{each.link.rpartition('/')[2]}" if each.link else "-"
        table.add_row(each.question.words, each.verdict, link, right, f"{each.milliseconds:.0f}")
    return table


def _write(folder: Path, page: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path.absolute()
