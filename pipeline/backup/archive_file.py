"""The archive file: a SQLite database with log entries, blobs and settings; and the summary of an export or import.

An interrupted change leaves the file as it was, and erased data is overwritten. After a crash during an export there is a second
file with the same name and `-journal` at its end. It belongs to the archive: the next command that opens the archive uses it to
repair it.

Log entries are stored as they are in the log, without the headers that only tell the server how to record them.
"""

import hashlib
import os
import re
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from contracts.errors import Malformed, MapSeekError
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
from contracts.subjects import (
    ALERTS,
    FAILURES,
    IMAGES,
    INCIDENTS,
    JUDGEMENTS,
    MESSAGE,
    REMOVALS,
    RETRIES,
    kind_filter,
    parse_dead_letter,
    parse_subject,
)
from contracts.text import escape_controls
from infra.nats.reader import decode_fact
from stages.erase import list_blobs

EXPORTED_STREAMS = (FAILURES, RETRIES, IMAGES, JUDGEMENTS, ALERTS, REMOVALS, INCIDENTS)
"""The streams in the order in which they are read.

A dead letter is first put into RETRIES and then deleted from FAILURES. A retry is first handled and then deleted from RETRIES. So
in this order no work on its way between two streams is missed.
"""

ARCHIVE_APPLICATION_ID = 0x4D617053
"""The id in the database file ("MapS") by which we tell an archive from any other database."""

ARCHIVE_FORMAT = 2
"""The format that is written. Archives of format 1 have no authentication; they can be imported, but not continued."""

_SETTINGS_QUERIES = ("SELECT * FROM streams ORDER BY 1", "SELECT * FROM durables ORDER BY 1, 2", "SELECT * FROM state ORDER BY 1")

BLOBS, QUERIES = "blobs", "questions"
"""The two blob stores: archived pictures, and the pictures of queries."""

_KINDS_WITH_BLOBS = {
    kind.type_name() for kind in (ImagePosted, ImageDownloaded, ImagePreprocessed, ImageFingerprinted, SearchJudged, AlertSet)
}
TOMBSTONE_PREFIX = kind_filter(ImageRemoved).partition("*")[0]

_FIRST_EXPORTS_COLUMNS = "number INTEGER PRIMARY KEY, archive TEXT, made_at TEXT, digest TEXT"
_EXPORTS_COLUMNS = {
    1: _FIRST_EXPORTS_COLUMNS,
    2: f"{_FIRST_EXPORTS_COLUMNS}, entries INTEGER, nonce BLOB, combination BLOB, mac BLOB",
}
"""By format: the columns of the table with the head of the archive. Format 1 kept the heads of earlier exports, too."""

SCHEMA = """
CREATE TABLE exports ({exports});
CREATE TABLE streams (name TEXT PRIMARY KEY, created TEXT, last INTEGER, held INTEGER);
CREATE TABLE durables (stream TEXT, name TEXT, config TEXT, floor INTEGER, PRIMARY KEY (stream, name));
CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB);
CREATE TABLE entries (
  id INTEGER PRIMARY KEY, stream TEXT, sequence INTEGER, subject TEXT, entity TEXT, headers TEXT, body BLOB, crc INTEGER,
  UNIQUE (stream, sequence)
);
CREATE INDEX entities ON entries (entity);
CREATE TABLE removed (entity TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE blobs (store TEXT, name TEXT, data BLOB, UNIQUE (store, name));
CREATE TABLE uses (entry INTEGER REFERENCES entries ON DELETE CASCADE, store TEXT, name TEXT, PRIMARY KEY (entry, store, name))
  WITHOUT ROWID;
CREATE INDEX users ON uses (store, name);
"""
"""`streams` has the position up to which a stream is exported, and how many entries it had then.

A blob without data is yet to come.
"""

MAX_REASON_CHARACTERS = 300
"""The most characters that are shown of why a file is refused."""

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""A journal ends with these bytes if the name of another journal precedes them."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def require_archive_file(path: Path) -> None:
    """Raise MapSeekError if there is no file at `path`."""
    if not path.is_file():
        raise MapSeekError(f"There is no archive at {path}: name a file that `mapseek export` wrote.")


