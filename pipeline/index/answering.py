"""What a process that holds an index does when it is asked to rebuild it: it tells how far it is, then what came of it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, Protocol

import structlog
from pydantic import BaseModel

from contracts.subjects import REBUILD_INDEX
from infra.nats.connection import Client, Msg, listening
from infra.tasks import cancel
from pipeline.index.comparing import IndexComparison
from pipeline.index.projected import VECTORS

log = structlog.get_logger()

TOLD_EVERY_S = 0.5


class Request(BaseModel):
    """What is asked for: the index anew, or with `verify` only a comparison."""

    verify: bool


class Report(BaseModel):
    """What a process tells of an index: at work (`done` of `total` of the log), at the end, or when it failed (`reason`).

    `process` names the process, and behind it the index where it is not the one of vectors.
    """

    process: str
    index: str
    state: Literal["working", "done", "failed"] = "working"
    done: int = 0
    total: int = 0
    comparison: IndexComparison | None = None
    reason: str = ""


class Rebuildable(Protocol):
    """An index that can be made anew while it answers."""

    async def rebuild(self, *, verify: bool, progress: Callable[[int, int], None]) -> IndexComparison: ...


@asynccontextmanager
async def answering(client: Client, name: str, index: Rebuildable, rebuilt: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Rebuild the index of that name for whoever asks; `rebuilt` is called when another one answers from now on."""
    tasks: set[asyncio.Task[None]] = set()

    async def asked(message: Msg) -> None:
        task = asyncio.create_task(_serve(client, message, name, index, rebuilt))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    try:
        async with listening(client, REBUILD_INDEX, asked):
            yield
    finally:
        await cancel(*tasks)


async def _serve(client: Client, message: Msg, name: str, index: Rebuildable, rebuilt: Callable[[], Awaitable[None]]) -> None:
    place = f"{socket.gethostname()}/{os.getpid()}/{client.client_id}"
    now = Report(process=place if name == VECTORS.name else f"{place} ({name})", index=name)

    def progress(done: int, total: int) -> None:
        now.done, now.total = done, total

    async def keep_telling() -> None:
        while True:
            await _tell(client, message, now)
            await asyncio.sleep(TOLD_EVERY_S)

    telling = asyncio.create_task(keep_telling())
    try:
        request = Request.model_validate_json(message.data)
        comparison = await index.rebuild(verify=request.verify, progress=progress)
        if not request.verify:
            await rebuilt()
        end = now.model_copy(update={"state": "done", "comparison": comparison})
    except Exception as error:
        log.exception(f"the {name} could not be rebuilt")
        end = now.model_copy(update={"state": "failed", "reason": str(error) or type(error).__name__})
    finally:
        telling.cancel()
    await _tell(client, message, end)


async def _tell(client: Client, message: Msg, report: Report) -> None:
    await client.publish(message.reply, report.model_dump_json().encode())
