"""Log entries in the archive: as they are in the log, but for the headers that only tell the server how to record them."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import orjson

from contracts.errors import Malformed
from contracts.events import (
    AlertSet,
    Fact,
    ImageDownloaded,
    ImageFact,
    ImageFingerprinted,
    ImagePosted,
    ImagePreprocessed,
    ImageRemoved,
    Incident,
    SearchFact,
    SearchJudged,
)
from contracts.subjects import FAILURES, INCIDENTS, RETRIES, kind_filter, parse_letter, parse_subject
from infra.nats.reader import read
from pipeline.backup.archive import checksum
from stages.erase import blobs_of

BLOBS, QUESTIONS = "blobs", "questions"
"""The two blob stores: of archived pictures, and of those that people asked with."""

_NAME_BLOBS = {
    kind.type_name() for kind in (ImagePosted, ImageDownloaded, ImagePreprocessed, ImageFingerprinted, SearchJudged, AlertSet)
}
_TOMBSTONE = kind_filter(ImageRemoved).partition("*")[0]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of one log."""

    stream: str
    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def about(self) -> list[str]:
        """The tokens of the subject that it is about: its own, or for a dead letter that of the entry that failed."""
        return self.headers.get("mapseek-subject", self.subject).split(".")

    @property
    def entity(self) -> str:
        """Guild and id of the image, search, alert or removal that it is about."""
        return ".".join(self.about[4:6])


def entry_of(stream: str, sequence: int, subject: str, headers: Mapping[str, str] | None, body: bytes) -> Entry:
    """An entry as it is archived."""
    kept = {name: value for name, value in (headers or {}).items() if not name.lower().startswith("nats-")}
    return Entry(stream, sequence, subject, kept, body)


def is_of_a_search(entry: Entry) -> bool:
    """Whether it is about work on a question: those are personal and gone after a week, so they stay out of archives."""
    if entry.stream in (FAILURES, RETRIES):
        return parse_letter(entry.subject).family == SearchFact.family
    incident = fact_in(entry) if entry.stream == INCIDENTS else None
    return isinstance(incident, Incident) and incident.lane == SearchFact.family


def add(database: sqlite3.Connection, entry: Entry) -> None:
    """Put an entry into the archive, with the names of its blobs."""
    headers = orjson.dumps(entry.headers).decode()
    crc = checksum(entry.subject, headers, entry.body)
    row = database.execute(
        "INSERT INTO entries (stream, sequence, subject, entity, headers, body, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (entry.stream, entry.sequence, entry.subject, entry.entity, headers, entry.body, crc),
    ).lastrowid
    if entry.subject.startswith(_TOMBSTONE):
        database.execute("INSERT OR IGNORE INTO removed VALUES (?)", (entry.entity,))
    for store, name in _blobs_of(entry):
        database.execute("INSERT OR IGNORE INTO blobs (store, name) VALUES (?, ?)", (store, name))
        database.execute("INSERT INTO uses VALUES (?, ?, ?)", (row, store, name))


def entries(database: sqlite3.Connection, stream: str) -> Iterator[Entry]:
    """What the archive has of one log, in order."""
    query = "SELECT sequence, subject, headers, body FROM entries WHERE stream = ? ORDER BY sequence"
    for sequence, subject, headers, body in database.execute(query, (stream,)):
        yield Entry(stream, sequence, subject, orjson.loads(headers), body)


def _blobs_of(entry: Entry) -> set[tuple[str, str]]:
    match fact_in(entry, only=_NAME_BLOBS):
        case ImageFact() as fact:
            return {(BLOBS, name) for name in blobs_of([fact])}
        case SearchJudged(pixels=str(name)) | AlertSet(pixels=name):
            return {(QUESTIONS, name)}
        case _:
            return set()


def fact_in(entry: Entry, only: Collection[str] | None = None) -> Fact | None:
    """The fact that it is, None for bytes that are none and for kinds that are not looked for."""
    try:
        if only is not None and parse_subject(entry.subject)[0] not in only:
            return None
        return read(entry.subject, entry.headers, entry.body).fact
    except Malformed:
        return None
