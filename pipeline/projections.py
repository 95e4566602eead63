"""The vector index as a projection of the log: snapshot, catch-up, then live; it can always be thrown away and rebuilt."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

import structlog
from nats.aio.client import Client

from contracts.events import Fact, ImageEmbedded, ImageRemoved
from contracts.ports import Neighbour
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.nats.following import Following
from infra.nats.lookup import last_on
from infra.nats.tail import follow, readable
from infra.vectors.index import EmbeddedIndex
from infra.vectors.snapshot import load, save

log = structlog.get_logger()

FOLLOWED = (kind_filter(ImageEmbedded), kind_filter(ImageRemoved))
"""What the index is made of."""

SNAPSHOT_EVERY_S = 60.0
FRESH_WITHIN_S = 1.0


class ProjectedIndex:
    """The VectorSearch port over the embedded index; a search sees every vector that was recorded before it was asked."""

    def __init__(self, client: Client, index: EmbeddedIndex) -> None:
        self._client = client
        self._index = index
        self._following = Following("the vector index does not follow the log any more")

    @property
    def position(self) -> int:
        """The stream sequence up to which the log is applied."""
        return self._index.position

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        with suppress(TimeoutError):
            async with asyncio.timeout(FRESH_WITHIN_S):
                await self.reached(await last_on(self._client.jetstream(), IMAGES, guild_filter(ImageEmbedded, guild_id)))
        return await self._index.search(guild_id, generation, vector, top=top, channels=channels)

    async def like(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        return await self._index.like(guild_id, generation, image_id, at_least=at_least, top=top, channels=channels)

    async def reached(self, sequence: int) -> None:
        """Wait until the log is applied up to that sequence."""
        await self._following.until(lambda: self._index.position >= sequence)

    async def catch_up(self) -> None:
        """Apply the log for ever. If that fails, every later search fails too, rather than answer from an old index."""
        try:
            await self._apply_log()
        except Exception as error:
            log.exception("the vector index stopped")
            await self._following.failed(error)

    async def _apply_log(self) -> None:
        async for message in follow(self._client, IMAGES, FOLLOWED, after=self._index.position):
            recorded = readable(message)
            if recorded is not None:
                _apply(self._index, recorded.fact)
            self._index.advance(message.metadata.sequence.stream)
            await self._following.moved()


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
    return max([await last_on(client.jetstream(), IMAGES, subjects) for subjects in FOLLOWED])


async def _keep_saving(index: EmbeddedIndex, folder: Path) -> None:
    saved = index.position
    while True:
        await asyncio.sleep(SNAPSHOT_EVERY_S)
        if index.position > saved:
            saved = index.position
            await asyncio.to_thread(save, index, folder)
