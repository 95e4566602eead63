"""Measure the memory of `mapseek up` with all its processes while members search one after the other.

The simulated Discord runs in this process, so only MapSeek's own memory is counted: the resident set of each process (RSS), and the
same with shared pages divided among those who share them (PSS).
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.benchmarks.archive import draw_picture
from tests.benchmarks.picture_workers import draw_screenshot
from tests.benchmarks.search_latency import ANSWER_TIMEOUT_S, lift_quotas
from tests.support.programs import run_program
from tests.support.world import simulated_discord

ARCHIVED = 50
MEMBERS = 20
"""Several, since each has a quota."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes of all processes after so many searches."""

    searches: int
    rss_mb: float
    pss_mb: float
    processes: int


def read_memory(root: int, searches: int) -> Memory:
    """Read the memory of a process and of all that it started."""
    family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    memory = [each.memory_full_info() for each in family]
    return Memory(searches, sum(each.rss for each in memory) / 1e6, sum(each.pss for each in memory) / 1e6, len(family))


async def measure(steps: Sequence[int], folder: Path) -> list[Memory]:
    """Search as often as the last step says, and read the memory after each step."""
    async with simulated_discord() as simulated:
        discord, guild, channel = simulated.simulator, simulated.guild, simulated.gallery
        members = [discord.add_member(guild, f"Member {number}") for number in range(MEMBERS)]
        async with run_program(folder / "log", "up", environment=simulated.environment(folder / "data")) as program:
            await discord.wait_for_command("find")
            await lift_quotas(discord, channel, guild.members[guild.owner_id])
            for seed in range(ARCHIVED):
                await discord.post(channel, members[0], "a map", files=[(f"{seed}.png", draw_picture(seed))])
            found = []
            for number in range(1, steps[-1] + 1):
                shot = await asyncio.to_thread(draw_screenshot, number)
                asked = await discord.slash(channel, members[number % MEMBERS], "find", attachments={"image": ("shot.jpg", shot)})
                await discord.answer(asked, embedded=True, timeout=ANSWER_TIMEOUT_S)
                if number in steps:
                    found.append(read_memory(program.process.pid, number))
    return found


def main(quick: bool = False) -> None:
    """Measure and print."""
    steps = (5, 10) if quick else (100, 200, 500, 1_000, 1_500, 2_000)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(steps, Path(folder)))
    table = Table("searches", "processes", "RSS MB", "PSS MB")
    for each in found:
        table.add_row(str(each.searches), str(each.processes), f"{each.rss_mb:.0f}", f"{each.pss_mb:.0f}")
    Console().print(table)
