"""Export: bring the archive up to date with the log. Add what is new in the log, and drop what is gone from it.

Other processes may keep running. An export reads the settings and the positions of the consumers first. It reads the streams in an
order that shows all work on its way between two streams at least once: after a restore some of it is done again, which changes
nothing, and none is lost. It reads blobs last, since the log names them.

An archive also forgets what the log forgot: removed images, people who asked to be forgotten, and everything else that is gone.
"""

import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import orjson

from contracts.errors import BlobMissing, Malformed, MapSeekError
from contracts.events import AlertFact, SearchJudged
from contracts.generations import Generations
from contracts.ports import BlobStore
from contracts.state import ForgetRequest, parse_document
from contracts.subjects import ALERTS, FAILURES, FORGOTTEN, JUDGEMENTS, REQUESTS, RETRIES, import_key, kind_filter
from infra.nats.connection import Client
from infra.nats.consumers import ConsumerCopy, copy_consumers
from infra.nats.reader import has_stream, read_log, read_next_entry, read_stream_state
from infra.nats.state import open_state
from pipeline.backup.archive_file import (
    EXPORTED_STREAMS,
    TOMBSTONE_PREFIX,
    ArchivedEntry,
    Summary,
    add_entry,
    archive_transaction,
    escape_reason,
    find_left_out,
    list_archived_entries,
    to_archived_entry,
)
from pipeline.backup.authenticity import continue_archive, seal_archive
from pipeline.backup.validate import check_entry, list_consumer_configs
from pipeline.cli.app import ReportProgress
from pipeline.clock import utc_now
from pipeline.engine.topology import read_generations_if_any

_TOMBSTONES = f"{TOMBSTONE_PREFIX}*"

COMMIT_EVERY_BYTES = 64 * 1024 * 1024
"""Blobs are committed to the archive each time that so many bytes are written."""


async def read_log_entries(
    client: Client, stream: str, *, after: int, until: int, bodies: bool = True
) -> AsyncGenerator[ArchivedEntry, None]:
    """Yield the entries of a stream behind `after` up to `until`, in order. Raises Unavailable."""
    if stream == RETRIES:
        async with aclosing(_read_work_queue(client, stream, after)) as entries:
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


async def _read_work_queue(client: Client, stream: str, after: int) -> AsyncGenerator[ArchivedEntry, None]:
    """Yield the entries of a work queue. It delivers them only to its workers, so we have to request each entry by its position."""
    while (entry := await read_next_entry(client, stream, after)) is not None:
        after = entry.sequence
        yield to_archived_entry(stream, entry.sequence, entry.subject, entry.headers, entry.body)


async def drop_erased_entries(database: sqlite3.Connection, client: Client, stream: str, until: int) -> None:
    """Delete the archived entries up to the position `until` that the stream does not have any more."""
    async with aclosing(read_log_entries(client, stream, after=0, until=until, bodies=False)) as there_now:
        there = {entry.sequence async for entry in there_now}
    known = database.execute("SELECT sequence FROM entries WHERE stream = ? AND sequence <= ?", (stream, until)).fetchall()
    gone = [(stream, sequence) for (sequence,) in known if sequence not in there]
    database.executemany("DELETE FROM entries WHERE stream = ? AND sequence = ?", gone)


def drop_forgotten(database: sqlite3.Connection) -> None:
    """Delete entries about removed images and from forgotten people, even if the log has not erased them yet.

    An image without a tombstone is not removed, whatever somebody wrote into the file. Raises Malformed.
    """
    tombstone = "SELECT 1 FROM entries WHERE entries.entity = removed.entity AND subject GLOB ?"
    database.execute(f"DELETE FROM removed WHERE NOT EXISTS ({tombstone})", (_TOMBSTONES,))  # noqa: S608
    database.execute("DELETE FROM entries WHERE entity IN (SELECT entity FROM removed) AND NOT subject GLOB ?", (_TOMBSTONES,))
    _forget_people(database)
    database.execute(
        "DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM uses WHERE uses.store = blobs.store AND uses.name = blobs.name)"
    )


def _forget_people(database: sqlite3.Connection) -> None:
    """Delete the alerts and votes of people who asked to be forgotten, up to the time of that request: later ones stay."""
    documents = database.execute("SELECT key, value FROM state WHERE key GLOB ?", (f"{FORGOTTEN}.*",))
    until = {tuple(key.split(".")[1:]): ForgetRequest.model_validate_json(value).until for key, value in documents}
    if not until:
        return
    personal = [kind_filter(SearchJudged).partition("*")[0], f"mapseek.{AlertFact.family}."]
    gone = []
    for stream in (JUDGEMENTS, ALERTS, FAILURES, RETRIES):
        for entry in list_archived_entries(database, stream):
            about = entry.about
            moment = until.get((about[4], about[6])) if len(about) > 6 and ".".join(about).startswith(tuple(personal)) else None
            if moment is not None and entry.headers.get("ce-time", "") <= moment.isoformat():
                gone.append((entry.stream, entry.sequence))
    database.executemany("DELETE FROM entries WHERE stream = ? AND sequence = ?", gone)


