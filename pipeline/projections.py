"""The vector index as a projection of the log: snapshot, catch-up, then live; it can always be thrown away and rebuilt."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

import structlog
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.events import Fact, ImageEmbedded, ImageRemoved
from contracts.ports import Neighbour
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.nats.tail import follow, readable
from infra.vectors.index import EmbeddedIndex
from infra.vectors.snapshot import load, save

log = structlog.get_logger()

SNAPSHOT_EVERY_S = 60.0
FRESH_WITHIN_S = 1.0


class ProjectedIndex:
    """The VectorSearch port over the embedded index; a search sees every vector that was recorded before it was asked."""

    def __init__(self, client: Client, index: EmbeddedIndex) -> None:
        self._client = client
        self._index = index
        self._moved = asyncio.Condition()
        self._failure: Exception | None = None

    @property
    def position(self) -> int:
        """The stream sequence up to which the log is applied."""
        return self._index.position

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        with suppress(TimeoutError):
            async with asyncio.timeout(FRESH_WITHIN_S):
                await self.reached(await self._last_vector_of(guild_id))
        return await self._index.search(guild_id, generation, vector, top=top, channels=channels)

    async def like(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        return await self._index.like(guild_id, generation, image_id, at_least=at_least, top=top, channels=channels)

    async def _last_vector_of(self, guild_id: str) -> int:
        try:
            message = await self._client.jetstream().get_last_msg(IMAGES, guild_filter(ImageEmbedded, guild_id))
        except NotFoundError:
            return 0
        return message.seq or 0

    async def reached(self, sequence: int) -> None:
        """Wait until the log is applied up to that sequence."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._failure is not None or self._index.position >= sequence)
        if self._failure is not None:
            raise RuntimeError("the vector index does not follow the log any more") from self._failure

    async def catch_up(self) -> None:
        """Apply the log for ever. If that fails, every later search fails too, rather than answer from an old index."""
        try:
            await self._apply_log()
        except Exception as error:
            log.exception("the vector index stopped")
            self._failure = error
            async with self._moved:
                self._moved.notify_all()

    async def _apply_log(self) -> None:
        filters = [kind_filter(ImageEmbedded), kind_filter(ImageRemoved)]
        async for message in follow(self._client, IMAGES, filters, after=self._index.position):
            recorded = readable(message)
            if recorded is not None:
                _apply(self._index, recorded.fact)
            self._index.advance(message.metadata.sequence.stream)
            async with self._moved:
                self._moved.notify_all()


def _apply(index: EmbeddedIndex, fact: Fact) -> None:
    if isinstance(fact, ImageEmbedded):
        index.add(fact.guild_id, fact.generation, fact.image_id, fact.audience, fact.vector)
    elif isinstance(fact, ImageRemoved):
        index.remove(fact.image_id)


@asynccontextmanager
async def projected_index(client: Client, folder: Path) -> AsyncIterator[ProjectedIndex]:
    """Load the snapshot in `folder`, catch up with the log, and keep following it; a snapshot is written now and at the end.

    Several processes may share the folder: the first one writes the snapshots, all of them load.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = await asyncio.to_thread(load, folder) or EmbeddedIndex()
    restored = index.position
    projected = ProjectedIndex(client, index)
    with (folder / "snapshot.lock").open("w") as lock:
        writes = _takes(lock)
        target = await _last_change(client)
        tasks = [asyncio.create_task(projected.catch_up())]
        try:
            await projected.reached(target)
            log.info("vector index ready", vectors=len(index), restored_to=restored, position=index.position)
            if writes:
                tasks.append(asyncio.create_task(_keep_saving(index, folder)))
            yield projected
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if writes and index.position > restored:
                await asyncio.to_thread(save, index, folder)


def _takes(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


async def _last_change(client: Client) -> int:
    """The sequence of the last entry that the index is made of."""
    last = 0
    for kind in (ImageEmbedded, ImageRemoved):
        with suppress(NotFoundError):
            message = await client.jetstream().get_last_msg(IMAGES, kind_filter(kind))
            last = max(last, message.seq or 0)
    return last


async def _keep_saving(index: EmbeddedIndex, folder: Path) -> None:
    saved = index.position
    while True:
        await asyncio.sleep(SNAPSHOT_EVERY_S)
        if index.position > saved:
            saved = index.position
            await asyncio.to_thread(save, index, folder)
