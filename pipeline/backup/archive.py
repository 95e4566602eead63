"""The archive file: a SQLite database. What is cut short leaves it as it was, and what is erased is overwritten in it.

After a crash in the middle of an export, what was half done is in a file of the same name with `-journal` behind it: it belongs to
the archive, and the next command that opens the archive makes it whole again.
"""

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from contracts.errors import MapSeekError
from contracts.subjects import ALERTS, FAILURES, IMAGES, INCIDENTS, JUDGEMENTS, REMOVALS, RETRIES

EXPORTED = (FAILURES, RETRIES, IMAGES, JUDGEMENTS, ALERTS, REMOVALS, INCIDENTS)
"""A letter is put back before it is deleted, and worked on before that is deleted: so their logs are read in this order."""


APPLICATION_ID = 0x4D617053
"""Tells an archive from any other database ("MapS")."""

FORMAT = 1

SCHEMA = """
CREATE TABLE exports (number INTEGER PRIMARY KEY, archive TEXT, made_at TEXT, digest TEXT);
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
"""`streams` says up to which sequence a log is exported, and how many entries it held then. A blob without data is to come."""

_KEPT_BESIDE = ("SELECT * FROM streams ORDER BY 1", "SELECT * FROM durables ORDER BY 1, 2", "SELECT * FROM state ORDER BY 1")


@contextmanager
def open_archive(path: Path, *, new: bool = False) -> Iterator[sqlite3.Connection]:
    """The archive at `path`, made if it is not there and may be `new`. Raises MapSeekError for what is none, or is damaged."""
    if not new and not path.is_file():
        raise MapSeekError(f"There is no archive at {path}: name the file that `mapseek export` wrote.")
    try:
        database = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise MapSeekError(f"The archive {path} cannot be opened ({error}): correct its path or its permissions.") from None
    try:
        _prepare(database, path)
        yield database
    except sqlite3.OperationalError as error:
        raise MapSeekError(f"The archive {path} cannot be used ({error}): free the disk, or wait for others that use it.") from None
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from None
    finally:
        database.close()


def damaged(path: Path, reason: str) -> MapSeekError:
    """What is said of an archive that cannot be trusted."""
    return MapSeekError(
        f"The archive {path} is damaged or no archive ({reason}): take another copy of it, or export to a new file."
    )


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA secure_delete = ON")
    [[pages]], [[size]] = database.execute("PRAGMA page_count"), database.execute("PRAGMA page_size")
    [[application]], [[version]] = database.execute("PRAGMA application_id"), database.execute("PRAGMA user_version")
    if pages == 0:
        begun = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}"
        database.executescript(f"BEGIN EXCLUSIVE; {SCHEMA} {begun}; COMMIT")
    elif application != APPLICATION_ID:
        raise damaged(path, "it is another program's database")
    elif version > FORMAT:
        raise MapSeekError(f"The archive {path} was written by a newer MapSeek: install that one first.")
    elif pages * size != path.stat().st_size:
        raise damaged(path, "it is cut short")


@contextmanager
def at_once(database: sqlite3.Connection) -> Iterator[None]:
    """All changes within, or none of them."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def finish_export(database: sqlite3.Connection, made_at: str) -> None:
    """Note that the archive holds one more state of the log."""
    last = database.execute("SELECT archive FROM exports ORDER BY number DESC").fetchone()
    row = (last[0] if last else uuid4().hex, made_at, _digest(database))
    database.execute("INSERT INTO exports (archive, made_at, digest) VALUES (?, ?, ?)", row)


def identity(database: sqlite3.Connection) -> str | None:
    """Which archive it is, in which state; None before the first export is through."""
    last = database.execute("SELECT archive || '.' || number FROM exports ORDER BY number DESC").fetchone()
    return str(last[0]) if last else None


def checksum(subject: str, headers: str, body: bytes) -> int:
    """What an entry is known to be whole by."""
    return zlib.crc32(body, zlib.crc32(f"{subject}\n{headers}\n".encode()))


def checked(database: sqlite3.Connection, path: Path) -> Iterator[int]:
    """Read everything, and yield how many entries and blobs are whole so far. Raises MapSeekError for the first that is not."""
    if [row[0] for row in database.execute("PRAGMA quick_check")] != ["ok"]:
        raise damaged(path, "its pages do not fit together")
    last = database.execute("SELECT digest FROM exports ORDER BY number DESC").fetchone()
    if last is None:
        raise damaged(path, "no export to it came to its end")
    if last[0] != _digest(database):
        raise damaged(path, "its settings were changed")
    whole = 0
    for stream, sequence, crc, *entry in database.execute("SELECT stream, sequence, crc, subject, headers, body FROM entries"):
        if checksum(*entry) != crc:
            raise damaged(path, f"entry {sequence} of {stream} was changed")
        yield (whole := whole + 1)
    for name, data in database.execute("SELECT name, data FROM blobs WHERE data IS NOT NULL"):
        if hashlib.sha256(data).hexdigest() != name:
            raise damaged(path, f"blob {name} was changed")
        yield (whole := whole + 1)


def _digest(database: sqlite3.Connection) -> str:
    rows: Iterable[object] = (row for query in _KEPT_BESIDE for row in database.execute(query))
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()
