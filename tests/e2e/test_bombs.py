"""Pictures that cost too much, through Discord and at SIGTERM: they are refused, and nobody else waits for them."""

import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from contracts.errors import RejectCode, build_costly_rejection
from contracts.events import ImageIndexed, ImageRejected, SearchRejected
from infra.discord.wording import localize
from infra.sandbox.simulator import Interaction
from stages.file_limits import refuse_costly_file
from tests.support.bombs import BOMBS, draw_large_noise
from tests.support.programs import run_program
from tests.support.waiting import eventually
from tests.support.world import Discord, World, art_png, mapseek_beside

SENTENCE = "That picture takes too much time or memory to read. Try a screenshot of it."


async def read_problem(discord: Discord, asked: Interaction) -> str:
    """Wait for the answer to a search that fails, and return why it fails."""
    answer = await discord.simulator.answer(asked, embedded=True)
    assert answer.embeds[0]["title"] == localize("en-US", "answers-error")
    return str(answer.embeds[0]["description"])


async def test_bombs_are_refused_while_others_are_answered(world: World) -> None:
    discord, bomb = world.discord, BOMBS["3,000 scans"]()
    await discord.post(("art.png", art_png(1)))
    await world.archived(1)
    attackers = [discord.simulator.add_member(discord.guild, f"Attacker {number}") for number in range(4)]
    await discord.post(("one.jpg", bomb), ("two.jpg", bomb))
    asked = [await discord.ask(bomb, member=each) for each in attackers]
    answer = await discord.simulator.answer(await discord.ask(art_png(1)), embedded=True)
    assert answer.embeds[0]["title"] != localize("en-US", "answers-none")
    assert [await read_problem(discord, each) for each in asked] == [SENTENCE] * 4
    await world.archived(3)
    rejections = [*await world.log.facts(ImageRejected), *await world.log.facts(SearchRejected)]
    assert {(each.code, each.reason) for each in rejections} == {(RejectCode.TOO_COSTLY, SENTENCE)}
    assert (len(rejections), build_costly_rejection().reason) == (6, SENTENCE)
    assert await world.log.count(ImageIndexed) == 1
    assert await world.log.dead_letters() == []


async def test_a_file_that_exceeds_its_cpu_time_is_refused(discord: Discord, tmp_path: Path) -> None:
    """The file is built as others are: the kernel ends its worker, and another one goes on."""
    refuse_costly_file(draw_large_noise())
    async with mapseek_beside(discord, tmp_path, max_cpu_s=1) as world:
        await discord.post(("slow.jpg", draw_large_noise()), ("art.png", art_png(1)))
        await world.archived(2)
        (rejection,) = await world.log.facts(ImageRejected)
        assert (rejection.stage, rejection.code, rejection.reason) == ("preprocess", RejectCode.TOO_COSTLY, SENTENCE)
        assert await world.log.count(ImageIndexed) == 1
        assert await world.log.dead_letters() == []


@pytest.mark.slow
async def test_sigterm_ends_a_command_whatever_it_is_doing(tmp_path: Path) -> None:
    """The workers are in the middle of files that take minutes, and would go on without end."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(draw_large_noise() + bytes([number]))
    environment = {"MAPSEEK_DATA_DIR": str(tmp_path / "data"), "MAPSEEK_MODEL": "mapseek-untrained", "MAPSEEK_MAX_CPU_S": "600"}
    async with run_program(tmp_path / "log", "archive", str(folder), environment=environment) as program:
        process = psutil.Process(program.process.pid)

        def workers_are_busy() -> bool:
            with suppress(psutil.NoSuchProcess):
                workers = (each for each in process.children(recursive=True) if "forkserver" in " ".join(each.cmdline()))
                return any(each.cpu_times().user > 1 for each in workers)
            return False

        await eventually(workers_are_busy, timeout=60)
        family = process.children(recursive=True)
        began = time.monotonic()
        await program.stop(timeout=20)
        assert time.monotonic() - began < 20
        await eventually(lambda: not any(each.is_running() for each in family))
