"""Opening an index: its snapshot is loaded, brought up to the log, and written again from time to time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import IO, Any, TypeVar

import structlog

from infra.nats.connection import Client
from infra.tasks import cancel
from infra.vectors.snapshot import LOCK, takes
from pipeline.index.answering import answering
from pipeline.index.following import Projected
from pipeline.index.kinds import AnyIndex, Kind
from pipeline.index.playing import last_change
from pipeline.index.projected import VECTORS, ProjectedIndex

P = TypeVar("P", bound=Projected[Any])

log = structlog.get_logger()

SNAPSHOT_EVERY_S = 60.0


class Snapshots:
    """Writes snapshots of an index into a folder, one at a time; nothing where another process does it already."""

    def __init__(self, projected: Projected[Any], folder: Path, lock: IO[str]) -> None:
        self._projected = projected
        self._folder = folder
        self._writes = takes(lock)
        self._writing = Lock()
        self._saved: tuple[Any, int] = projected.index, projected.position

    async def keep_saving(self) -> None:
        """Save what is new every minute, for ever."""
        while True:
            await asyncio.sleep(SNAPSHOT_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Save the index, unless it is as it was saved last."""
        now = self._projected.index, self._projected.position
        if self._writes and now != self._saved:
            self._saved = now
            await asyncio.to_thread(self._save, now[0])

    def _save(self, index: Any) -> None:
        with self._writing:
            self._projected.kind.save(index, self._folder)


@asynccontextmanager
async def projected_index(client: Client, folder: Path) -> AsyncIterator[ProjectedIndex]:
    """The vector index, followed from its snapshot in `folder` (see `opened`)."""
    async with opened(client, VECTORS, folder, ProjectedIndex) as index:
        yield index


@asynccontextmanager
async def opened(
    client: Client, kind: Kind[AnyIndex], folder: Path, projecting: Callable[[Client, Kind[AnyIndex], AnyIndex, Path], P]
) -> AsyncIterator[P]:
    """Load the snapshot in `folder`, catch up with the log, and keep following it; a snapshot is written now and at the end.

    Several processes may share the folder: the first one writes the snapshots, all of them load. Whoever asks on the log's server
    has the index rebuilt (pipeline/index/answering.py).
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = await asyncio.to_thread(kind.load, folder) or kind.empty(folder)
    restored = index.position
    projected = projecting(client, kind, index, folder)
    with (folder / LOCK).open("w") as lock:
        snapshots = Snapshots(projected, folder, lock)
        target = await last_change(client, kind)
        tasks = [asyncio.create_task(projected.catch_up())]
        try:
            await projected.reached(target)
            log.info(f"{kind.name} ready", entries=len(projected), restored_to=restored, position=projected.position)
            tasks.append(asyncio.create_task(snapshots.keep_saving()))
            async with answering(client, kind.name, projected, snapshots.save):
                yield projected
        finally:
            await cancel(*tasks)
            await snapshots.save()
