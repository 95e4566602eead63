"""`python -m tests.quality`: measure how well pictures are found, through the real pipeline.

`make bench-quality` makes the committed report.
"""

import asyncio
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from contracts.errors import MapSeekError
from infra.sandbox.training.pool import list_held_out_photographs
from infra.vision.regions import find_regions
from pipeline.logging import configure_logging
from pipeline.settings import Settings
from tests.quality import baselines, costs, localising, sheets
from tests.quality.categories import BY_NAME
from tests.quality.making import Plan, Query, compute_digests, make_gallery, make_queries
from tests.quality.pieces import Pieces
from tests.quality.report import Results, render_report
from tests.quality.running import RunResult, run_benchmark
from tests.quality.scoring import Outcome

HERE = Path(__file__).parents[2]
SHARED_ART = HERE.parent / "shared" / "art"
OURS = "MapSeek"
WIDTH = 160
"""The tables need this many columns, even without a terminal."""


def main(
    pieces: Annotated[int, typer.Option(min=20, help="Pieces in the archive.")] = 2000,
    queries: Annotated[int, typer.Option(min=10, help="Queries, a share of them in each category.")] = 1750,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    only: Annotated[str, typer.Option(help=f"Categories, separated by commas: {', '.join(BY_NAME)}.")] = "",
    out: Annotated[Path, typer.Option(help="Where files and data are stored. What is there already is not made again.")] = HERE
    / "bench-quality",
    report: Annotated[Path | None, typer.Option(help="Where the report is written. Default: beside the data.")] = None,
    art: Annotated[
        Path,
        typer.Option(help="A folder of photographs to use in addition to procedural art, if it exists."),
    ] = SHARED_ART,
    model: Annotated[str, typer.Option(help="A model to use instead of the default one.")] = "",
    pretrained: Annotated[str, typer.Option(help="The weights of this model.")] = "",
    one_core: Annotated[bool, typer.Option(help="Search on one core, so that figures can be compared.")] = True,
    fresh: Annotated[bool, typer.Option(help="Archive again, with the current code.")] = False,
    places: Annotated[bool, typer.Option(help="Measure only how often regions are found.")] = False,
) -> None:
    """Make the gallery and the queries, search, and write the report."""
    configure_logging("auto", "error")
    try:
        plan = Plan(pieces, queries, seed, _list_photos(art), _parse_categories(only))
        _run(plan, out, report, {"model": model, "pretrained": pretrained}, one_core=one_core, fresh=fresh, places_alone=places)
    except MapSeekError as error:
        Console(stderr=True).print(str(error), style="red", highlight=False)
        raise typer.Exit(1) from None


def _parse_categories(only: str) -> tuple[str, ...]:
    chosen = tuple(only.replace(",", " ").split()) or tuple(BY_NAME)
    if unknown := [name for name in chosen if name not in BY_NAME]:
        raise MapSeekError(f"There is no category {unknown[0]!r}: choose from {', '.join(BY_NAME)}.")
    return chosen


def _list_photos(folder: Path) -> tuple[str, ...]:
    """Return the photographs that the default model was not trained on."""
    return tuple(map(str, list_held_out_photographs(folder))) if folder.is_dir() else ()


def _run(
    plan: Plan, out: Path, report: Path | None, chosen: Mapping[str, str], *, one_core: bool, fresh: bool, places_alone: bool
) -> None:
    of_gallery, of_questions = compute_digests(plan)
    made = out / of_gallery
    console = Console()
    with _show_progress() as report_progress:
        gallery = [] if places_alone else make_gallery(plan, made / "gallery", report_progress)
        queries = make_queries(plan, made / f"questions-{of_questions}", report_progress)
        places = localising.measure_recall(queries, find_regions)
        if places_alone:
            console.print({name: f"{six}/{whole} among 6, {first} first" for name, (first, six, whole) in places.items()})
            return
        settings = _make_settings(made / f"data-{chosen['model'] or 'default'}".replace("/", "-"), chosen, fresh=fresh)
        result = asyncio.run(
            run_benchmark(settings, gallery, [Path(query.file) for query in queries], report_progress, one_core=one_core)
        )
        report_progress("comparing with others", 0, 1)
        ways = _collect_ways(queries, gallery, result)
        report_progress("comparing with others", 1, 1)
    folder = report or made / "report"
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(
        plan=plan,
        command=_command_line(),
        machine=f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        encoder=result.encoder,
        queries=queries,
        ways=ways,
        stages=costs.measure_stages(result.run_log),
        bytes_an_image=costs.measure_bytes(settings.data_dir, result.run_log, plan.pieces),
        seconds={
            "archive": result.archived_in_s,
            "ask": result.searched_in_s,
            "cores": 1 if one_core else len(os.sched_getaffinity(0)),
        },
        sheets=_save_sheets(plan, queries, ways[OURS], result, gallery, folder),
        places=places,
    )
    text = render_report(results)
    (folder / "README.md").write_text(text)
    answers = [{**asdict(query), "answer": asdict(answer)} for query, answer in zip(queries, result.answers, strict=True)]
    (made / "answers.json").write_bytes(orjson.dumps(answers, default=sorted))
    Console(width=max(WIDTH, console.width)).print(Markdown(text))
    console.print(f"The report is in {folder}.")


def _make_settings(folder: Path, chosen: Mapping[str, str], *, fresh: bool) -> Settings:
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    named = {name: value for name, value in chosen.items() if value}
    return Settings(**{"data_dir": folder, "http_port": 0, "nats_url": None, "_env_file": None, **named})  # type: ignore[arg-type]


def _collect_ways(queries: list[Query], gallery: list[Path], result: RunResult) -> dict[str, list[Outcome]]:
    ours = [
        Outcome(query.expected, list(zip(answer.pieces, answer.scores, strict=True)), answer.verdict)
        for query, answer in zip(queries, result.answers, strict=True)
    ]
    return {
        OURS: ours,
        "PDQ alone": baselines.rank_by_descriptor(baselines.describe_by_pdq, gallery, queries),
        "embedding alone": baselines.rank_by_cosine(queries, result.run_log.query_vectors, result.run_log.archived_vectors),
        "simple descriptor": baselines.rank_by_descriptor(baselines.describe_simply, gallery, queries),
    }


def _save_sheets(
    plan: Plan, queries: list[Query], ours: list[Outcome], result: RunResult, gallery: list[Path], folder: Path
) -> dict[str, str]:
    pieces = Pieces(plan.seed, [Path(photo) for photo in plan.photos])
    sheets.save_sheet(sheets.draw_examples(queries), folder / "questions.webp")
    missed = sheets.draw_misses(queries, ours, result.answers, gallery, lambda number: pieces.family(number) != "photo")
    named = {"The questions": "questions.webp"}
    if missed is not None:
        sheets.save_sheet(missed, folder / "misses.webp")
        named["Misses: what was asked, the right piece, the first answer"] = "misses.webp"
    return named


def _command_line() -> str:
    return shlex.join(["python", "-m", "tests.quality", *sys.argv[1:]])


@contextmanager
def _show_progress():  # type: ignore[no-untyped-def]
    """Show one progress line for each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, int] = {}

        def report_progress(title: str, done: int, of: int) -> None:
            if title not in tasks:
                tasks[title] = progress.add_task(title, total=of)
            progress.update(tasks[title], completed=done)

        yield report_progress


if __name__ == "__main__":
    typer.run(main)
