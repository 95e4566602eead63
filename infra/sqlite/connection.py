"""One SQLite connection on a thread of its own, with outages told apart from bugs."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from contracts.errors import Unavailable

T = TypeVar("T")

_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes that say something about the file or its disk; any other error is a bug in a statement."""


class SqliteConnection:
    """Runs functions on one connection, one after the other, in one thread: the event loop is never blocked."""

    def __init__(self, path: Path, busy_timeout_s: float, name: str) -> None:
        self._database = open_connection(path, busy_timeout_s)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns. Raises Unavailable when the file cannot be used now: locked, disk full, not writable, damaged."""
        with translate_outages():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._database)

    async def close(self) -> None:
        """Let the work in hand end, then close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._database.close()


def open_connection(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection in autocommit mode, for any one thread at a time.

    `synchronous` is FULL: a fact is acknowledged once it is catalogued and never delivered again, so what is committed must survive
    a power cut too, or the projection would miss it in silence. What is erased is overwritten (`secure_delete`), whatever SQLite's
    own default is here.
    """
    database = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")
    return database


def is_outage(error: sqlite3.Error) -> bool:
    """Whether the file or its disk is to blame, rather than the statement."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _OUTAGES


@contextmanager
def translate_outages() -> Iterator[None]:
    """Turn the errors of a file that cannot be used now into Unavailable."""
    try:
        yield
    except sqlite3.Error as error:
        if is_outage(error):
            raise Unavailable("catalogue", f"SQLite says: {error}") from error
        raise


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing. Takes the write lock at once, so that what is read inside cannot be overtaken by another process."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
