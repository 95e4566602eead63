"""Validates an archive before an import connects to a server or writes anything. It believes nothing that the file says.

Opening the file (archive_file.py) has compared its schema with that of a fresh archive: there are no views, triggers or other
objects. The checks here go from the whole to the part: the pages of the database, the type and size of each value, the head (with
the export key, if there is one), each entry with its headers and body, what follows from the entries, the settings, the consumers.

The export uses `check_entry` and `list_consumer_configs` too: it leaves out what no import would accept.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from contracts.errors import Malformed, MapSeekError
from contracts.events import FACTS, AlertEmbedded, AlertSet, Fact, ImageEmbedded
from contracts.events.generation import GenerationFact
from contracts.generations import Generations
from contracts.state import parse_document
from contracts.subjects import (
    DISCORD,
    FAILURES,
    LANES,
    RETRIES,
    failure_subject,
    parse_dead_letter,
    parse_subject,
    retry_subject,
    stream_of,
)
from infra.nats.reader import decode_fact
from pipeline.backup.archive_file import (
    ARCHIVE_FORMAT,
    BLOBS,
    EXPORTED_STREAMS,
    QUERIES,
    TOMBSTONE_PREFIX,
    ArchivedEntry,
    checksum,
    compute_settings_digest,
    count_rows,
    damaged_archive_error,
    escape_reason,
    find_left_out,
    list_archived_entries,
    list_entry_blobs,
    read_format,
    read_headers,
)
from pipeline.backup.authenticity import EntrySum, Head, are_entries_authentic, is_head_authentic, read_head
from pipeline.engine.consumers import list_first_configs, plan_consumers
from pipeline.engine.registry import STAGES
from pipeline.generations.progress import FLOAT_BYTES

MAX_MESSAGE_BYTES = 8 * 1024 * 1024 - 4096
"""The server accepts 8 MiB with the headers, also with those that an import adds."""

MAX_HEADERS_BYTES = 60_000
"""The server accepts 65,535 bytes of headers. An import adds one of its own."""

MAX_SUBJECT_BYTES = 1024
MAX_SETTING_BYTES = 1024 * 1024
MAX_BLOB_BYTES = 512 * 1024 * 1024
"""More than the pixels of the largest picture that is archived, as an uncompressed PNG."""

MAX_INTEGER = 2**62

_TIME_BYTES, _NAME_BYTES = 40, 200

_VALUES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "exports": {
        "number": ("integer", MAX_INTEGER),
        "archive": ("text", 32),
        "made_at": ("text", _TIME_BYTES),
        "digest": ("text", 64),
    },
    "streams": {
        "name": ("text", _NAME_BYTES),
        "created": ("text", _TIME_BYTES),
        "last": ("integer", MAX_INTEGER),
        "held": ("integer", MAX_INTEGER),
    },
    "durables": {
        "stream": ("text", _NAME_BYTES),
        "name": ("text", _NAME_BYTES),
        "config": ("text", MAX_HEADERS_BYTES),
        "floor": ("integer", MAX_INTEGER),
    },
    "state": {"key": ("text", _NAME_BYTES), "value": ("blob", MAX_SETTING_BYTES)},
    "entries": {
        "id": ("integer", MAX_INTEGER),
        "stream": ("text", _NAME_BYTES),
        "sequence": ("integer", MAX_INTEGER),
        "subject": ("text", MAX_SUBJECT_BYTES),
        "entity": ("text", _NAME_BYTES),
        "headers": ("text", 2 * MAX_HEADERS_BYTES),
        "body": ("blob", MAX_MESSAGE_BYTES),
        "crc": ("integer", 2**32 - 1),
    },
    "removed": {"entity": ("text", _NAME_BYTES)},
    "blobs": {"store": ("text", _NAME_BYTES), "name": ("text", 64)},
    "uses": {"entry": ("integer", MAX_INTEGER), "store": ("text", _NAME_BYTES), "name": ("text", 64)},
}
"""By table: the type of each column, and its largest number or its most bytes. No number is negative."""

_HEAD_VALUES = {"entries": ("integer", MAX_INTEGER), "nonce": ("blob", 32), "combination": ("blob", 32), "mac": ("blob", 32)}
"""The columns of `exports` that format 1 does not have."""

_HEADER_NAME = re.compile(r"ce-[a-z]{1,32}|mapseek-[a-z][a-z-]{0,32}|content-type|traceparent|tracestate")
"""The headers that MapSeek writes. Those of the server (`Nats-...`) would tell it to do something."""

_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_LETTER_STREAMS = (FAILURES, RETRIES)
_NEEDED_LETTER_HEADERS = ("mapseek-consumer", "mapseek-stream", "mapseek-sequence", "mapseek-subject", "mapseek-round")
_LETTER_NUMBERS = ("mapseek-sequence", "mapseek-round", "mapseek-attempts", "mapseek-tried")
_LANE_TOKEN = re.compile(r"[^.*>\x00-\x20\x7f-\U0010ffff]{1,64}")
_ARCHIVE_ID = re.compile(r"[0-9a-f]{32}")

_FACTS_WITH_VECTOR = (ImageEmbedded, AlertSet, AlertEmbedded)

MAX_NUMBER = 2**53
"""JSON's numbers are exact up to here, and SQLite and MongoDB have larger ones. No number in a fact comes near."""

