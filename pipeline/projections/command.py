"""`mapseek rebuild`: build a projection again from the log while the old one answers, or only compare it with the log."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from contracts.errors import MapSeekError, Unavailable, format_count
from contracts.text import escape_controls
from infra.nats.connection import Client
from infra.vectors.snapshot import MANIFEST
from pipeline.cli.open import open_container
from pipeline.container import Container
from pipeline.projections.index import IndexKind
from pipeline.projections.rebuild_catalogue import rebuild_catalogue
from pipeline.projections.rebuild_index import ask_processes, rebuild_snapshot
from pipeline.projections.snapshots import RebuildReport
from pipeline.projections.vectors import VECTOR_INDEX_KIND
from pipeline.settings import Settings

SNAPSHOT_LABEL = "snapshot"


async def rebuild_and_report_catalogue(settings: Settings, *, verify: bool, out: Console, err: Console) -> int:
    """Rebuild the catalogue, and print both digests and the differences. With `verify`, only compare; return 1 if it differs."""
    async with _open_container(settings) as container:
        catalogue = await container.catalogue()
        with _open_bars(err) as bars:
            task = bars.add_task("catalogue", total=None)
            result = await rebuild_catalogue(
                container.client,
                catalogue,
                verify=verify,
                progress=lambda done, total: bars.update(task, completed=done, total=total),
            )
    found = result.comparison
    if found.before == found.after:
        _print_lines(out, f"identical: {found.after} ({found.images} images)")
    else:
        _print_lines(out, f"before: {found.before}", f"{'log' if verify else 'after'}:    {found.after} ({found.images} images)")
        _print_lines(
            out, f"{format_count(found.different, 'image')} not as the log says{'' if verify else ', corrected'}:", *found.examples
        )
    if result.unsettled:
        facts = f"{format_count(result.unsettled, 'fact')} not settled: a process works on them, or was stopped while it did"
        _print_lines(out, f"{facts}. The catalogue may lack them until the persist stage handles them again.")
    if verify and found.before != found.after:
        _print_lines(out, "Run `mapseek rebuild catalogue` to make it agree with the log.")
    return 1 if verify and found.before != found.after else 0


async def rebuild_and_report_index(settings: Settings, *, verify: bool, out: Console, err: Console) -> int:
    """Rebuild the indexes in every process that holds them, and print both digests of each.

    With `verify`, only compare. Return 1 if a rebuild failed, or if an index differs with `verify`.
    """
    if settings.vectors == "atlas":
        _print_lines(out, "The vectors are in the catalogue (MAPSEEK_VECTORS=atlas): run `mapseek rebuild catalogue` for them.")
    async with _open_container(settings) as container:
        with _open_bars(err) as bars:
            reports = await _collect_reports(container.client, container, verify, bars)
    if not reports:
        _print_lines(
            out, "There is no snapshot of the index to compare: the next process that needs the index builds it from the log."
        )
    return max([_print_report(report, verify, out) for report in reports], default=0)


async def _collect_reports(client: Client, container: Container, verify: bool, bars: Progress) -> Sequence[RebuildReport]:
    tasks: dict[str, TaskID] = {}

    def on_report(report: RebuildReport) -> None:
        task = tasks.setdefault(report.process, TaskID(-1))
        if task == -1:
            task = tasks[report.process] = bars.add_task(escape_markup(escape_controls(report.process)), total=None)
        bars.update(task, completed=report.done, total=report.total or None)

    reports = await ask_processes(client, verify=verify, on_report=on_report)
    answered_indexes = {report.index for report in reports}
    for kind, folder in await _list_indexes(container):
        made = (folder / MANIFEST).exists() or kind is VECTOR_INDEX_KIND  # if nobody ever had a feature index, say nothing about it
        if kind.name in answered_indexes or not made:
            continue
        of = RebuildReport(
            process=SNAPSHOT_LABEL if kind is VECTOR_INDEX_KIND else f"{SNAPSHOT_LABEL} ({kind.name})", index=kind.name
        )

        def progress(done: int, total: int, of: RebuildReport = of) -> None:
            on_report(of.model_copy(update={"done": done, "total": total}))

        comparison = await rebuild_snapshot(client, folder, kind, verify=verify, progress=progress)
        if comparison is not None:
            reports.append(of.model_copy(update={"state": "done", "comparison": comparison}))
    return reports


async def _list_indexes(container: Container) -> Sequence[tuple[IndexKind[Any], Path]]:
    """Return every kind of index that this installation has, with the folder of its snapshot."""
    # Imported here: only a process that analyses pictures needs OpenCV.
    from pipeline.projections.features import build_feature_kind

    of_features = build_feature_kind(await container.blobs()), container.folder / "features"
    return (
        (of_features,)
        if container.settings.vectors == "atlas"
        else ((VECTOR_INDEX_KIND, container.folder / "vectors"), of_features)
    )


def _print_report(report: RebuildReport, verify: bool, out: Console) -> int:
    found = report.comparison
    if found is None:
        _print_lines(out, f"{report.process}: not rebuilt ({report.reason}). Run the command again.")
        return 1
    things = "vectors" if report.index == VECTOR_INDEX_KIND.name else "fingerprints"
    place = f"{found.vectors} {things}, log up to {found.position}"
    if found.before == found.after:
        _print_lines(out, f"{report.process}: identical: {found.after} ({place})")
        return 0
    _print_lines(out, f"{report.process}: before: {found.before} ({found.vectors_before} {things})")
    _print_lines(out, f"{report.process}: {'log' if verify else 'after'}:    {found.after} ({place})")
    if verify:
        _print_lines(out, "Run `mapseek rebuild index` to make it agree with the log.")
    return 1 if verify else 0


@asynccontextmanager
async def _open_container(settings: Settings) -> AsyncIterator[Container]:
    try:
        async with open_container(settings) as container:
            yield container
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: bring it back, then run the command again.") from None


@contextmanager
def _open_bars(err: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        yield bars


def _print_lines(out: Console, *lines: str) -> None:
    for line in lines:
        out.print(escape_controls(line), markup=False, highlight=False, soft_wrap=True)
