"""`mapseek export` and `mapseek import`: write an installation to one file, and restore one from it."""

import shutil
import sqlite3
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
from pipeline.backup.archive_file import (
    BLOBS,
    QUERIES,
    Summary,
    escape_reason,
    open_archive_file,
    read_identity,
    require_archive_file,
)
from pipeline.backup.authenticity import make_export_key, read_export_key, read_given_key
from pipeline.backup.export import export_to
from pipeline.backup.restore import begin_import, end_import, fill_catalogue, import_from
from pipeline.backup.validate import validate_archive
from pipeline.cli.app import ReportProgress, build_progress_reporter
from pipeline.cli.open import open_log_client, require_archive
from pipeline.container import open_catalogue
from pipeline.engine import topology
from pipeline.settings import Settings, ensure_data_folder


async def export_archive(settings: Settings, path: Path, out: Console, err: Console) -> int:
    """Bring the archive at `path` up to date, or create it. Return 1 if something is not in it that should be.

    The first export makes the export key of the installation, and shows it on `err`.
    """
    require_archive(settings)
    began = monotonic()
    with open_archive_file(path, new=True) as database:
        key = _ensure_export_key(settings, database, path, err)
        with _show_progress(err) as report_progress:
            async with _client(settings) as client:
                summary = await export_to(database, key, client, _stores(settings), report_progress)
    out.print(_build_table(summary, monotonic() - began))
    return _report_missing(summary, "is missing or damaged in the blob store", err)


def _ensure_export_key(settings: Settings, database: sqlite3.Connection, path: Path, err: Console) -> bytes:
    """Return the export key of the installation. Make it and show it if there is none and the archive is new."""
    folder = ensure_data_folder(settings)
    key = read_export_key(folder)
    if key is None and read_identity(database) is not None:
        raise MapSeekError(
            f"The archive {path} was written with an export key that is not in {folder}: "
            "put it back there, or export to a new file."
        )
    if key is None:
        key = make_export_key(folder)
        _print_plainly(
            err, "This is the export key of this installation, shown only now: keep it elsewhere, `mapseek import` asks for it."
        )
        _print_plainly(err, key.hex())
    return key


def choose_import_key(path: Path, key_file: str | None, *, unauthenticated: bool) -> bytes | None:
    """Return the key that the archive at `path` must be written with, None if anybody may have written it. Raises MapSeekError."""
    require_archive_file(path)
    if (key_file is None) != unauthenticated:
        raise MapSeekError(
            "Say who wrote the archive: give its export key with --key KEYFILE (- reads standard input), "
            "or else --unauthenticated, and not both."
        )
    return None if key_file is None else read_given_key(key_file)


async def import_archive(settings: Settings, path: Path, key: bytes | None, out: Console, err: Console) -> int:
    """Restore the archive at `path` into an empty installation. Return 1 if the archive lacks a blob.

    Without a key, anybody may have written the archive. Everything in it is validated before anything is written or connected to.
    """
    began = monotonic()
    with open_archive_file(path) as database, _show_progress(err) as report_progress:
        for whole in validate_archive(database, path, key):
            report_progress("checking", whole, None)
        async with _client(settings, new=True) as client:
            await topology.ensure_topology(client, ())
            catalogue = await open_catalogue(settings, ensure_data_folder(settings))
            try:
                if await begin_import(database, client, catalogue):
                    # A snapshot of an index has a position, which is one of another log.
                    for index in ("vectors", "features"):
                        shutil.rmtree(ensure_data_folder(settings) / index, ignore_errors=True)
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
        _print_plainly(err, f"Blob {name} {what}.", style="yellow")
    for which in summary.refused:
        _print_plainly(err, f"Left out, since no import would accept it: {escape_reason(which)}.", style="yellow")
    return 1 if summary.missing or summary.refused else 0


def _print_plainly(err: Console, text: str, style: str | None = None) -> None:
    err.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
