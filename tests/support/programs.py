"""Runs `mapseek` in separate processes: start, read the log, stop or kill. No process is left behind."""

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

from infra.nats.connection import LogAddress
from infra.nats.server import read_announced_address

MAPSEEK = [str(Path(sys.executable).with_name("mapseek"))]
IMPATIENT_MAPSEEK = [sys.executable, str(Path(__file__).with_name("impatient.py"))]
"""The same program with an ack wait of two seconds instead of thirty: messages of a killed process come back sooner."""


def log_environment(address: LogAddress) -> dict[str, str]:
    """Return the variables that bring a program to the log of an embedded server, as if it were elsewhere."""
    return {"NATS_URL": address.url, "MAPSEEK_NATS_NKEY": str(address.nkey_file)}


def find_announced_log(folder: Path) -> LogAddress:
    """Return the address of the log that a running program keeps in its data folder."""
    address = read_announced_address(folder / "nats")
    assert address is not None, f"no log runs on {folder}"
    return address


@dataclass
class Program:
    """A process. Its output goes to a file, so that it can be read while the process runs and after it was killed."""

    process: asyncio.subprocess.Process
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Return its log lines as JSON. Fails if a line is not JSON: nothing may be printed except the log."""
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    async def kill(self) -> None:
        """Send SIGKILL. Fails if the process has already ended."""
        assert self.process.returncode is None, self.log.read_text()
        self.process.kill()
        await self.process.wait()

    async def wait_killed(self, timeout: float = 60) -> None:
        """Wait until SIGKILL has ended the process."""
        code = await asyncio.wait_for(self.process.wait(), timeout)
        assert code == -signal.SIGKILL, self.log.read_text()

    async def stop(self, timeout: float = 30) -> int:
        """Send SIGTERM, and return the exit code."""
        assert self.process.returncode is None, self.log.read_text()
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), timeout)


@asynccontextmanager
async def run_program(
    log: Path, *arguments: str, environment: Mapping[str, str], command: Sequence[str] = MAPSEEK
) -> AsyncIterator[Program]:
    """Run `mapseek` with these arguments. If it still runs at the end, it is stopped, so that its log server ends too."""
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
    """The result of a program that ended by itself."""

    code: int
    out: str
    err: str


async def run_to_end(
    *arguments: str, environment: Mapping[str, str], timeout: float = 60, command: Sequence[str] = MAPSEEK
) -> EndedProgram:
    """Run `mapseek` until it ends. Fails if it does not end within `timeout` seconds."""
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
    """Return our environment without the developer's own MapSeek settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAPSEEK_")}
    return {**ours, "COLUMNS": "300", "NO_COLOR": "1", "MAPSEEK_HTTP_PORT": "0", "MAPSEEK_LOG_FORMAT": "json", **more}


def freeze(pid: int) -> None:
    """Stop a process, and wait until every thread of it is stopped: a signal takes a moment to reach a busy thread."""
    os.kill(pid, signal.SIGSTOP)
    while not all(_stands_still(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def thaw(pid: int) -> None:
    """Continue a stopped process."""
    os.kill(pid, signal.SIGCONT)


def _stands_still(task: Path) -> bool:
    state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    return state in "TtZX"
