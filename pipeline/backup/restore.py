"""Import: restore the log, the blobs, the settings and the catalogue of an empty installation from an archive.

It may be killed at any point and started again: the log shows how far it came, and the server accepts each entry only at its
position. The consumers come last, so that until then no stage has anything to work on. The catalogue is made from the restored log.

An import closes the gaps that deleted entries left, so positions in the new log differ. The consumers get the positions of the same
entries there: the stages continue where they were, and do not do all their work again.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from itertools import islice

import orjson

from contracts.errors import MapSeekError
from contracts.events import Incident
from contracts.ports import BlobStore, Catalogue, StateStore
from contracts.subjects import (
    FAILURES,
    IMAGES,
    INCIDENTS,
    LANES,
    RETRIES,
    SEARCHES,
    failure_subject,
    import_key,
    kind_filter,
    parse_dead_letter,
    retry_subject,
    subject_of,
)
from infra.nats.connection import Client
from infra.nats.consumers import ConsumerCopy, restore_consumer
from infra.nats.journal import AppendError, append_entries
from infra.nats.projections import read_generations
from infra.nats.reader import RawEntry, encode_body, read_last_sequence
from infra.nats.state import open_state
from pipeline.backup.archive_file import (
    EXPORTED_STREAMS,
    ArchivedEntry,
    Summary,
    list_archived_entries,
    parse_fact,
    read_identity,
)
from pipeline.cli.app import ReportProgress
from pipeline.projections.rebuild_catalogue import CatalogueFiller, WriterPosition
from stages import persist

ENTRIES_IN_FLIGHT = 256
"""The most entries on their way to the server at once."""


class NewPositions:
    """The position of every archived entry in the new log."""

    def __init__(self, database: sqlite3.Connection) -> None:
        database.execute(
            "CREATE TEMP TABLE places (stream TEXT, sequence INTEGER, place INTEGER, PRIMARY KEY (stream, sequence)) WITHOUT ROWID"
        )
        database.execute(
            "INSERT INTO places SELECT stream, sequence, row_number() OVER (PARTITION BY stream ORDER BY sequence) FROM entries"
        )
        self._database = database

    def of(self, stream: str, sequence: int) -> int | None:
        """Return the new position of the entry, or None if it is not in the archive."""
        query = "SELECT place FROM places WHERE stream = ? AND sequence = ?"
        found = self._database.execute(query, (stream, sequence)).fetchone()
        return found[0] if found else None

    def up_to(self, stream: str, sequence: int) -> int:
        """Return the new position of the last entry up to this old position, or 0 if there is none."""
        query = "SELECT place FROM places WHERE stream = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1"
        found = self._database.execute(query, (stream, sequence)).fetchone()
        return found[0] if found else 0


def move_entry(entry: ArchivedEntry, positions: NewPositions) -> ArchivedEntry | None:
    """Return the entry as it is in the new log; None if it is about work on an entry that is not there any more."""
    if entry.stream in (FAILURES, RETRIES):
        return _move_letter(entry, positions)
    return _move_incident(entry, positions) if entry.stream == INCIDENTS else entry


def _move_letter(entry: ArchivedEntry, positions: NewPositions) -> ArchivedEntry | None:
    key = parse_dead_letter(entry.subject)
    place = positions.of(LANES[key.family], int(key.sequence))
    if place is None:
        return None
    headers = {**entry.headers, "mapseek-sequence": str(place)} if "mapseek-sequence" in entry.headers else entry.headers
    there = failure_subject if entry.stream == FAILURES else retry_subject
    return replace(entry, subject=there(key.stage, key.family, place, key.generation), headers=headers)


def _move_incident(entry: ArchivedEntry, positions: NewPositions) -> ArchivedEntry | None:
    incident = parse_fact(entry)
    if not isinstance(incident, Incident) or (place := positions.of(LANES[incident.lane], incident.sequence)) is None:
        return None
    if place == incident.sequence:
        return entry
    there = incident.model_copy(update={"sequence": place})
    return replace(entry, subject=subject_of(there), headers={**entry.headers, "ce-id": subject_of(there)}, body=encode_body(there))


async def begin_import(database: sqlite3.Connection, client: Client, catalogue: Catalogue) -> bool:
    """Claim the installation for this archive, and return False if that was done before. Raises MapSeekError if it is not empty."""
    state = await open_state(client)
    wanted = str(read_identity(database)).encode()
    begun = await state.get(import_key())
    if begun is not None and begun.value == wanted:
        return False
    if begun is not None:
        raise MapSeekError(
            "The import of another archive is not complete here: run `mapseek import` with that archive, or empty the installation."
        )
    if await _has_entries(client) or await state.read_all() or await catalogue.count():
        raise MapSeekError(
            "This installation is not empty: import into an empty installation, which you choose with MAPSEEK_DATA_DIR or NATS_URL."
        )
    await state.put(import_key(), wanted)
    return True


async def _has_entries(client: Client) -> bool:
    ends = [await read_last_sequence(client, stream) for stream in (*EXPORTED_STREAMS, SEARCHES)]
    return any(ends)


async def import_from(
    database: sqlite3.Connection, client: Client, stores: Mapping[str, BlobStore], report_progress: ReportProgress
) -> Summary:
    """Restore everything but the projections, and return a summary of the archive. Raises MapSeekError and Unavailable."""
    summary = Summary()
    positions = NewPositions(database)
    for stream in EXPORTED_STREAMS:
        summary.entries[stream] = await _record(
            client, stream, _move_entries(database, stream, positions), _count(database, stream), report_progress
        )
    await _restore_blobs(database, stores, report_progress, summary)
    await _restore_state(database, await open_state(client))
    await restore_consumers(database, client, positions)
    return summary


async def restore_consumers(database: sqlite3.Connection, client: Client, positions: NewPositions) -> None:
    """Create the consumers with the positions of the same entries in the new log. An existing one only gets its position.

    Raises Unavailable.
    """
    for stream, name, saved, floor in database.execute("SELECT stream, name, config, floor FROM durables").fetchall():
        config = orjson.loads(saved)
        if start := config.get("opt_start_seq"):
            config["opt_start_seq"] = positions.up_to(stream, start - 1) + 1
        await restore_consumer(client, stream, ConsumerCopy(name, config, positions.up_to(stream, floor)))


async def end_import(client: Client) -> None:
    """End the claim of the installation: everything is restored."""
    await (await open_state(client)).delete(import_key())


def _count(database: sqlite3.Connection, stream: str) -> int:
    [[count]] = database.execute("SELECT count(*) FROM entries WHERE stream = ?", (stream,))
    return int(count)


def _move_entries(database: sqlite3.Connection, stream: str, positions: NewPositions) -> Iterator[ArchivedEntry]:
    for entry in list_archived_entries(database, stream):
        if (there := move_entry(entry, positions)) is not None:
            yield there


async def _record(
    client: Client, stream: str, restored: Iterator[ArchivedEntry], total: int, report_progress: ReportProgress
) -> int:
    """Record the entries that an earlier import has not recorded, each at its position. Return how many the stream has in all."""
    done = await read_last_sequence(client, stream)
    left = enumerate(islice(restored, done, None), start=done + 1)
    there = (RawEntry(place, entry.subject, entry.headers, entry.body) for place, entry in left)
    try:
        async with aclosing(append_entries(client, stream, there, batch_size=ENTRIES_IN_FLIGHT)) as recorded:
            async for done in recorded:
                report_progress(stream, done, total)
    except AppendError as refusal:
        raise MapSeekError(
            f"The stream {stream} refused an entry ({refusal}): stop all other processes that work on it, then import again."
        ) from None
    report_progress(stream, done, total)
    return done


async def _restore_blobs(
    database: sqlite3.Connection, stores: Mapping[str, BlobStore], report_progress: ReportProgress, summary: Summary
) -> None:
    rows = database.execute("SELECT rowid, store, name, data IS NULL FROM blobs ORDER BY rowid").fetchall()
    for number, (row, store, name, missing) in enumerate(rows, start=1):
        if missing:
            summary.missing.append(name)
            continue
        [[data]] = database.execute("SELECT data FROM blobs WHERE rowid = ?", (row,))
        await stores[store].put(data)
        summary.blobs += 1
        summary.blob_bytes += len(data)
        report_progress("blobs", number, len(rows))


async def _restore_state(database: sqlite3.Connection, state: StateStore) -> None:
    for key, value in database.execute("SELECT key, value FROM state").fetchall():
        await state.put(key, value)


async def fill_catalogue(catalogue: Catalogue, client: Client, report_progress: ReportProgress) -> None:
    """Empty the catalogue and fill it from the whole log of images. Raises Unavailable."""
    await catalogue.clear()
    dropped = (await read_generations(client)).dropped
    filters = tuple(kind_filter(kind) for kind in persist.STAGE.consumes)
    whole = WriterPosition("all", filters, await read_last_sequence(client, IMAGES))
    await CatalogueFiller(client, catalogue, dropped, lambda done, total: report_progress("catalogue", done, total)).fill_to(
        [whole]
    )
