"""The demo's terminal: run `mapseek` in a process of its own, as the owner of the archive does, and keep what it prints."""

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass

from pydantic import SecretStr

from pipeline.settings import Settings

TERMINAL_COLUMNS = 124


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a terminal shows after some commands, and whether all of them succeeded."""

    text: str
    good: bool

    def __add__(self, later: "Terminal") -> "Terminal":
        return Terminal(f"{self.text}\n\n{later.text}", self.good and later.good)


async def run_mapseek(settings: Settings, *arguments: str) -> Terminal:
    """Run a command with these settings, and without those in a file `.env` of the caller's folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from pipeline.main import main; main()", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=settings.data_dir,
        env={**os.environ, **_build_environment(settings), "COLUMNS": str(TERMINAL_COLUMNS), "FORCE_COLOR": ""},
    )
    try:
        printed, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
    lines = [f"$ mapseek {' '.join(arguments)}", *(line.rstrip() for line in printed.decode().splitlines())]
    return Terminal("\n".join(line for line in lines if line), process.returncode == 0)


def _build_environment(settings: Settings) -> dict[str, str]:
    return {f"MAPSEEK_{name.upper()}": _format_value(value) for name, value in settings}


def _format_value(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    return "" if value is None else str(value)
