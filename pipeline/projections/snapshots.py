"""Opening an index: load its snapshot, apply the rest of the log, and write a new snapshot from time to time.

A process that holds an index also rebuilds it on request. It reports its progress, then the result.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol, TypeVar

import structlog
from pydantic import BaseModel

from contracts.subjects import REBUILD_INDEX
from infra.nats.connection import Client, Msg, subscribe_subject
from infra.tasks import cancel_tasks
from infra.vectors.snapshot import lock_snapshots
from pipeline.projections.index import AnyIndex, IndexComparison, IndexKind, IndexProjection, apply_turns, find_last_change
from pipeline.projections.vectors import VECTOR_INDEX_KIND, VectorProjection

log = structlog.get_logger()

REPORT_INTERVAL_S = 0.5

AnyProjection = TypeVar("AnyProjection", bound=IndexProjection[Any])

SNAPSHOT_INTERVAL_S = 60.0


class RebuildRequest(BaseModel):
    """The request to rebuild the indexes, or with `verify`, only to compare them with the log."""

    verify: bool


class RebuildReport(BaseModel):
    """What a process reports about an index: `done` of `total` log positions, then the `comparison`, or the `reason` of a failure.

    `process` names the process, followed by the index if it is not the vector index.
    """

    process: str
    index: str
    state: Literal["working", "done", "failed"] = "working"
    done: int = 0
    total: int = 0
    comparison: IndexComparison | None = None
    reason: str = ""


class Rebuildable(Protocol):
    """An index that can be rebuilt while it answers."""

    async def rebuild(self, *, verify: bool, progress: Callable[[int, int], None]) -> IndexComparison: ...


@asynccontextmanager
async def serve_rebuilds(
    client: Client, name: str, index: Rebuildable, on_rebuilt: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Rebuild the index with this name on request. `on_rebuilt` is called when the new index has replaced the old one."""
    tasks: set[asyncio.Task[None]] = set()

    async def on_request(message: Msg) -> None:
        task = asyncio.create_task(_serve(client, message, name, index, on_rebuilt))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    try:
        async with subscribe_subject(client, REBUILD_INDEX, on_request):
            yield
    finally:
        await cancel_tasks(*tasks)


async def _serve(client: Client, message: Msg, name: str, index: Rebuildable, on_rebuilt: Callable[[], Awaitable[None]]) -> None:
    process_name = f"{socket.gethostname()}/{os.getpid()}/{client.client_id}"
    current = RebuildReport(process=process_name if name == VECTOR_INDEX_KIND.name else f"{process_name} ({name})", index=name)

    def progress(done: int, total: int) -> None:
        current.done, current.total = done, total

    async def keep_reporting() -> None:
        while True:
            await _send_report(client, message, current)
            await asyncio.sleep(REPORT_INTERVAL_S)

    reporter = asyncio.create_task(keep_reporting())
    try:
        request = RebuildRequest.model_validate_json(message.data)
        comparison = await index.rebuild(verify=request.verify, progress=progress)
        if not request.verify:
            await on_rebuilt()
        end = current.model_copy(update={"state": "done", "comparison": comparison})
    except Exception as error:
        log.exception("index_rebuild_failed", index=name)
        end = current.model_copy(update={"state": "failed", "reason": str(error) or type(error).__name__})
    finally:
        reporter.cancel()
    await _send_report(client, message, end)


async def _send_report(client: Client, message: Msg, report: RebuildReport) -> None:
    await client.publish(message.reply, report.model_dump_json().encode())


class SnapshotWriter:
    """Writes snapshots of an index into a folder, one at a time. It writes nothing if another process does so already."""

    def __init__(self, projected: IndexProjection[Any], folder: Path, *, writes: bool) -> None:
        self._projected = projected
        self._folder = folder
        self._writes = writes
        self._writing = Lock()
        self._saved: tuple[Any, int] = projected.index, projected.position

    async def keep_saving(self) -> None:
        """Save the index every minute, if it changed. Runs without end."""
        while True:
            await asyncio.sleep(SNAPSHOT_INTERVAL_S)
            await self.save()

    async def save(self) -> None:
        """Save the index, unless it is unchanged since the last time."""
        current = self._projected.index, self._projected.position
        if self._writes and current != self._saved:
            self._saved = current
            await asyncio.to_thread(self._save, current[0])

    def _save(self, index: Any) -> None:
        with self._writing:
            self._projected.kind.save(index, self._folder)


@asynccontextmanager
async def open_vector_projection(client: Client, folder: Path) -> AsyncIterator[VectorProjection]:
    """Open the vector index from its snapshot in `folder`, and keep following the log (see `open_projection`)."""
    async with open_projection(client, VECTOR_INDEX_KIND, folder, VectorProjection) as index:
        yield index


@asynccontextmanager
async def open_projection(
    client: Client,
    kind: IndexKind[AnyIndex],
    folder: Path,
    projecting: Callable[[Client, IndexKind[AnyIndex], AnyIndex, Path], AnyProjection],
) -> AsyncIterator[AnyProjection]:
    """Load the snapshot in `folder`, apply the rest of the log, and keep following it. Write snapshots at intervals and at the end.

    Several processes may share the folder: all load the snapshot, only the first one writes. Requests to rebuild the index are
    served (see `serve_rebuilds`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = await asyncio.to_thread(kind.load, folder) or kind.empty(folder)
    restored = index.position
    projected = projecting(client, kind, index, folder)
    with lock_snapshots(folder) as writes:
        snapshots = SnapshotWriter(projected, folder, writes=writes)
        if not index.turns:
            await apply_turns(client, kind, index)
        target = await find_last_change(client, kind)
        tasks = [asyncio.create_task(projected.keep_up())]
        try:
            await projected.wait_for_position(target)
            log.info("index_ready", index=kind.name, count=len(projected), snapshot_position=restored, position=projected.position)
            tasks.append(asyncio.create_task(snapshots.keep_saving()))
            async with serve_rebuilds(client, kind.name, projected, snapshots.save):
                yield projected
        finally:
            await cancel_tasks(*tasks)
            await snapshots.save()
