"""Import: an archive becomes the log, the blobs and the settings of an empty installation.

It may be killed anywhere and begun again: the log tells how far it came, and the server takes each entry in its place only. The
consumers come last, so that until then no stage has anything to work on.

The catalogue of a restored log: made by playing it, as it was made the first time.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from itertools import islice

from contracts.errors import MapSeekError
from contracts.ports import BlobStore, Catalogue, StateStore
from contracts.subjects import IMAGES, SEARCHES, import_key, kind_filter
from infra.nats.connection import Client
from infra.nats.journal import AppendError, append_entries
from infra.nats.projections import read_generations
from infra.nats.reader import RawEntry, read_last_sequence
from infra.nats.state import open_state
from pipeline.backup.archive_file import (
    EXPORTED_STREAMS,
    ArchivedEntry,
    ReportProgress,
    Summary,
    list_archived_entries,
    read_identity,
)
from pipeline.backup.positions import NewPositions, move_entry, restore_consumers
from pipeline.projections.rebuild_catalogue import CatalogueFiller, WriterPosition
from stages import persist

ENTRIES_IN_FLIGHT = 256
"""Entries that may be on their way to the server."""


async def begin_import(database: sqlite3.Connection, client: Client, catalogue: Catalogue) -> bool:
    """Claim the installation for this archive; False if that was done before. Raises MapSeekError if it is not empty."""
    state = await open_state(client)
    wanted = str(read_identity(database)).encode()
    begun = await state.get(import_key())
    if begun is not None and begun.value == wanted:
        return False
    if begun is not None:
        raise MapSeekError("Another archive is half imported here: run `mapseek import` with that one, or empty the installation.")
    if await _used(client) or await state.everything() or await catalogue.count():
        raise MapSeekError(
            "Something is archived here already: import into an empty installation, with MAPSEEK_DATA_DIR or NATS_URL."
        )
    await state.put(import_key(), wanted)
    return True


async def _used(client: Client) -> bool:
    ends = [await read_last_sequence(client, stream) for stream in (*EXPORTED_STREAMS, SEARCHES)]
    return any(ends)


async def import_from(
    database: sqlite3.Connection, client: Client, stores: Mapping[str, BlobStore], progress: ReportProgress
) -> Summary:
    """Restore everything but the projections; the summary counts what the archive holds. Raises MapSeekError and Unavailable."""
    summary = Summary()
    places = NewPositions(database)
    for stream in EXPORTED_STREAMS:
        summary.entries[stream] = await _record(
            client, stream, _moved(database, stream, places), _count(database, stream), progress
        )
    await _store(database, stores, progress, summary)
    await _set(database, await open_state(client))
    await restore_consumers(database, client, places)
    return summary


async def end_import(client: Client) -> None:
    """All is there: the installation is like any other."""
    await (await open_state(client)).delete(import_key())


def _count(database: sqlite3.Connection, stream: str) -> int:
    [[count]] = database.execute("SELECT count(*) FROM entries WHERE stream = ?", (stream,))
    return int(count)


def _moved(database: sqlite3.Connection, stream: str, places: NewPositions) -> Iterator[ArchivedEntry]:
    for entry in list_archived_entries(database, stream):
        if (there := move_entry(entry, places)) is not None:
            yield there


async def _record(client: Client, stream: str, restored: Iterator[ArchivedEntry], total: int, progress: ReportProgress) -> int:
    """Record entries behind those that an import recorded before, each in its place; returns how many there are in all."""
    done = await read_last_sequence(client, stream)
    left = enumerate(islice(restored, done, None), start=done + 1)
    there = (RawEntry(place, entry.subject, entry.headers, entry.body) for place, entry in left)
    try:
        async with aclosing(append_entries(client, stream, there, batch_size=ENTRIES_IN_FLIGHT)) as recorded:
            async for done in recorded:
                progress(stream, done, total)
    except AppendError as refusal:
        raise MapSeekError(
            f"The log {stream} refused an entry ({refusal}): stop whatever else works on it, then import again."
        ) from None
    progress(stream, done, total)
    return done


async def _store(database: sqlite3.Connection, stores: Mapping[str, BlobStore], progress: ReportProgress, summary: Summary) -> None:
    rows = database.execute("SELECT rowid, store, name, data IS NULL FROM blobs ORDER BY rowid").fetchall()
    for number, (row, store, name, missing) in enumerate(rows, start=1):
        if missing:
            summary.missing.append(name)
            continue
        [[data]] = database.execute("SELECT data FROM blobs WHERE rowid = ?", (row,))
        await stores[store].put(data)
        summary.blobs += 1
        summary.blob_bytes += len(data)
        progress("blobs", number, len(rows))


async def _set(database: sqlite3.Connection, state: StateStore) -> None:
    for key, value in database.execute("SELECT key, value FROM state").fetchall():
        await state.put(key, value)


async def fill_catalogue(catalogue: Catalogue, client: Client, progress: ReportProgress) -> None:
    """Empty the catalogue and play the log of images into it, all of it at once. Raises Unavailable."""
    await catalogue.clear()
    dropped = (await read_generations(client)).dropped
    filters = tuple(kind_filter(kind) for kind in persist.STAGE.consumes)
    whole = WriterPosition("all", filters, await read_last_sequence(client, IMAGES))
    await CatalogueFiller(client, catalogue, dropped, lambda done, total: progress("catalogue", done, total)).fill_to([whole])
