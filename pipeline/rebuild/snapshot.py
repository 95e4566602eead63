"""The snapshot of an index that no process has open, made anew from the log or compared with it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.errors import MapSeekError
from infra.nats.connection import Client
from infra.vectors.snapshot import LOCK, takes
from pipeline.index.comparing import IndexComparison, compared
from pipeline.index.kinds import Kind
from pipeline.index.playing import last_change, play
from pipeline.index.projected import VECTORS


async def rebuild_snapshot(
    client: Client, folder: Path, kind: Kind[Any] = VECTORS, *, verify: bool, progress: Callable[[int, int], None]
) -> IndexComparison | None:
    """Make the snapshot in a folder anew from the log, or only compare it. None when there is none: there is nothing to compare.

    Raises MapSeekError when a process has the index open after all, Unavailable when the log cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        if not takes(lock):
            raise MapSeekError(f"A process has the {kind.name} open but does not answer: wait until it has started, or end it.")
        saved = await asyncio.to_thread(kind.load, folder)
        if saved is None and verify:
            return None
        until = saved.position if saved else await last_change(client, kind)
        beside = kind.empty(folder)
        await play(client, kind, beside, until, lambda sequence: progress(sequence, until))
        if not verify:
            await asyncio.to_thread(kind.save, beside, folder)
        return await asyncio.to_thread(compared, kind, saved or kind.empty(folder), beside)
