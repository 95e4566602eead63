"""Export: the archive is brought up to the log, by what is new in it and what is gone from it.

Processes may go on meanwhile. What is kept beside the logs and the places of the consumers are read first, and the logs in an order
in which work that is on its way between two of them is seen at least once: after a restore some of it is done again, which changes
nothing, and none is forgotten. Blobs are read last, since the log names them.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import aclosing

from contracts.errors import BlobMissing, MapSeekError
from contracts.ports import BlobStore
from contracts.subjects import REQUESTS, import_key
from infra.nats.connection import Client
from infra.nats.reader import has_stream, read_stream
from infra.nats.state import open_state
from pipeline.backup.archive import EXPORTED, at_once, finish_export
from pipeline.backup.durables import note_durables
from pipeline.backup.entries import add, is_of_a_search
from pipeline.backup.forgetting import drop_what_is_gone, forget
from pipeline.backup.reading import recorded
from pipeline.backup.summary import Progress, Summary
from pipeline.clock import utc_now

SAVED_EVERY = 64 * 1024 * 1024
"""Bytes of blobs after which they are safe in the archive."""


async def export_to(database: sqlite3.Connection, client: Client, stores: Mapping[str, BlobStore], progress: Progress) -> Summary:
    """Bring an archive up to date; the summary counts what was added. Raises MapSeekError for another log's, and Unavailable."""
    summary = Summary()
    with at_once(database):
        await _note_state(database, client)
        streams = await _existing(client)
        await note_durables(database, client, streams)
        for stream in streams:
            summary.entries[stream] = await _take(database, client, stream, progress)
        forget(database)
        finish_export(database, utc_now().isoformat())
    await _fill(database, stores, progress, summary)
    return summary


async def _note_state(database: sqlite3.Connection, client: Client) -> None:
    everything = await (await open_state(client)).everything()
    if import_key() in everything:
        raise MapSeekError("An import into this installation has not come to its end: run `mapseek import` again first.")
    kept = [(key, value) for key, value in everything.items() if not key.startswith(f"{REQUESTS}.")]
    database.execute("DELETE FROM state")
    database.executemany("INSERT INTO state VALUES (?, ?)", kept)


async def _existing(client: Client) -> list[str]:
    """Those of the logs that there are: earlier versions had fewer."""
    return [stream for stream in EXPORTED if await has_stream(client, stream)]


async def _take(database: sqlite3.Connection, client: Client, stream: str, progress: Progress) -> int:
    """Take what is new in a log, as far as it goes now, and drop what is gone from it; returns how much is new."""
    state = await read_stream(client, stream)
    until, created = state.last, state.created.isoformat() if state.created else ""
    known = database.execute("SELECT created, last, held FROM streams WHERE name = ?", (stream,)).fetchone()
    begun, last, held = known or (created, 0, 0)
    if begun != created or last > until:
        raise MapSeekError("This archive is of another log, or of a later state of this one: export to a new file.")
    seen = taken = 0
    async with aclosing(recorded(client, stream, after=last, until=until)) as entries:
        async for entry in entries:
            seen += 1
            if not is_of_a_search(entry):
                add(database, entry)
                taken += 1
            progress(stream, entry.sequence - last, until - last)
    if state.entries - seen != held:
        await drop_what_is_gone(database, client, stream, last)
    database.execute("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)", (stream, created, until, state.entries))
    return taken


async def _fill(database: sqlite3.Connection, stores: Mapping[str, BlobStore], progress: Progress, summary: Summary) -> None:
    """Put those blobs into the archive that its entries name and it has not."""
    wanted = database.execute("SELECT rowid, store, name FROM blobs WHERE data IS NULL ORDER BY rowid").fetchall()
    position = 0
    while position < len(wanted):
        with at_once(database):
            batch = 0
            while position < len(wanted) and batch < SAVED_EVERY:
                row, store, name = wanted[position]
                position += 1
                try:
                    data = await stores[store].get(name)
                except BlobMissing:
                    summary.missing.append(name)
                    continue
                database.execute("UPDATE blobs SET data = ? WHERE rowid = ?", (data, row))
                batch += len(data)
                summary.blobs += 1
                progress("blobs", position, len(wanted))
        summary.blob_bytes += batch
