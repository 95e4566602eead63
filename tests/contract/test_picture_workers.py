"""The workers for pictures: processes with limits, and the threads that stand in for them in tests."""

import asyncio
import ctypes
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from structlog.testing import capture_logs

from contracts.errors import Reject, RejectCode, Retry, Unavailable, build_costly_rejection
from contracts.ports import PictureWorkers
from infra.vision import workers
from infra.vision.workers import WorkerLimits, WorkerProcesses
from tests.support.waiting import eventually
from tests.support.workers import ThreadWorkers

GENEROUS = WorkerLimits(cpu_s=30, wall_s=60, memory_bytes=1_000_000_000)
OPEN_POOL, END_POOL = workers.open_pool, workers.end_pool
"""The real ones: elsewhere, tests share their workers."""

SECRET = "MTIz.abc.secret-token"


def reverse(data: bytes) -> bytes:
    return data[::-1]


def add(*numbers: int) -> int:
    return sum(numbers)


def reject(reason: str) -> None:
    raise Reject(RejectCode.DAMAGED, reason)


class Odd(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__("odd")
        self.held = lambda: (one, two)


def fail() -> None:
    raise Odd(1, 2)


def burn(seconds: float) -> float:
    """Use CPU time in C, where no Python signal handler runs."""
    began = time.process_time()
    while time.process_time() - began < seconds:
        np.sort(np.random.default_rng(0).random(3_000_000))
    return seconds


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def mark_and_burn(mark: Path) -> None:
    mark.touch()
    burn(60.0)


def allocate(size: int) -> int:
    return len(bytearray(size))


def kill_self(number: int) -> None:
    os.kill(os.getpid(), number)


def crash() -> None:
    ctypes.string_at(0)


def get_pid() -> int:
    return os.getpid()


def describe_process() -> dict[str, object]:
    process = psutil.Process()
    return {
        "environ": Path("/proc/self/environ").read_bytes(),
        "variables": dict(os.environ),
        "sockets": [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_socket(fd)],
        "connections": process.net_connections(),
        "threads": process.num_threads(),
        "niceness": process.nice(),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
    }


def _is_socket(fd: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except FileNotFoundError:
        return False


class WorkersSuite:
    """What all workers must do. A subclass has the fixture `workers`."""

    async def test_the_result_of_the_work_is_returned(self, workers: PictureWorkers) -> None:
        assert await workers.run(reverse, b"abc") == b"cba"
        assert await workers.run(add, 1, 2, 3) == 6

    async def test_large_bytes_go_there_and_back(self, workers: PictureWorkers) -> None:
        data = np.random.default_rng(1).bytes(9_000_000)
        assert await workers.run(reverse, data) == data[::-1]

    async def test_many_calls_at_once(self, workers: PictureWorkers) -> None:
        assert await asyncio.gather(*(workers.run(add, number, 1) for number in range(50))) == list(range(1, 51))

    async def test_a_rejection_keeps_its_code_and_reason(self, workers: PictureWorkers) -> None:
        with pytest.raises(Reject, match="No good") as caught:
            await workers.run(reject, "No good.")
        assert (caught.value.code, caught.value.reason) == (RejectCode.DAMAGED, "No good.")

    async def test_any_other_error_is_raised(self, workers: PictureWorkers) -> None:
        with pytest.raises(Exception, match="odd"):
            await workers.run(fail)
        assert await workers.run(add, 1, 1) == 2


class TestThreadWorkers(WorkersSuite):
    @pytest.fixture
    def workers(self) -> ThreadWorkers:
        return ThreadWorkers()


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., WorkerProcesses]]:
    """Return a function that starts workers; they are closed at the end."""
    monkeypatch.setattr(workers, "open_pool", OPEN_POOL)
    monkeypatch.setattr(workers, "end_pool", END_POOL)
    started: list[WorkerProcesses] = []

    def begin(number: int = 2, limits: WorkerLimits = GENEROUS, **options: int) -> WorkerProcesses:
        started.append(WorkerProcesses(number, limits, **options))
        return started[-1]

    yield begin
    for each in started:
        await each.close()


Start = Callable[..., WorkerProcesses]


