"""Measure how long ordinary questions take beside bombs, compared with those that an idle `mapseek up` answers, in one run.

With each question, four members ask with a bomb and two bombs are posted. In the last part, the files are built as others are, but
as costly as the limits allow.
"""

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from infra.sandbox.simulator import Channel, Member, Simulator
from tests.benchmarks.archive import draw_picture
from tests.benchmarks.picture_workers import draw_screenshot
from tests.benchmarks.search_latency import ANSWER_TIMEOUT_S, lift_quotas
from tests.support.bombs import BOMBS, draw_large_noise
from tests.support.programs import run_program
from tests.support.world import simulated_discord

ATTACKERS = 4

Times = list[float]


async def ask_often(
    discord: Simulator, channel: Channel, member: Member, count: int, beside: Callable[[], Awaitable[None]]
) -> Times:
    """Ask ordinary questions one after the other, each after calling `beside`. Return the seconds from command to answer."""
    found = []
    for number in range(count):
        shot = await asyncio.to_thread(draw_screenshot, number)
        await beside()
        asked = await discord.slash(channel, member, "find", attachments={"image": ("shot.jpg", shot)})
        found.append((await discord.answer(asked, embedded=True, timeout=ANSWER_TIMEOUT_S)).answered_after_s)
    return found


def attack(
    discord: Simulator, channel: Channel, attackers: Sequence[Member], files: Sequence[bytes]
) -> Callable[[], Awaitable[None]]:
    """Return a function that posts the next of these files twice, and asks with it from all members."""
    turns = itertools.cycle(files)

    async def begin() -> None:
        file = next(turns)
        await discord.post(channel, attackers[0], "look", files=[("one.jpg", file), ("two.jpg", file)])
        for each in attackers:
            await discord.slash(channel, each, "find", attachments={"image": ("bomb.jpg", file)})

    return begin


async def do_nothing() -> None:
    """Leave the bot idle."""


async def measure(questions: int, folder: Path) -> dict[str, Times]:
    """Return the seconds of ordinary questions, by what happens beside them."""
    async with simulated_discord() as simulated:
        discord, guild, channel, member = simulated.simulator, simulated.guild, simulated.gallery, simulated.alex
        attackers = [discord.add_member(guild, f"Attacker {number}") for number in range(ATTACKERS)]
        async with run_program(folder / "log", "up", environment=simulated.environment(folder / "data")):
            await discord.wait_for_command("find")
            await lift_quotas(discord, channel, guild.members[guild.owner_id])
            await discord.post(channel, member, "a map", files=[("map.png", draw_picture(0))])
            await ask_often(discord, channel, member, 5, do_nothing)
            found = {"nothing": await ask_often(discord, channel, member, questions, do_nothing)}
            sources: dict[str, Callable[[], list[bytes]]] = {
                "JPEGs of 3,000 scans": lambda: [BOMBS["3,000 scans"]()],
                "all other bombs": lambda: [make() for make in BOMBS.values()],
                "49 million pixels of noise": lambda: [draw_large_noise()],
            }
            for name, draw in sources.items():
                begin = attack(discord, channel, attackers, await asyncio.to_thread(draw))
                found[name] = await ask_often(discord, channel, member, questions, begin)
    return found


def main(quick: bool = False) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(3 if quick else 15, Path(folder)))
    table = Table("beside ordinary questions", "p50 ms", "p95 ms", "p50, times that of an idle bot")
    usual = float(np.median(found["nothing"]))
    for name, seconds in found.items():
        p50, p95 = (float(np.percentile(seconds, rank)) for rank in (50, 95))
        table.add_row(name, f"{p50 * 1000:.0f}", f"{p95 * 1000:.0f}", f"{p50 / usual:.2f}")
    Console().print(table)
