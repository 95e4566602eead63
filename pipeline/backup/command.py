"""`mapseek export` and `mapseek import`: write an installation to one file, and restore one from it."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from contracts.errors import MapSeekError, Unavailable
from contracts.ports import BlobStore
from infra.blobs.files import open_blob_store
from infra.nats.connection import Client
from pipeline.backup.archive_file import BLOBS, QUERIES, Summary, open_archive_file, verify_archive
from pipeline.backup.export import export_to
from pipeline.backup.restore import begin_import, end_import, fill_catalogue, import_from
from pipeline.cli.app import ReportProgress, build_progress_reporter
from pipeline.cli.open import open_log_client, require_archive
from pipeline.container import open_catalogue
from pipeline.engine import topology
from pipeline.settings import Settings, ensure_data_folder


async def export_archive(settings: Settings, path: Path, out: Console, err: Console) -> int:
    """Bring the archive at `path` up to date, or create it. Return 1 if a blob is missing."""
    require_archive(settings)
    began = monotonic()
    with open_archive_file(path, new=True) as database, _show_progress(err) as report_progress:
        async with _client(settings) as client:
            summary = await export_to(database, client, _stores(settings), report_progress)
    out.print(_build_table(summary, monotonic() - began))
    return _report_missing(summary, "is missing or damaged in the blob store", err)


async def import_archive(settings: Settings, path: Path, out: Console, err: Console) -> int:
    """Restore the archive at `path` into an empty installation. Return 1 if the archive lacks a blob."""
    began = monotonic()
    with open_archive_file(path) as database, _show_progress(err) as report_progress:
        for whole in verify_archive(database, path):
            report_progress("checking", whole, None)
        async with _client(settings, new=True) as client:
            await topology.ensure_topology(client, ())
            catalogue = await open_catalogue(settings, ensure_data_folder(settings))
            try:
                if await begin_import(database, client, catalogue):
                    # A snapshot of the index has a position, which is one of another log.
                    shutil.rmtree(ensure_data_folder(settings) / "vectors", ignore_errors=True)
                summary = await import_from(database, client, _stores(settings), report_progress)
                await fill_catalogue(catalogue, client, report_progress)
                await end_import(client)
            finally:
                await catalogue.close()
    out.print(_build_table(summary, monotonic() - began))
    return _report_missing(summary, "is missing in the archive", err)


@asynccontextmanager
async def _client(settings: Settings, *, new: bool = False) -> AsyncIterator[Client]:
    try:
        async with open_log_client(settings, "mapseek-backup", new=new) as client:
            yield client
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: correct that, then run the command again to resume.") from None


def _stores(settings: Settings) -> Mapping[str, BlobStore]:
    return {store: open_blob_store(ensure_data_folder(settings) / store) for store in (BLOBS, QUERIES)}


@contextmanager
def _show_progress(err: Console) -> Iterator[ReportProgress]:
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=err, transient=True) as bars:
        report_progress = build_progress_reporter(bars)
        yield lambda what, done, total: report_progress(what.lower(), done, total)


def _build_table(summary: Summary, seconds: float) -> Table:
    table = Table(box=SIMPLE_HEAD, caption=f"{seconds:.1f} s", caption_justify="left")
    table.add_column("")
    table.add_column("entries", justify="right")
    table.add_column("bytes", justify="right")
    for stream, number in summary.entries.items():
        table.add_row(stream, str(number), "")
    table.add_row("blobs", str(summary.blobs), decimal(summary.blob_bytes))
    return table


def _report_missing(summary: Summary, what: str, err: Console) -> int:
    for name in summary.missing:
        err.print(f"Blob {name} {what}.", style="yellow", highlight=False, soft_wrap=True)
    return 1 if summary.missing else 0
