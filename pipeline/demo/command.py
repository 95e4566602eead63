"""`mapseek demo`: play the script, print the results, and write the report."""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from contracts.text import escape_controls
from infra.nats.connection import Client
from pipeline.cli.app import build_progress_reporter
from pipeline.cli.paths import refuse_unwritable, write_report
from pipeline.clock import utc_now
from pipeline.demo.message_html import Reader
from pipeline.demo.play import AskedQuery, ask_queries, open_simulated_discord, post_pieces, run_everything
from pipeline.demo.report import render_demo_report
from pipeline.demo.scenes import DemoScene, SceneContext, change_while_away, play_scenes, play_scenes_after_restart
from pipeline.demo.script import PIECE_COUNT, list_demo_queries
from pipeline.demo.takeover import take_over
from pipeline.engine.registry import STAGES
from pipeline.monitoring.status import read_status
from pipeline.process import open_log_server
from pipeline.serve.command import build_status_cells, render_status


async def run_demo(report: Path, out: Console) -> int:
    """Play the demo. Return 0 only if every post is in the catalogue, every search was answered and every scene went right."""
    refuse_unwritable(report)
    began = monotonic()
    out.print("Starting nats-server, a simulated Discord, the gateway and every stage (the model takes a few seconds) ...")
    with tempfile.TemporaryDirectory(prefix="mapseek-demo-") as folder:
        async with open_simulated_discord(Path(folder)) as (scenery, settings), open_log_server(settings) as address:
            with _open_bars(out) as bars:
                async with run_everything(scenery, settings, address) as process:
                    midway = asyncio.create_task(_read_status_table(process.container.client))
                    links, archived = await post_pieces(scenery, process, build_progress_reporter(bars))
                    asked = await ask_queries(scenery, links, list_demo_queries(), build_progress_reporter(bars))
                    trained = (await process.container.encoder()).encoder.trained
                    stage = SceneContext(scenery, process, links)
                    scenes = [scene async for scene in play_scenes(stage, trained)]
                last = await change_while_away(stage)
                async with run_everything(scenery, settings, address) as process:
                    stage = replace(stage, process=process)
                    scenes += [scene async for scene in play_scenes_after_restart(stage, last)]
                    taken_over = [scene async for scene in take_over(stage, settings, asked, report.absolute() / "comparison")]
                    final = await read_status(process.container.client, STAGES)
            out.print("[bold]mapseek status[/], during the searches:", await midway)
            out.print("[bold]mapseek status[/], afterwards:", render_status(final, utc_now()))
    out.print(_build_searches_table(asked))
    acts = {"Other features": scenes, "A new model takes over": taken_over}
    for heading, act in acts.items():
        out.print(_build_scenes_table(heading, act))
    reader = Reader(scenery.channel_names, "en", utc_now())
    path = write_report(report, render_demo_report(archived, asked, acts, build_status_cells(final, utc_now()), reader, trained))
    played = [scene for act in acts.values() for scene in act]
    right, answered = sum(each.right for each in asked), sum(each.answer is not None for each in asked)
    out.print(
        f"{archived} of {PIECE_COUNT} posted pieces are archived; {answered} of {len(asked)} searches answered, {right} rightly."
    )
    out.print(f"{sum(scene.right for scene in played)} of {len(played)} scenes went right.")
    if not trained:
        out.print("[yellow]The model is untrained[/]: it only recognises pictures that are nearly the same.")
    out.print(escape_controls(f"Report: {path} ({monotonic() - began:.0f} s)"), soft_wrap=True, markup=False, highlight=False)
    complete = archived == PIECE_COUNT and answered == len(asked) and all(scene.right for scene in played)
    return 0 if complete else 1


async def _read_status_table(client: Client) -> Table:
    """Return a status table of now. It is printed later, and its ages stay those of now."""
    return render_status(await read_status(client, STAGES, sample_s=0.5), utc_now())


def _open_bars(out: Console) -> Bars:
    return Bars(TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out)


def _build_searches_table(asked: Sequence[AskedQuery]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=f"{len(asked)} searches with /find", title_justify="left")
    for heading in ("query", "verdict", "link in the answer", "right"):
        table.add_column(heading, overflow="fold")
    table.add_column("ms", justify="right")
    for each in asked:
        right = "[green]yes[/]" if each.right else "[red]no[/]"
        link = f".../{each.link.rpartition('/')[2]}" if each.link else "-"
        table.add_row(each.query.words, each.verdict, link, right, f"{each.milliseconds:.0f}")
    return table


def _build_scenes_table(heading: str, scenes: Sequence[DemoScene]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=heading, title_justify="left")
    for column in ("scene", "what was done", "right"):
        table.add_column(column, overflow="fold")
    for scene in scenes:
        table.add_row(scene.title, scene.did, "[green]yes[/]" if scene.right else "[red]no[/]")
    return table
