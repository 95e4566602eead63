"""SIGTERM: a command ends whatever it is doing, and a process stops its stages in time."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from contracts.events import Fact
from pipeline.engine import job
from pipeline.engine.job import Runtime, ShutdownRequested, call_until_stop, finish_calls
from pipeline.engine.metrics import Metrics

SCRIPT = """
import asyncio, time
from pipeline.cli import app, stop
stop.FORCE_AFTER_S = 1.0

async def close_in_time():
    print("begun", flush=True)
    try:
        await asyncio.sleep(600)
    finally:
        print("closed", flush=True)

async def ignore_the_cancellation():
    print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

async def block_the_loop():
    print("begun", flush=True)
    time.sleep(600)

async def wait_for_a_thread():
    print("begun", flush=True)
    await asyncio.to_thread(time.sleep, 600)

app.run_and_exit({work}())
"""


@pytest.mark.parametrize(
    ("work", "closes"),
    [("close_in_time", True), ("ignore_the_cancellation", False), ("block_the_loop", False), ("wait_for_a_thread", False)],
)
def test_sigterm_ends_a_command_that_closes_and_one_that_does_not(work: str, closes: bool) -> None:
    script = "try:\n" + "".join(f"    {line}\n" for line in SCRIPT.replace("{work}", work).splitlines())
    script += "except BaseException as end:\n    raise SystemExit(getattr(end, 'exit_code', 1))\n"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "begun\n"
            program.send_signal(signal.SIGTERM)
            out, err = program.communicate(timeout=20)
        finally:
            program.kill()
    assert program.returncode == 128 + signal.SIGTERM
    assert ("closed" in out, "exit_forced" in out + err) == (closes, not closes)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(None, Metrics())  # type: ignore[arg-type]


async def never_end() -> Sequence[Fact]:
    await asyncio.sleep(600)
    return ()


async def test_calls_that_end_in_time_are_finished_and_none_begins_any_more(runtime: Runtime) -> None:
    going_on = asyncio.Event()

    async def end_soon() -> Sequence[Fact]:
        await going_on.wait()
        return ()

    call = asyncio.create_task(call_until_stop(end_soon, runtime))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(finish_calls(runtime))
    await runtime.stopping.wait()
    with pytest.raises(ShutdownRequested):
        await call_until_stop(end_soon, runtime)
    going_on.set()
    assert await call == ()
    await stopping
    assert not runtime.calls


async def test_a_call_that_does_not_end_is_cancelled_and_its_message_put_back(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "FINISH_CALLS_S", 0.05)
    call = asyncio.create_task(call_until_stop(never_end, runtime))
    await asyncio.sleep(0)
    await finish_calls(runtime)
    with pytest.raises(ShutdownRequested):
        await call


async def test_a_cancelled_worker_ends_its_call(runtime: Runtime) -> None:
    call = asyncio.create_task(call_until_stop(never_end, runtime))
    await asyncio.sleep(0)
    (inner,) = runtime.calls
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait([inner])
    assert inner.cancelled()


async def test_an_error_of_the_stage_is_raised(runtime: Runtime) -> None:
    async def fail() -> Sequence[Fact]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await call_until_stop(fail, runtime)