@contextmanager
def open_archive_file(path: Path, *, new: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the archive at `path`. Create it if `new` and it does not exist.

    A `new` archive is to be written: only its owner may read it from now on, whatever the umask. Raises MapSeekError if the file is
    no archive, is damaged or cannot be used.
    """
    if not new:
        require_archive_file(path)
    try:
        if new:
            _create_privately(path)
        _refuse_other_files(path)
        database = sqlite3.connect(path, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise MapSeekError(f"The archive {path} cannot be opened ({reason}): correct its path or its permissions.") from None
    try:
        _prepare(database, path, new=new)
        if new:
            _make_private(path)
        yield database
    except sqlite3.OperationalError as error:
        raise MapSeekError(
            f"The archive {path} cannot be used ({escape_reason(str(error))}): "
            "free space on the disk, or wait until no other process uses it."
        ) from None
    except sqlite3.DatabaseError as error:
        raise damaged_archive_error(path, escape_reason(str(error))) from None
    except UnicodeDecodeError:
        # The text of an error of SQLite has a name from the file.
        raise damaged_archive_error(path, "a text in it is not UTF-8") from None
    finally:
        database.close()


def escape_reason(text: str) -> str:
    """Return the beginning of a text that has parts of a file, as it may be shown."""
    return escape_controls(text[:MAX_REASON_CHARACTERS])


def damaged_archive_error(path: Path, reason: str) -> MapSeekError:
    """Return the error for a file that is no whole archive."""
    return MapSeekError(f"The archive {path} is damaged or no archive ({reason}): use another copy of it, or export to a new file.")


def _create_privately(path: Path) -> None:
    """Create the file if it is missing. SQLite gives its journal the same permissions."""
    with suppress(FileExistsError):
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.fchmod(handle, 0o600)
        os.close(handle)


def _make_private(path: Path) -> None:
    try:
        path.chmod(0o600)
    except OSError as error:
        raise MapSeekError(
            f"The archive {path} cannot be made private ({error.strerror}): let this user own it, or export to a new file."
        ) from None


def _decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise sqlite3.DatabaseError("a text in it is not UTF-8") from None


def _refuse_other_files(path: Path) -> None:
    """Refuse a database with a write-ahead log, and a journal that names another file, which SQLite would delete."""
    with path.open("rb") as file:
        if 2 in file.read(20)[18:]:
            raise damaged_archive_error(path, "it is a database of another program")
    journal = path.with_name(f"{path.name}-journal")
    if journal.is_file():
        with journal.open("rb") as file:
            file.seek(max(1, file.seek(0, os.SEEK_END) - len(_JOURNAL_MAGIC)))
            if file.read() == _JOURNAL_MAGIC:
                raise damaged_archive_error(path, "its journal belongs to another database")


def _prepare(database: sqlite3.Connection, path: Path, *, new: bool) -> None:
    """Make the connection safe for a file from anywhere, and check that it has the tables of an archive and nothing else."""
    database.text_factory = _decode_text
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA secure_delete = ON")
    [[pages]], [[size]] = database.execute("PRAGMA page_count"), database.execute("PRAGMA page_size")
    [[application]], [[version]] = database.execute("PRAGMA application_id"), database.execute("PRAGMA user_version")
    if pages == 0 and new:
        header = f"PRAGMA application_id = {ARCHIVE_APPLICATION_ID}; PRAGMA user_version = {ARCHIVE_FORMAT}"
        database.executescript(f"BEGIN EXCLUSIVE; {_build_schema(ARCHIVE_FORMAT)} {header}; COMMIT")
    elif application != ARCHIVE_APPLICATION_ID:
        raise damaged_archive_error(path, "it is a database of another program")
    elif version > ARCHIVE_FORMAT:
        raise MapSeekError(f"The archive {path} was written by a newer version of MapSeek: install that version first.")
    elif pages * size != path.stat().st_size:
        raise damaged_archive_error(path, "its end is missing")
    elif new and version < ARCHIVE_FORMAT:
        raise MapSeekError(f"The archive {path} has an earlier format without authentication: export to a new file.")
    elif version not in _EXPORTS_COLUMNS or _read_schema(database) != _list_schema(version):
        raise damaged_archive_error(path, "its tables are not those of an archive")


def _build_schema(version: int) -> str:
    return SCHEMA.format(exports=_EXPORTS_COLUMNS[version])


def _list_schema(version: int) -> list[tuple[object, ...]]:
    """Return everything that a fresh archive of a format has in its schema."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_build_schema(version))
        return _read_schema(fresh)


def _read_schema(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    encoding = database.execute("PRAGMA encoding").fetchall()
    return encoding + database.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def read_format(database: sqlite3.Connection) -> int:
    """Return the format of an archive."""
    [[version]] = database.execute("PRAGMA user_version")
    return int(version)


def count_rows(database: sqlite3.Connection, table: str) -> int:
    """Return the number of rows of a table of the archive."""
    [[number]] = database.execute(f"SELECT count(*) FROM {table}")  # noqa: S608
    return int(number)


@contextmanager
def archive_transaction(database: sqlite3.Connection) -> Iterator[None]:
    """A transaction: make all changes inside it, or none of them."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def read_identity(database: sqlite3.Connection) -> str | None:
    """Return the archive's id and the number of its last export, or None before the first export is complete."""
    last = database.execute("SELECT archive || '.' || number FROM exports ORDER BY number DESC").fetchone()
    return str(last[0]) if last else None


def checksum(subject: str, headers: str, body: bytes) -> int:
    """Return the checksum by which a changed entry is detected."""
    return zlib.crc32(body, zlib.crc32(f"{subject}\n{headers}\n".encode()))


def compute_settings_digest(database: sqlite3.Connection) -> str:
    """Return the digest of everything that is neither an entry nor a blob, nor follows from the entries."""
    rows: Iterable[object] = (row for query in _SETTINGS_QUERIES for row in database.execute(query))
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ArchivedEntry:
    """One entry of one stream, as it is in the archive."""

    stream: str
    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def about(self) -> list[str]:
        """The tokens of its subject. For a dead letter: those of the entry that failed."""
        return self.headers.get("mapseek-subject", self.subject).split(".")

    @property
    def entity(self) -> str:
        """Guild and id of the image, search, alert or removal that it is about, with a dot between them."""
        return ".".join(self.about[4:6])


def to_archived_entry(stream: str, sequence: int, subject: str, headers: Mapping[str, str] | None, body: bytes) -> ArchivedEntry:
    """Build an entry of the archive from one of the log: leave out the headers that are for the server.

    Control characters in headers (the text of an error has some) are escaped, since an import accepts none.
    """
    kept = {
        name: _CONTROLS.sub(lambda control: f"\\x{ord(control[0]):02x}", value)
        for name, value in (headers or {}).items()
        if not name.lower().startswith("nats-")
    }
    return ArchivedEntry(stream, sequence, subject, kept, body)


def find_left_out(entry: ArchivedEntry) -> str | None:
    """Return what an entry is about if archives have nothing about that: a search, or a message of Discord that cannot be read.

    Archives have no searches: they are personal, and the log drops them in a week. They have no messages either: Discord has them,
    and an archive must not keep what is deleted there.
    """
    if entry.stream in (FAILURES, RETRIES):
        family = parse_dead_letter(entry.subject).family
    else:
        incident = parse_fact(entry) if entry.stream == INCIDENTS else None
        family = incident.lane if isinstance(incident, Incident) else ""
    return {SearchFact.family: "a search", MESSAGE: "a message of Discord"}.get(family)


def add_entry(database: sqlite3.Connection, entry: ArchivedEntry) -> None:
    """Add an entry to the archive, with the names of its blobs."""
    headers = orjson.dumps(entry.headers).decode()
    crc = checksum(entry.subject, headers, entry.body)
    row = database.execute(
        "INSERT INTO entries (stream, sequence, subject, entity, headers, body, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (entry.stream, entry.sequence, entry.subject, entry.entity, headers, entry.body, crc),
    ).lastrowid
    if entry.subject.startswith(TOMBSTONE_PREFIX):
        database.execute("INSERT OR IGNORE INTO removed VALUES (?)", (entry.entity,))
    for store, name in list_entry_blobs(entry):
        database.execute("INSERT OR IGNORE INTO blobs (store, name) VALUES (?, ?)", (store, name))
        database.execute("INSERT INTO uses VALUES (?, ?, ?)", (row, store, name))


def list_archived_entries(database: sqlite3.Connection, stream: str) -> Iterator[ArchivedEntry]:
    """Yield the entries of one stream in order. Raises Malformed if one was tampered with."""
    query = "SELECT sequence, subject, headers, body FROM entries WHERE stream = ? ORDER BY sequence"
    for sequence, subject, headers, body in database.execute(query, (stream,)):
        if not isinstance(subject, str):
            raise Malformed("its subject is no text")
        yield ArchivedEntry(stream, sequence, subject, read_headers(headers), body)


def read_headers(text: str) -> dict[str, str]:
    """Read the headers of an entry. Raises Malformed if they are no JSON object of texts."""
    try:
        headers = orjson.loads(text)
    except orjson.JSONDecodeError:
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise Malformed("its headers are no JSON object of texts")
    return headers


def list_entry_blobs(entry: ArchivedEntry) -> set[tuple[str, str]]:
    """List the blobs that an entry names, each with its store."""
    match parse_fact(entry, only=_KINDS_WITH_BLOBS):
        case ImageFact() as fact:
            return {(BLOBS, name) for name in list_blobs([fact])}
        case SearchJudged(pixels=str(name)) | AlertSet(pixels=name):
            return {(QUERIES, name)}
        case _:
            return set()


def parse_fact(entry: ArchivedEntry, only: Collection[str] | None = None) -> Fact | None:
    """Return the fact in an entry, or None if it is no readable fact or its kind is not in `only`."""
    try:
        if only is not None and parse_subject(entry.subject)[0] not in only:
            return None
        return decode_fact(entry.subject, entry.headers, entry.body).fact
    except Malformed:
        return None


@dataclass(slots=True)
class Summary:
    """What an export or an import did: entries by stream, blobs and their bytes. `missing` has the names of missing blobs.

    `refused` says of each entry and document that was not exported which it is, and why an import would refuse it.
    """

    entries: dict[str, int] = field(default_factory=dict)
    blobs: int = 0
    blob_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