async def export_to(
    database: sqlite3.Connection, key: bytes, client: Client, stores: Mapping[str, BlobStore], report_progress: ReportProgress
) -> Summary:
    """Bring an archive up to date, authenticate it with the export key, and return a summary of what was added.

    Raises MapSeekError if the archive is of another log, key or format or was changed, and Unavailable.
    """
    summary = Summary()
    try:
        with archive_transaction(database):
            archived = continue_archive(database, key)
            await _save_state(database, client, summary)
            streams = await _list_streams(client)
            consumers = await _copy_consumers(client, streams)
            for stream in streams:
                summary.entries[stream] = await _export_stream(database, client, stream, report_progress, summary)
            _save_consumers(database, consumers, await read_generations_if_any(client))
            drop_forgotten(database)
            seal_archive(database, archived, utc_now().isoformat())
    except Malformed as error:
        raise MapSeekError(f"This archive was changed ({escape_reason(str(error))}): export to a new file.") from None
    await _export_blobs(database, stores, report_progress, summary)
    return summary


async def _save_state(database: sqlite3.Connection, client: Client, summary: Summary) -> None:
    everything = await (await open_state(client)).read_all()
    if import_key() in everything:
        raise MapSeekError("An import into this installation is not complete: run `mapseek import` again first.")
    database.execute("DELETE FROM state")
    for key, value in everything.items():
        if key.startswith(f"{REQUESTS}."):
            continue
        try:
            parse_document(key, value)
        except Malformed as error:
            summary.refused.append(f"document {key}: {error}")
        else:
            database.execute("INSERT INTO state VALUES (?, ?)", (key, value))


async def _copy_consumers(client: Client, streams: Sequence[str]) -> Mapping[str, list[ConsumerCopy]]:
    """Copy the durable consumers of these streams. Raises Unavailable.

    Handled entries are deleted from RETRIES, so its consumers have no position to copy.
    """
    return {stream: await copy_consumers(client, stream) for stream in streams if stream != RETRIES}


def _save_consumers(database: sqlite3.Connection, copies: Mapping[str, Sequence[ConsumerCopy]], generations: Generations) -> None:
    """Save the positions of the consumers in the archive, and drop those saved earlier.

    Only consumers that this release makes are saved, as it makes them: not those of others, nor those of an unfinished replay.
    """
    database.execute("DELETE FROM durables")
    known = list_consumer_configs(generations)
    for stream, copied in copies.items():
        for copy in copied:
            if found := known.get((stream, copy.name)):
                start = copy.config.get("opt_start_seq")
                saved = next((each for each in found if orjson.loads(each).get("opt_start_seq") == start), found[0])
                database.execute("INSERT INTO durables VALUES (?, ?, ?, ?)", (stream, copy.name, saved.decode(), copy.settled))


async def _list_streams(client: Client) -> list[str]:
    """Return the streams that exist: earlier versions had fewer."""
    return [stream for stream in EXPORTED_STREAMS if await has_stream(client, stream)]


async def _export_stream(
    database: sqlite3.Connection, client: Client, stream: str, report_progress: ReportProgress, summary: Summary
) -> int:
    """Add what is new in a stream up to its end of now, drop what is gone from it, and return how many entries were added.

    An entry that MapSeek does not write (somebody published it) is left out, since no import would accept it.
    """
    state = await read_stream_state(client, stream)
    until, created = state.last, state.created.isoformat() if state.created else ""
    known = database.execute("SELECT created, last, held FROM streams WHERE name = ?", (stream,)).fetchone()
    begun, last, held = known or (created, 0, 0)
    if begun != created or last > until:
        raise MapSeekError("This archive is of another log, or of a later state of this log: export to a new file.")
    seen = taken = 0
    async with aclosing(read_log_entries(client, stream, after=last, until=until)) as entries:
        async for entry in entries:
            seen += 1
            try:
                check_entry(entry)
            except Malformed as error:
                summary.refused.append(f"entry {entry.sequence} of {stream}: {error}")
            else:
                if find_left_out(entry) is None:
                    add_entry(database, entry)
                    taken += 1
            report_progress(stream, entry.sequence - last, until - last)
    if state.entries - seen != held:
        await drop_erased_entries(database, client, stream, last)
    database.execute("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)", (stream, created, until, state.entries))
    return taken


async def _export_blobs(
    database: sqlite3.Connection, stores: Mapping[str, BlobStore], report_progress: ReportProgress, summary: Summary
) -> None:
    """Add the blobs that the archive's entries name and that it does not have yet."""
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
                report_progress("blobs", position, len(wanted))
        summary.blob_bytes += batch
