"""Export: the archive is brought up to the log, by what is new in it and what is gone from it.

Processes may go on meanwhile. What is kept beside the logs and the places of the consumers are read first, and the logs in an order
in which work that is on its way between two of them is seen at least once: after a restore some of it is done again, which changes
nothing, and none is forgotten. Blobs are read last, since the log names them.

An archive forgets what the log forgot: images that were removed, people who asked for it, and whatever else is gone there.

Reading a whole log, whatever keeps it.
"""

import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from contracts.errors import BlobMissing, MapSeekError
from contracts.events import AlertFact, ImageRemoved, SearchJudged
from contracts.ports import BlobStore
from contracts.state import ForgetRequest
from contracts.subjects import ALERTS, FAILURES, FORGOTTEN, JUDGEMENTS, REQUESTS, RETRIES, import_key, kind_filter
from infra.nats.connection import Client
from infra.nats.reader import has_stream, read_log, read_next_entry, read_stream_state
from infra.nats.state import open_state
from pipeline.backup.archive_file import (
    EXPORTED_STREAMS,
    ArchivedEntry,
    ReportProgress,
    Summary,
    add_entry,
    archive_transaction,
    finish_export,
    is_about_search,
    list_archived_entries,
    to_archived_entry,
)
from pipeline.backup.positions import save_consumers
from pipeline.clock import utc_now

_TOMBSTONES = kind_filter(ImageRemoved).removesuffix(">") + "*"

COMMIT_EVERY_BYTES = 64 * 1024 * 1024
"""Bytes of blobs after which they are safe in the archive."""


async def read_log_entries(
    client: Client, stream: str, *, after: int, until: int, bodies: bool = True
) -> AsyncGenerator[ArchivedEntry, None]:
    """The entries of a log between two places, in order. Raises Unavailable."""
    if stream == RETRIES:
        async with aclosing(_asked_for(client, stream, after)) as entries:
            async for entry in entries:
                if entry.sequence > until:
                    return
                yield entry
        return
    async with aclosing(read_log(client, stream, [">"], after=after, bodies=bodies)) as messages:
        async for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence > until:
                return
            yield to_archived_entry(stream, sequence, message.subject, message.headers, message.data)


async def _asked_for(client: Client, stream: str, after: int) -> AsyncGenerator[ArchivedEntry, None]:
    """One by one: a work queue gives its entries to its workers only, so whoever just looks has to ask for each."""
    while (entry := await read_next_entry(client, stream, after)) is not None:
        after = entry.sequence
        yield to_archived_entry(stream, entry.sequence, entry.subject, entry.headers, entry.body)


async def drop_erased_entries(database: sqlite3.Connection, client: Client, stream: str, until: int) -> None:
    """Take out what a log holds no more of what was exported up to that sequence."""
    async with aclosing(read_log_entries(client, stream, after=0, until=until, bodies=False)) as there_now:
        there = {entry.sequence async for entry in there_now}
    known = database.execute("SELECT sequence FROM entries WHERE stream = ? AND sequence <= ?", (stream, until)).fetchall()
    gone = [(stream, sequence) for (sequence,) in known if sequence not in there]
    database.executemany("DELETE FROM entries WHERE stream = ? AND sequence = ?", gone)


def drop_forgotten(database: sqlite3.Connection) -> None:
    """Take out what is about removed images and was said by forgotten people, though the log may not be rid of it yet."""
    database.execute("DELETE FROM entries WHERE entity IN (SELECT entity FROM removed) AND NOT subject GLOB ?", (_TOMBSTONES,))
    _forget_people(database)
    database.execute(
        "DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM uses WHERE uses.store = blobs.store AND uses.name = blobs.name)"
    )


def _forget_people(database: sqlite3.Connection) -> None:
    """Alerts and votes up to the moment at which a person asked to be forgotten; they may have made new ones since."""
    documents = database.execute("SELECT key, value FROM state WHERE key GLOB ?", (f"{FORGOTTEN}.*",))
    until = {tuple(key.split(".")[1:]): ForgetRequest.model_validate_json(value).until for key, value in documents}
    if not until:
        return
    said = [kind_filter(SearchJudged).partition("*")[0], f"mapseek.{AlertFact.family}."]
    gone = []
    for stream in (JUDGEMENTS, ALERTS, FAILURES, RETRIES):
        for entry in list_archived_entries(database, stream):
            about = entry.about
            moment = until.get((about[4], about[6])) if len(about) > 6 and ".".join(about).startswith(tuple(said)) else None
            if moment is not None and entry.headers.get("ce-time", "") <= moment.isoformat():
                gone.append((entry.stream, entry.sequence))
    database.executemany("DELETE FROM entries WHERE stream = ? AND sequence = ?", gone)


async def export_to(
    database: sqlite3.Connection, client: Client, stores: Mapping[str, BlobStore], progress: ReportProgress
) -> Summary:
    """Bring an archive up to date; the summary counts what was added. Raises MapSeekError for another log's, and Unavailable."""
    summary = Summary()
    with archive_transaction(database):
        await _note_state(database, client)
        streams = await _existing(client)
        await save_consumers(database, client, streams)
        for stream in streams:
            summary.entries[stream] = await _take(database, client, stream, progress)
        drop_forgotten(database)
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
    return [stream for stream in EXPORTED_STREAMS if await has_stream(client, stream)]


async def _take(database: sqlite3.Connection, client: Client, stream: str, progress: ReportProgress) -> int:
    """Take what is new in a log, as far as it goes now, and drop what is gone from it; returns how much is new."""
    state = await read_stream_state(client, stream)
    until, created = state.last, state.created.isoformat() if state.created else ""
    known = database.execute("SELECT created, last, held FROM streams WHERE name = ?", (stream,)).fetchone()
    begun, last, held = known or (created, 0, 0)
    if begun != created or last > until:
        raise MapSeekError("This archive is of another log, or of a later state of this one: export to a new file.")
    seen = taken = 0
    async with aclosing(read_log_entries(client, stream, after=last, until=until)) as entries:
        async for entry in entries:
            seen += 1
            if not is_about_search(entry):
                add_entry(database, entry)
                taken += 1
            progress(stream, entry.sequence - last, until - last)
    if state.entries - seen != held:
        await drop_erased_entries(database, client, stream, last)
    database.execute("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)", (stream, created, until, state.entries))
    return taken


async def _fill(database: sqlite3.Connection, stores: Mapping[str, BlobStore], progress: ReportProgress, summary: Summary) -> None:
    """Put those blobs into the archive that its entries name and it has not."""
    wanted = database.execute("SELECT rowid, store, name FROM blobs WHERE data IS NULL ORDER BY rowid").fetchall()
    position = 0
    while position < len(wanted):
        with archive_transaction(database):
            batch = 0
            while position < len(wanted) and batch < COMMIT_EVERY_BYTES:
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
