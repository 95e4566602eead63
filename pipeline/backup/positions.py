"""Positions in the old and the new log.

An import closes the gaps that deleted entries left, so positions in the new log differ. The positions of the consumers are saved
and restored, so that after a restore the stages continue there and do not do all their work again.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from contracts.events import Incident
from contracts.generations import Generations
from contracts.subjects import FAILURES, INCIDENTS, LANES, RETRIES, failure_subject, parse_dead_letter, retry_subject, subject_of
from infra.nats.connection import Client
from infra.nats.consumers import ConsumerCopy, copy_consumers, restore_consumer
from infra.nats.reader import encode_body
from pipeline.backup.archive_file import ArchivedEntry, parse_fact
from pipeline.engine.consumers import list_first_configs, plan_consumers
from pipeline.engine.registry import STAGES


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
    stage, family, sequence, generation = parse_dead_letter(entry.subject)
    place = positions.of(LANES[family], int(sequence))
    if place is None:
        return None
    headers = {**entry.headers, "mapseek-sequence": str(place)} if "mapseek-sequence" in entry.headers else entry.headers
    there = failure_subject if entry.stream == FAILURES else retry_subject
    return replace(entry, subject=there(stage, family, place, generation), headers=headers)


def _move_incident(entry: ArchivedEntry, positions: NewPositions) -> ArchivedEntry | None:
    incident = parse_fact(entry)
    if not isinstance(incident, Incident) or (place := positions.of(LANES[incident.lane], incident.sequence)) is None:
        return None
    if place == incident.sequence:
        return entry
    there = incident.model_copy(update={"sequence": place})
    return replace(entry, subject=subject_of(there), headers={**entry.headers, "ce-id": subject_of(there)}, body=encode_body(there))


async def copy_stream_consumers(client: Client, streams: Sequence[str]) -> Mapping[str, list[ConsumerCopy]]:
    """Copy the durable consumers of these streams. Raises Unavailable.

    Handled entries are deleted from RETRIES, so its consumers have no position to copy.
    """
    return {stream: await copy_consumers(client, stream) for stream in streams if stream != RETRIES}


def list_consumer_configs(generations: Generations) -> Mapping[tuple[str, str], Sequence[bytes]]:
    """Return, by stream and name of every consumer that the stages need, the encoded configurations that it may have."""
    return {
        (durable.stream, durable.name): [encode_config(config.as_dict()) for config in list_first_configs(durable)]
        for durable in plan_consumers(STAGES, generations)
    }


def encode_config(config: Mapping[str, Any]) -> bytes:
    """Encode the configuration of a consumer, so that two are the same if their bytes are."""
    return orjson.dumps(config, option=orjson.OPT_SORT_KEYS)


def save_consumers(database: sqlite3.Connection, copies: Mapping[str, Sequence[ConsumerCopy]], generations: Generations) -> None:
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


async def restore_consumers(database: sqlite3.Connection, client: Client, positions: NewPositions) -> None:
    """Create the consumers with the positions of the same entries in the new log. An existing one only gets its position.

    Raises Unavailable.
    """
    for stream, name, saved, floor in database.execute("SELECT stream, name, config, floor FROM durables").fetchall():
        config = orjson.loads(saved)
        if start := config.get("opt_start_seq"):
            config["opt_start_seq"] = positions.up_to(stream, start - 1) + 1
        await restore_consumer(client, stream, ConsumerCopy(name, config, positions.up_to(stream, floor)))
