"""Workers for pictures in threads of this process: quick to start, and they see what a test patches."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class ThreadWorkers:
    """The PictureWorkers port without limits. It may be opened with the arguments of WorkerProcesses."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.closed = False

    async def run(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.to_thread(work, *args)

    async def close(self) -> None:
        self.closed = True
