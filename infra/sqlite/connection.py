"""SQLite connections: one thread for each, outages told from bugs, and transactions."""

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
"""Primary result codes about the file or its disk. Any other error is a bug in a statement."""


class SqliteConnection:
    """Runs functions on one connection, one after the other, in one thread, so that the event loop is never blocked."""

    def __init__(self, path: Path, busy_timeout_s: float, name: str) -> None:
        self._database = open_connection(path, busy_timeout_s)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `work`. Raises Unavailable if the file cannot be used now: locked, disk full, read-only, damaged."""
        with translate_outages():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._database)

    async def close(self) -> None:
        """Wait for the running work, then close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._database.close()


def open_connection(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open a connection in autocommit mode, for one thread at a time.

    `synchronous` is FULL: once a fact is catalogued it is acknowledged and never delivered again. So a commit must survive a power
    cut, or the fact would be missing without notice. Deleted data is overwritten (`secure_delete`), whatever SQLite's default is.
    """
    database = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")
    return database


def is_outage(error: sqlite3.Error) -> bool:
    """Whether the error is about the file or its disk, not about the statement."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _OUTAGES


@contextmanager
def translate_outages() -> Iterator[None]:
    """Turn errors about a file that cannot be used now into Unavailable."""
    try:
        yield
    except sqlite3.Error as error:
        if is_outage(error):
            raise Unavailable("catalogue", f"SQLite says: {error}") from error
        raise


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run a transaction. It takes the write lock at once, so that no other process can change what it reads."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
