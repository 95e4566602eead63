"""Opening the vector index: its snapshot is loaded, brought up to the log, and written again from time to time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import IO

import structlog
from nats.aio.client import Client

from infra.vectors.index import EmbeddedIndex
from infra.vectors.lock import LOCK, takes
from infra.vectors.snapshot import load, save
from pipeline.index.answering import answering
from pipeline.index.playing import last_change
from pipeline.index.projected import ProjectedIndex

log = structlog.get_logger()

SNAPSHOT_EVERY_S = 60.0


class Snapshots:
    """Writes snapshots of an index into a folder, one at a time; nothing where another process does it already."""

    def __init__(self, projected: ProjectedIndex, folder: Path, lock: IO[str]) -> None:
        self._projected = projected
        self._folder = folder
        self._writes = takes(lock)
        self._writing = Lock()
        self._saved: tuple[EmbeddedIndex, int] = projected.index, projected.position

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

    def _save(self, index: EmbeddedIndex) -> None:
        with self._writing:
            save(index, self._folder)


@asynccontextmanager
async def projected_index(client: Client, folder: Path) -> AsyncIterator[ProjectedIndex]:
    """Load the snapshot in `folder`, catch up with the log, and keep following it; a snapshot is written now and at the end.

    Several processes may share the folder: the first one writes the snapshots, all of them load. Whoever asks on the log's server
    has the index rebuilt (pipeline/index/answering.py).
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = await asyncio.to_thread(load, folder) or EmbeddedIndex()
    restored = index.position
    projected = ProjectedIndex(client, index)
    with (folder / LOCK).open("w") as lock:
        snapshots = Snapshots(projected, folder, lock)
        target = await last_change(client)
        tasks = [asyncio.create_task(projected.catch_up())]
        try:
            await projected.reached(target)
            log.info("vector index ready", vectors=len(projected), restored_to=restored, position=projected.position)
            tasks.append(asyncio.create_task(snapshots.keep_saving()))
            async with answering(client, projected, snapshots.save):
                yield projected
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await snapshots.save()
