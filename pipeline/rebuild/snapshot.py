"""The snapshot of a vector index that no process has open, made anew from the log or compared with it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from nats.aio.client import Client

from contracts.errors import MapSeekError
from infra.vectors.index import EmbeddedIndex
from infra.vectors.lock import LOCK, takes
from infra.vectors.snapshot import load, save
from pipeline.index.comparing import IndexComparison, compared
from pipeline.index.playing import last_change, play


async def rebuild_snapshot(
    client: Client, folder: Path, *, verify: bool, progress: Callable[[int, int], None]
) -> IndexComparison | None:
    """Make the snapshot in a folder anew from the log, or only compare it. None when there is none: there is nothing to compare.

    Raises MapSeekError when a process has the index open after all, nats-py's errors when the log cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        if not takes(lock):
            raise MapSeekError("A process has the vector index open but does not answer: wait until it has started, or end it.")
        saved = await asyncio.to_thread(load, folder)
        if saved is None and verify:
            return None
        until = saved.position if saved else await last_change(client)
        beside = EmbeddedIndex()
        await play(client, beside, until, lambda sequence: progress(sequence, until))
        if not verify:
            await asyncio.to_thread(save, beside, folder)
        return await asyncio.to_thread(compared, saved or EmbeddedIndex(), beside)
