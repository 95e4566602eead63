"""Workers for pictures in tests: threads of this process, which see what a test patches, and processes that many tests share."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import pytest
from pebble import ProcessPool

from infra.vision import workers

T = TypeVar("T")


class ThreadWorkers:
    """The PictureWorkers port without limits. It may be opened with the arguments of WorkerProcesses."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.closed = False

    async def run(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.to_thread(work, *args)

    async def close(self) -> None:
        self.closed = True


def share_worker_processes(patch: pytest.MonkeyPatch) -> None:
    """Let all tests of this process use the same worker processes: to start and end them takes as long as a small test."""
    open_pool, end_pool = workers.open_pool, workers.end_pool
    shared: list[ProcessPool] = []

    @cache
    def open_shared(*arguments: Any) -> ProcessPool:
        shared.append(open_pool(*arguments))
        return shared[-1]

    def open_working(*arguments: Any) -> ProcessPool:
        if not open_shared(*arguments).active:
            open_shared.cache_clear()
        return open_shared(*arguments)

    patch.setattr(workers, "open_pool", open_working)
    patch.setattr(workers, "end_pool", lambda pool: None if pool in shared and pool.active else end_pool(pool))
