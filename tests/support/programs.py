"""`mapseek` in processes of its own: started, looked at, stopped or killed, and never left behind."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

MAPSEEK = [str(Path(sys.executable).with_name("mapseek"))]
IMPATIENT_MAPSEEK = [sys.executable, str(Path(__file__).with_name("impatient.py"))]
"""The same program, to which the server gives back what a killed process held after two seconds instead of thirty."""


@dataclass
class Program:
    """One process. Its standard error is a file, so that it can be read while the process runs and after it was killed."""

    process: asyncio.subprocess.Process
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """What it logged, as JSON. Fails for any line that is none: nothing may be printed past the log."""
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    async def kill(self) -> None:
        """SIGKILL: no goodbye to anyone. It must have been alive."""
        assert self.process.returncode is None, self.log.read_text()
        self.process.kill()
        await self.process.wait()

    async def wait_killed(self, timeout: float = 60) -> None:
        """Wait until SIGKILL ended it."""
        code = await asyncio.wait_for(self.process.wait(), timeout)
        assert code == -signal.SIGKILL, self.log.read_text()

    async def stop(self, timeout: float = 30) -> int:
        """SIGTERM, and the exit code."""
        assert self.process.returncode is None, self.log.read_text()
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), timeout)


@asynccontextmanager
async def run_program(
    log: Path, *arguments: str, environment: Mapping[str, str], command: Sequence[str] = MAPSEEK
) -> AsyncIterator[Program]:
    """Run `mapseek` with these arguments. If it is still there at the end it is told to go, so that its log server goes with it."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, env=_environment(environment)
        )
    running = Program(process, log)
    try:
        yield running
    finally:
        if process.returncode is None:
            try:
                await running.stop()
            except TimeoutError:
                await running.kill()


@dataclass(frozen=True)
class EndedProgram:
    """A program that ended by itself."""

    code: int
    out: str
    err: str


async def run_to_end(
    *arguments: str, environment: Mapping[str, str], timeout: float = 60, command: Sequence[str] = MAPSEEK
) -> EndedProgram:
    """Run `mapseek` until it ends; fails if it does not within `timeout` seconds."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=_environment(environment)
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return EndedProgram(await process.wait(), out.decode(), err.decode())


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours without any MapSeek setting of the developer's own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAPSEEK_")}
    return {**ours, "COLUMNS": "300", "NO_COLOR": "1", "MAPSEEK_HTTP_PORT": "0", "MAPSEEK_LOG_FORMAT": "json", **more}


def freeze(pid: int) -> None:
    """Stop a process, and return once every thread of it stands still: a signal takes a moment to reach a busy one."""
    os.kill(pid, signal.SIGSTOP)
    while not all(_stands_still(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def thaw(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)


def _stands_still(task: Path) -> bool:
    state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    return state in "TtZX"