_TOMBSTONES = f"{TOMBSTONE_PREFIX}*"

_SERVER_DEFAULTS = ("max_waiting", "num_replicas")
"""Numbers that the server adds to the configuration of a consumer. Archives of format 1 have them."""


def validate_archive(database: sqlite3.Connection, path: Path, key: bytes | None) -> Iterator[int]:
    """Check everything in an archive, and yield how many entries and blobs are checked. Without a key, anybody may have written it.

    Raises MapSeekError at the first thing that MapSeek does not write.
    """
    try:
        head = _check_whole(database, path, key)
        entries = EntrySum(key or b"")
        generations = Generations()
        dimensions: dict[str, set[int]] = {}
        done = 0
        for row in database.execute(
            "SELECT stream, sequence, subject, entity, headers, body, crc, id FROM entries ORDER BY stream, sequence"
        ):
            fact = _check_row(database, *row)
            if key is not None:
                entries.change(1, *row[:6])
            if isinstance(fact, GenerationFact):
                generations = generations.with_fact(fact, row[1])
            elif isinstance(fact, _FACTS_WITH_VECTOR):
                dimensions.setdefault(fact.generation, set()).add(len(fact.vector) // FLOAT_BYTES)
            yield (done := done + 1)
        _check_dimensions(generations, dimensions)
        if key is not None and (head is None or not are_entries_authentic(head, entries)):
            raise _not_authentic_error(path, "entries were added, changed or removed")
        _check_letters(database)
        _check_consequences(database)
        for store, name, data in database.execute("SELECT store, name, data FROM blobs WHERE data IS NOT NULL"):
            if store not in (BLOBS, QUERIES) or hashlib.sha256(data).hexdigest() != name:
                raise Malformed(f"blob {name} was changed")
            yield (done := done + 1)
        _check_state(database)
        _check_consumers(database, generations)
    except Malformed as error:
        raise damaged_archive_error(path, escape_reason(str(error))) from None


def check_entry(entry: ArchivedEntry) -> Fact | None:
    """Return the fact of an entry, None for a dead letter, whose body may be anything.

    Raises Malformed if this is no entry that MapSeek records in that stream, on that subject and with those headers.
    """
    for name, value in entry.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise Malformed(f"its header {name[:50]!a} is none that MapSeek writes")
    header_bytes = sum(len(f"{name}: {value}\r\n".encode()) for name, value in entry.headers.items())
    if header_bytes > MAX_HEADERS_BYTES or header_bytes + len(entry.body) > MAX_MESSAGE_BYTES:
        raise Malformed("it is larger than the server accepts")
    if entry.stream not in _LETTER_STREAMS:
        return _check_fact(entry)
    _check_letter(entry)
    return None


def _not_authentic_error(path: Path, reason: str) -> MapSeekError:
    return MapSeekError(
        f"The archive {path} is not authentic ({reason}): "
        "give the key of the installation that wrote it, or use another copy of it."
    )


def _check_whole(database: sqlite3.Connection, path: Path, key: bytes | None) -> Head | None:
    """Check the pages, the types and sizes of all values, and the head. Return the head if the archive is authenticated."""
    if [row[0] for row in database.execute("PRAGMA integrity_check(1)")] != ["ok"]:
        raise Malformed("its pages do not fit together")
    is_authenticated = read_format(database) == ARCHIVE_FORMAT
    for table, columns in _VALUES.items():
        _check_values(database, table, {**columns, **_HEAD_VALUES} if table == "exports" and is_authenticated else columns)
    if database.execute(
        "SELECT 1 FROM blobs WHERE NOT (data IS NULL OR typeof(data) = 'blob' AND length(data) <= ?)", (MAX_BLOB_BYTES,)
    ).fetchone():
        raise Malformed("its table blobs has a value in data that MapSeek does not write")
    heads = database.execute("SELECT archive, made_at, digest FROM exports ORDER BY number DESC").fetchall()
    if not heads:
        raise Malformed("no export to it was completed")
    archive, made_at, digest = heads[0]
    if not _ARCHIVE_ID.fullmatch(archive) or not _is_time(made_at) or (is_authenticated and len(heads) > 1):
        raise Malformed("its head is none that MapSeek writes")
    if not is_authenticated:
        if key is not None:
            raise MapSeekError(
                f"The archive {path} has an earlier format without authentication: "
                "import it with --unauthenticated if you trust where it was kept."
            )
        head = None
    else:
        head = read_head(database)
    if key is not None and (head is None or not is_head_authentic(database, head, key)):
        raise _not_authentic_error(path, "the key is another one, or its head or its settings were changed")
    if digest != compute_settings_digest(database):
        raise Malformed("its settings were changed")
    if head is not None and head.entries != count_rows(database, "entries"):
        raise Malformed("entries are missing or were added")
    for name, created, last in database.execute("SELECT name, created, last FROM streams").fetchall():
        if name not in EXPORTED_STREAMS or (created and not _is_time(created)):
            raise Malformed(f"its stream {name[:50]!a} is none that is exported")
        if database.execute("SELECT 1 FROM entries WHERE stream = ? AND sequence > ?", (name, last)).fetchone():
            raise Malformed(f"an entry of {name} is behind the end of its stream")
    return head


def _check_values(database: sqlite3.Connection, table: str, columns: Mapping[str, tuple[str, int]]) -> None:
    for name, (kind, limit) in columns.items():
        size = {"text": f"length(CAST({name} AS BLOB))", "blob": f"length({name})", "integer": name}[kind]
        # The names and limits are our own.
        fits = f"typeof({name}) = '{kind}' AND {size} BETWEEN 0 AND {limit}"
        if database.execute(f"SELECT 1 FROM {table} WHERE NOT ({fits}) LIMIT 1").fetchone():  # noqa: S608
            raise Malformed(f"its table {table} has a value in {name} that MapSeek does not write")


def _check_row(
    database: sqlite3.Connection,
    stream: str,
    sequence: int,
    subject: str,
    entity: str,
    headers: str,
    body: bytes,
    crc: int,
    row: int,
) -> Fact | None:
    """Check one row of `entries`, with the rows of `uses` that follow from it. Return its fact, None for a dead letter."""
    if stream not in EXPORTED_STREAMS or not database.execute("SELECT 1 FROM streams WHERE name = ?", (stream,)).fetchone():
        raise Malformed(f"its stream {stream[:50]!a} is none that is exported")
    where = f"entry {sequence} of {stream}"
    if sequence < 1:
        raise Malformed(f"{where} has no position")
    if checksum(subject, headers, body) != crc:
        raise Malformed(f"{where} was changed")
    try:
        entry = ArchivedEntry(stream, sequence, subject, read_headers(headers), body)
        fact = check_entry(entry)
    except Malformed as error:
        raise Malformed(f"{where}: {error}") from None
    if left_out := find_left_out(entry):
        raise Malformed(f"{where} is about {left_out}, and archives have none")
    if entry.entity != entity:
        raise Malformed(f"{where} is about something else than the archive says")
    uses = set(database.execute("SELECT store, name FROM uses WHERE entry = ?", (row,)).fetchall())
    if uses != list_entry_blobs(entry):
        raise Malformed(f"{where} has other blobs than the archive says")
    return fact


def _check_dimensions(generations: Generations, found: Mapping[str, set[int]]) -> None:
    """Check that all vectors of a generation have as many dimensions as its encoder makes: an index holds no others."""
    for name, dimensions in found.items():
        generation = generations.known.get(name)
        if len(dimensions | ({generation.dimensions} if generation else set())) > 1:
            raise Malformed(f"generation {name} has vectors of different dimensions")


def _check_letters(database: sqlite3.Connection) -> None:
    """Check that a dead letter names the subject of the entry that failed, if that is in the archive."""
    for stream in _LETTER_STREAMS:
        for letter in list_archived_entries(database, stream):
            key = parse_dead_letter(letter.subject)
            position = (LANES[key.family], int(key.sequence))
            failed = database.execute("SELECT subject FROM entries WHERE stream = ? AND sequence = ?", position).fetchone()
            if failed is not None and failed[0] != letter.headers["mapseek-subject"]:
                raise Malformed(f"entry {letter.sequence} of {stream} is the dead letter of another entry than it says")


def _check_fact(entry: ArchivedEntry) -> Fact:
    type_name, version = parse_subject(entry.subject)
    kind = FACTS.get(type_name)
    if kind is None or stream_of(kind) != entry.stream:
        raise Malformed(f"{entry.subject} is no subject of this stream")
    fact = decode_fact(entry.subject, entry.headers, entry.body).fact
    _check_numbers(fact.model_dump())
    if (
        isinstance(fact, _FACTS_WITH_VECTOR)
        and not 0 < np.linalg.norm(np.frombuffer(fact.vector, "<f4").astype(np.float64)) < np.inf
    ):
        raise Malformed("its vector is zero or not finite")
    about = {"ce-id": entry.subject, "ce-type": f"mapseek.{type_name}.v{version}"}
    wrong = [name for name, value in about.items() if entry.headers.get(name, value) != value]
    if "ce-time" in entry.headers and not _is_time(entry.headers["ce-time"]):
        wrong.append("ce-time")
    if wrong:
        raise Malformed(f"its header {wrong[0]} does not fit its subject")
    return fact


def _check_numbers(value: object) -> None:
    """Raise Malformed if a number anywhere in a value is too large to be stored, or not finite."""
    if isinstance(value, dict):
        _check_numbers(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check_numbers(each)
    elif isinstance(value, (int, float)) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise Malformed("a number in it is too large or not finite")


def _check_letter(entry: ArchivedEntry) -> None:
    key, headers = parse_dead_letter(entry.subject), entry.headers
    build = failure_subject if entry.stream == FAILURES else retry_subject
    if entry.subject != build(*key):
        raise Malformed(f"{entry.subject} is no subject of this stream")
    if missing := [name for name in _NEEDED_LETTER_HEADERS if name not in headers]:
        raise Malformed(f"its header {missing[0]} is missing")
    wrong = [name for name in _LETTER_NUMBERS if not _NUMBER.fullmatch(headers.get(name, "0"))]
    same = {
        "mapseek-stage": key.stage,
        "mapseek-family": key.family,
        "mapseek-stream": LANES.get(key.family, DISCORD),
        "mapseek-sequence": key.sequence,
        "mapseek-generation": key.generation or "",
    }
    wrong += [name for name, value in same.items() if headers.get(name, value) != value]
    tokens = headers["mapseek-subject"].split(".")
    if tokens[:2] != ["mapseek", key.family] or not all(map(_LANE_TOKEN.fullmatch, tokens)):
        wrong.append("mapseek-subject")
    if wrong:
        raise Malformed(f"its header {wrong[0]} does not fit its subject")


def _check_consequences(database: sqlite3.Connection) -> None:
    """Check the tables that follow from the entries: `removed`, `blobs` and `uses`."""
    for reason, query, *values in (
        (
            "it lacks a removed image",
            "SELECT entity FROM entries WHERE subject GLOB ? EXCEPT SELECT entity FROM removed",
            _TOMBSTONES,
        ),
        (
            "an image is removed that has no tombstone",
            "SELECT entity FROM removed EXCEPT SELECT entity FROM entries WHERE subject GLOB ?",
            _TOMBSTONES,
        ),
        (
            "it has entries about a removed image",
            "SELECT 1 FROM entries WHERE entity IN (SELECT entity FROM removed) AND NOT subject GLOB ?",
            _TOMBSTONES,
        ),
        (
            "a fact is in it twice",
            "SELECT 1 FROM entries WHERE stream NOT IN (?, ?) GROUP BY stream, subject HAVING count(*) > 1",
            *_LETTER_STREAMS,
        ),
        ("a blob belongs to no entry", "SELECT 1 FROM uses WHERE NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = uses.entry)"),
        ("it has a blob that no entry names", "SELECT store, name FROM blobs EXCEPT SELECT store, name FROM uses"),
        ("it lacks a blob that an entry names", "SELECT store, name FROM uses EXCEPT SELECT store, name FROM blobs"),
    ):
        if database.execute(f"{query} LIMIT 1", values).fetchone():
            raise Malformed(reason)


def _check_state(database: sqlite3.Connection) -> None:
    for key, value in database.execute("SELECT key, value FROM state"):
        try:
            parse_document(key, value)
        except Malformed as error:
            raise Malformed(f"its document {key[:100]!a} is none that MapSeek writes: {error}") from None


def list_consumer_configs(generations: Generations) -> Mapping[tuple[str, str], Sequence[bytes]]:
    """Return, by stream and name of every consumer that the stages need, the encoded configurations that it may have."""
    return {
        (durable.stream, durable.name): [_encode_config(config.as_dict()) for config in list_first_configs(durable)]
        for durable in plan_consumers(STAGES, generations)
    }


def _encode_config(config: Mapping[str, Any]) -> bytes:
    """Encode the configuration of a consumer, so that two are the same if their bytes are."""
    return orjson.dumps(config, option=orjson.OPT_SORT_KEYS)


def _check_consumers(database: sqlite3.Connection, generations: Generations) -> None:
    """Check that this release would make the consumers just so, and that their positions are in their streams."""
    known = list_consumer_configs(generations)
    ends = dict(database.execute("SELECT name, last FROM streams").fetchall())
    for stream, name, text, floor in database.execute("SELECT stream, name, config, floor FROM durables"):
        try:
            config: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            config = None
        if not isinstance(config, dict) or _encode_config(_without_defaults(config)) not in known.get((stream, name), ()):
            raise Malformed(f"its consumer {name[:100]!a} is none that MapSeek makes")
        if floor > ends.get(stream, -1):
            raise Malformed(f"its consumer {name[:100]!a} is behind the end of its stream")


def _without_defaults(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in config.items() if not (name in _SERVER_DEFAULTS and type(value) is int and 0 <= value <= 512)
    }


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