class TestWorkerProcesses(WorkersSuite):
    @pytest.fixture
    def workers(self, start: Start) -> WorkerProcesses:
        return start()

    async def test_the_traceback_of_an_error_is_kept(self, workers: WorkerProcesses) -> None:
        with pytest.raises(RuntimeError, match=r"fail failed in a worker process:\n(.|\n)*raise Odd\(1, 2\)"):
            await workers.run(fail)

    async def test_work_in_c_beyond_its_cpu_time_is_rejected_and_the_worker_replaced(self, start: Start) -> None:
        workers = start(1, WorkerLimits(cpu_s=1, wall_s=60, memory_bytes=1_000_000_000))
        before, began = await workers.run(get_pid), time.monotonic()
        with pytest.raises(Reject) as caught:
            await workers.run(burn, 60.0)
        assert (caught.value.code, caught.value.reason) == (RejectCode.TOO_COSTLY, build_costly_rejection().reason)
        assert time.monotonic() - began < 30
        assert await workers.run(get_pid) != before

    async def test_cpu_time_is_counted_for_each_call(self, start: Start) -> None:
        workers = start(1, WorkerLimits(cpu_s=2, wall_s=60, memory_bytes=1_000_000_000))
        pids = {await workers.run(get_pid)}
        for _ in range(5):
            await workers.run(burn, 0.9)
        assert {await workers.run(get_pid)} == pids

    async def test_waiting_beyond_the_wall_time_is_rejected(self, start: Start) -> None:
        workers = start(1, WorkerLimits(cpu_s=9, wall_s=0.3, memory_bytes=1_000_000_000))
        with pytest.raises(Reject) as caught:
            await workers.run(sleep, 60.0)
        assert caught.value.code is RejectCode.TOO_COSTLY
        assert await workers.run(add, 1, 1) == 2

    async def test_too_much_memory_is_rejected(self, start: Start) -> None:
        workers = start(1, WorkerLimits(cpu_s=9, wall_s=60, memory_bytes=400_000_000))
        assert await workers.run(allocate, 100_000_000) == 100_000_000
        with pytest.raises(Reject) as caught:
            await workers.run(allocate, 500_000_000)
        assert caught.value.code is RejectCode.TOO_COSTLY
        assert await workers.run(allocate, 100_000_000) == 100_000_000

    async def test_a_crash_is_the_fault_of_the_file(self, workers: WorkerProcesses) -> None:
        for call in (workers.run(crash), workers.run(kill_self, signal.SIGABRT)):
            with capture_logs() as logs, pytest.raises(Reject) as caught:
                await call
            assert caught.value.code is RejectCode.DAMAGED
            assert [line["event"] for line in logs] == ["picture_worker_died"]
        assert await workers.run(add, 1, 1) == 2

    async def test_a_worker_that_is_killed_from_outside_is_tried_again(self, workers: WorkerProcesses) -> None:
        with pytest.raises(Retry, match="exit code -9"):
            await workers.run(kill_self, signal.SIGKILL)
        assert await workers.run(add, 1, 1) == 2

    async def test_idle_workers_that_are_killed_are_replaced(self, start: Start) -> None:
        """Pebble gives up then: the pool has to be started again."""
        workers = start(2)
        await asyncio.gather(*(workers.run(sleep, 0.2) for _ in range(2)))
        for each in list_worker_pids():
            os.kill(each, signal.SIGKILL)

        async def works() -> bool:
            try:
                return await workers.run(add, 1, 1) == 2
            except Retry:
                return False

        await eventually(works)

    async def test_a_slow_call_does_not_hold_up_others(self, start: Start) -> None:
        workers = start(2)
        slow = asyncio.create_task(workers.run(sleep, 60.0))
        assert await asyncio.gather(*(workers.run(add, number, 1) for number in range(20))) == list(range(1, 21))
        slow.cancel()
        await asyncio.wait([slow])

    async def test_a_cancelled_call_ends_its_work(self, start: Start, tmp_path: Path) -> None:
        workers, mark = start(1), tmp_path / "begun"
        before = await workers.run(get_pid)
        call = asyncio.create_task(workers.run(mark_and_burn, mark))
        await eventually(mark.exists)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.wait_for(workers.run(get_pid), 20) != before

    async def test_closing_ends_work_and_refuses_calls(self, start: Start, tmp_path: Path) -> None:
        workers, mark = start(1), tmp_path / "begun"
        pid = await workers.run(get_pid)
        calls = [asyncio.create_task(workers.run(mark_and_burn, mark)) for _ in range(3)]
        await eventually(mark.exists)
        await asyncio.wait_for(workers.close(), 10)
        for call in calls:
            with pytest.raises(Unavailable, match="shutting down"):
                await asyncio.wait_for(call, 10)
        with pytest.raises(Unavailable):
            await workers.run(add, 1, 1)
        await eventually(lambda: not psutil.pid_exists(pid))

    async def test_a_worker_has_no_secret_and_no_connection(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DISCORD_TOKEN", SECRET)
        seen = await start(1, niceness=3).run(describe_process)
        assert SECRET.encode() not in seen["environ"]  # type: ignore[operator]
        assert SECRET not in str(seen["variables"])
        assert os.environ["DISCORD_TOKEN"] == SECRET
        assert (seen["sockets"], seen["connections"]) == ([], [])
        assert (seen["threads"], seen["niceness"], seen["core"]) == (1, psutil.Process().nice() + 3, (0, 0))


def list_worker_pids() -> list[int]:
    """Return the processes of all workers: the children of the fork server."""
    family = psutil.Process().children(recursive=True)
    servers = {each.pid for each in family if "forkserver" in " ".join(each.cmdline()) and each.ppid() == os.getpid()}
    return [each.pid for each in family if each.ppid() in servers]
