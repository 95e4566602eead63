"""Worker processes for pictures: all work on bytes from outside is done in them, so that no file can hold up MapSeek.

A thread cannot be killed, a process can. Each call has limits on CPU time, on wall time and on memory. A worker that exceeds one is
killed, and another takes its place.

Workers are forked from a fork server that has loaded the code of the pictures already, so a new one is ready within milliseconds.
The fork server is started with an environment of its own and inherits no connection. So a worker has no token, no password and no
way to the log; it gets bytes and returns bytes. What it returns is trusted as far as our own process is: a worker limits what a
file costs, it is no jail for foreign code.
"""

import asyncio
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any, Final, Literal, TypeVar

import structlog
from pebble import ProcessExpired, ProcessPool

from contracts.errors import Reject, RejectCode, Retry, Unavailable, build_costly_rejection, build_damaged_rejection

log = structlog.get_logger()

T = TypeVar("T")

PRELOADED: Final = ("cv2", "infra.vision.fingerprint", "stages.canonical_image")

_ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}
"""The environment of every worker. Several processes work at once, so each has one thread.

The C library keeps up to 64 MB of freed memory. Without that, each call gets its pixels as new pages, and page faults take a third
of the CPU time.
"""

_MAX_CALLS: Final = 1_000
"""A worker is replaced after so many calls, so that what its libraries leak is bounded."""

_STUCK_AFTER_S: Final = 15.0
"""If a call has not ended so long after its wall time, the pool itself is stuck and is replaced."""

_CRASHES: Final = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE}

_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one call may use: seconds of CPU time, seconds of wall time, and bytes of memory."""

    cpu_s: int
    wall_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a call came to. Errors travel as text: not every exception survives a way between processes."""

    kind: Literal["result", "reject", "error"]
    value: Any
    code: RejectCode | None = None


class WorkerProcesses:
    """Implements the PictureWorkers port with so many processes. Each has its niceness added to that of this process."""

    def __init__(self, number: int, limits: WorkerLimits, *, niceness: int = 0) -> None:
        self._number = number
        self._limits = limits
        self._niceness = niceness
        self._free = asyncio.Semaphore(number)
        self._pool = self._open_pool()
        self._waiting: set[asyncio.Future[_Outcome]] = set()
        self._closed = False

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Call a function of a module in a worker. Calls wait for a free worker, in their order.

        Raises Reject if `work` raises it or exceeds a limit, Retry if the worker was killed from outside, Unavailable once this is
        closed, and RuntimeError with the traceback if `work` raises anything else. A cancelled call ends its worker.
        """
        async with self._free:
            outcome = await self._call(work, args)
        match outcome:
            case _Outcome("result", value):
                return value  # type: ignore[no-any-return]
            case _Outcome("reject", reason, RejectCode() as code):
                raise Reject(code, reason)
        raise RuntimeError(f"{work.__name__} failed in a worker process:\n{outcome.value}")

    async def _call(self, work: Callable[..., T], args: tuple[object, ...]) -> _Outcome:
        if self._closed:
            raise _closed_error()
        pool, limits = self._pool, self._limits
        try:
            future = asyncio.wrap_future(pool.schedule(_run_limited, (work, args, limits.cpu_s), timeout=limits.wall_s))
            self._waiting.add(future)
            future.add_done_callback(self._waiting.discard)
            done, _ = await asyncio.wait([future], timeout=limits.wall_s + _STUCK_AFTER_S)
            if done:
                return future.result()
        except asyncio.CancelledError:
            if self._closed and future.cancelled():
                raise _closed_error() from None
            future.cancel()
            raise
        except TimeoutError:
            raise build_costly_rejection() from None
        except ProcessExpired as death:
            raise _judge_death(death.exitcode) from None
        except (BrokenProcessPool, RuntimeError) as error:
            await self._replace(pool, str(error) or type(error).__name__)
            raise Retry("the worker processes for pictures had to be started again") from None
        future.cancel()
        await self._replace(pool, "no answer")
        raise Retry("the worker processes for pictures did not answer")

    async def close(self) -> None:
        """End all workers, whatever they do. Waiting and later calls raise Unavailable."""
        self._closed = True
        for future in self._waiting:
            future.cancel()
        await asyncio.to_thread(end_pool, self._pool)

    async def _replace(self, broken: ProcessPool, reason: str) -> None:
        if self._pool is broken:
            log.error("picture_workers_restarted", reason=reason)
            self._pool = self._open_pool()
            await asyncio.to_thread(end_pool, broken)

    def _open_pool(self) -> ProcessPool:
        return open_pool(self._number, self._limits.memory_bytes, os.getpriority(os.PRIO_PROCESS, 0) + self._niceness)


def open_pool(number: int, memory_bytes: int, niceness: int) -> ProcessPool:
    """Start a pool of so many workers, with a limit on memory and a niceness."""
    _ensure_fork_server()
    pool = ProcessPool(
        number,
        max_tasks=_MAX_CALLS,
        initializer=_prepare_worker,
        initargs=(memory_bytes, niceness),
        context=multiprocessing.get_context("forkserver"),
    )
    pool.active  # noqa: B018  reading it starts the workers
    return pool


def end_pool(pool: ProcessPool) -> None:
    """End the workers of a pool, whatever they do. Blocks for a moment."""
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _closed_error() -> Unavailable:
    return Unavailable("the picture workers", "they are shutting down")


def _judge_death(exit_code: int | None) -> Reject | Retry:
    """Return what the death of a worker says about its file: a rejection, or that another attempt may work."""
    if exit_code == -signal.SIGXCPU:
        return build_costly_rejection()
    log.warning("picture_worker_died", exit_code=exit_code)
    if exit_code in _CRASHES:
        return build_damaged_rejection()
    return Retry(f"a worker process for pictures died (exit code {exit_code})")


def _ensure_fork_server() -> None:
    """Start the fork server of this process if it does not run yet."""
    # Every worker would run the script of this process again, for functions that the script may define.
    sys.modules["__main__"].__file__ = None
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    with _environment_of_workers():
        forkserver.ensure_running()


@contextmanager
def _environment_of_workers() -> Iterator[None]:
    """Give this process the environment of the workers for a moment: multiprocessing passes on the one that it finds."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _prepare_worker(memory_bytes: int, niceness: int) -> None:
    """Set up a new worker: its limits, its signals, its priority, and that it ends with the fork server."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler in Python would wait for the end of the work
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    resource.setrlimit(kind, (memory_bytes, memory_bytes))
    os.setpriority(os.PRIO_PROCESS, 0, min(niceness, 19))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run_limited(work: Callable[..., object], args: tuple[object, ...], cpu_s: int) -> _Outcome:
    """Call `work` with a limit on CPU time. The kernel kills the process at the limit, which counts whole seconds."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + cpu_s, most))
    try:
        return _Outcome("result", work(*args))
    except Reject as reject:
        return _Outcome("reject", reject.reason, reject.code)
    except MemoryError:
        costly = build_costly_rejection()
        return _Outcome("reject", costly.reason, costly.code)
    except Exception:  # noqa: BLE001  any error of the work is reported to the caller
        return _Outcome("error", traceback.format_exc())
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
