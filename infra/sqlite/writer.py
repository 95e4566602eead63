"""Group commit: writes that wait at the same time share one transaction, and so one wait for the disk."""

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from infra.sqlite.connection import SqliteConnection, is_outage, transaction, translate_outages

Work = Callable[[sqlite3.Connection], None]
PendingWrite = tuple[Work, Future[None]]


class Writer:
    """The only writing connection of a process."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._connection = SqliteConnection(path, busy_timeout_s, "catalogue-writer")
        self._waiting: deque[PendingWrite] = deque()

    async def write(self, work: Work) -> None:
        """Run `work` and return once it is committed. If nothing was committed, raise what `work` raised, or Unavailable."""
        outcome: Future[None] = Future()
        self._waiting.append((work, outcome))
        await self._connection.run(self._commit_waiting)  # this run commits it, unless an earlier run did
        with translate_outages():
            outcome.result(timeout=0)

    async def close(self) -> None:
        await self._connection.close()

    def _commit_waiting(self, database: sqlite3.Connection) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if batch:
            _commit(database, batch)


def _commit(database: sqlite3.Connection, batch: Sequence[PendingWrite]) -> None:
    try:
        with transaction(database):
            for work, _ in batch:
                work(database)
    except Exception as error:  # noqa: BLE001 (raised in the callers that wait)
        if len(batch) > 1 and not (isinstance(error, sqlite3.Error) and is_outage(error)):
            for waiting in batch:  # one of them is at fault; the others must not fail too
                _commit(database, [waiting])
            return
        for _, outcome in batch:
            outcome.set_exception(error)
    else:
        for _, outcome in batch:
            outcome.set_result(None)
