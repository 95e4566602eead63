"""Where the stages stand in the logs, so that after a restore they go on there instead of doing all of it again.

Where entries lie in the new log: an import closes the gaps that were left by what is gone, so sequences differ.
"""

import sqlite3
from dataclasses import replace

import orjson

from contracts.events import Incident
from contracts.subjects import FAILURES, INCIDENTS, LANES, RETRIES, failure_subject, parse_dead_letter, retry_subject, subject_of
from infra.nats.connection import Client
from infra.nats.consumers import ConsumerCopy, copy_consumers, restore_consumer
from infra.nats.reader import encode_body
from pipeline.backup.archive_file import ArchivedEntry, parse_fact


class NewPositions:
    """The new sequence of every archived entry."""

    def __init__(self, database: sqlite3.Connection) -> None:
        database.execute(
            "CREATE TEMP TABLE places (stream TEXT, sequence INTEGER, place INTEGER, PRIMARY KEY (stream, sequence)) WITHOUT ROWID"
        )
        database.execute(
            "INSERT INTO places SELECT stream, sequence, row_number() OVER (PARTITION BY stream ORDER BY sequence) FROM entries"
        )
        self._database = database

    def of(self, stream: str, sequence: int) -> int | None:
        """That of an entry, None if it is not in the archive."""
        query = "SELECT place FROM places WHERE stream = ? AND sequence = ?"
        found = self._database.execute(query, (stream, sequence)).fetchone()
        return found[0] if found else None

    def up_to(self, stream: str, sequence: int) -> int:
        """That of the last entry up to a sequence, 0 if there is none."""
        query = "SELECT place FROM places WHERE stream = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1"
        found = self._database.execute(query, (stream, sequence)).fetchone()
        return found[0] if found else 0


def move_entry(entry: ArchivedEntry, places: NewPositions) -> ArchivedEntry | None:
    """The entry as it is in the new log; None for what is about work on an entry that is not there any more."""
    if entry.stream in (FAILURES, RETRIES):
        return _letter(entry, places)
    return _incident(entry, places) if entry.stream == INCIDENTS else entry


def _letter(entry: ArchivedEntry, places: NewPositions) -> ArchivedEntry | None:
    stage, family, sequence, generation = parse_dead_letter(entry.subject)
    place = places.of(LANES[family], int(sequence))
    if place is None:
        return None
    headers = {**entry.headers, "mapseek-sequence": str(place)} if "mapseek-sequence" in entry.headers else entry.headers
    there = failure_subject if entry.stream == FAILURES else retry_subject
    return replace(entry, subject=there(stage, family, place, generation), headers=headers)


def _incident(entry: ArchivedEntry, places: NewPositions) -> ArchivedEntry | None:
    incident = parse_fact(entry)
    if not isinstance(incident, Incident) or (place := places.of(LANES[incident.lane], incident.sequence)) is None:
        return None
    if place == incident.sequence:
        return entry
    there = incident.model_copy(update={"sequence": place})
    return replace(entry, subject=subject_of(there), headers={**entry.headers, "ce-id": subject_of(there)}, body=encode_body(there))


async def save_consumers(database: sqlite3.Connection, client: Client, streams: list[str]) -> None:
    """Put every durable consumer of these logs into the archive, in place of those that were there. Raises Unavailable."""
    database.execute("DELETE FROM durables")
    for stream in streams:
        if stream == RETRIES:  # what is done there is deleted, so its consumers have no place to remember
            continue
        for copy in await copy_consumers(client, stream):
            row = (stream, copy.name, orjson.dumps(copy.config).decode(), copy.settled)
            database.execute("INSERT INTO durables VALUES (?, ?, ?, ?)", row)


async def restore_consumers(database: sqlite3.Connection, client: Client, places: NewPositions) -> None:
    """Make the consumers behind the same entries of the new log. One that is there is only put in its place. Raises Unavailable."""
    for stream, name, noted, floor in database.execute("SELECT stream, name, config, floor FROM durables").fetchall():
        config = orjson.loads(noted)
        if start := config.get("opt_start_seq"):
            config["opt_start_seq"] = places.up_to(stream, start - 1) + 1
        await restore_consumer(client, stream, ConsumerCopy(name, config, places.up_to(stream, floor)))
