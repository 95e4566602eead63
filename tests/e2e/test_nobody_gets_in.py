"""`mapseek up` under an open umask: nothing in its folder is open to other users, and no second gateway runs on the folder."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.events import ImageIndexed
from infra.nats.connection import LogAddress, connect
from tests.support.files import list_open_paths
from tests.support.programs import EndedProgram, find_announced_log, log_environment, run_program, run_to_end
from tests.support.waiting import eventually
from tests.support.world import Discord, Log, art_png


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.slow
async def test_nothing_is_open_to_others_while_up_works_and_a_second_gateway_is_refused(
    discord: Discord, tmp_path: Path, log_address: LogAddress
) -> None:
    data = tmp_path / "data"
    (data / "nats" / "store").mkdir(parents=True)
    (data / "catalogue.sqlite").touch()
    assert len(list_open_paths(data)) == 4
    environment = discord.environment(data)
    refusal = f"mapseek: Another `mapseek up` or `mapseek gateway` already runs on {data}: stop it, or set MAPSEEK_DATA_DIR.\n"
    async with run_program(tmp_path / "log", "up", environment=environment) as up:
        await discord.simulator.wait_for_command("find", timeout=60)
        client = await connect(find_announced_log(data), "test")
        await discord.post(("dragon.png", art_png(1)))
        await Log(client).wait_for(ImageIndexed, 1)
        await client.close()
        assert list_open_paths(data) == []
        refused = await asyncio.gather(
            run_to_end("up", environment=environment),
            run_to_end("up", environment=environment | log_environment(log_address)),
        )
        assert refused == [EndedProgram(1, "", refusal)] * 2
        assert await up.stop() == 0
    assert list_open_paths(data) == []
    assert {"nats", "blobs", "vectors", "catalogue.sqlite"} <= {path.name for path in data.iterdir()}


async def test_a_second_gateway_is_refused_and_a_killed_one_refuses_nobody(
    discord: Discord, tmp_path: Path, log_address: LogAddress
) -> None:
    environment = discord.environment(tmp_path / "data", **log_environment(log_address))
    async with run_program(tmp_path / "log", "gateway", environment=environment) as first:
        await discord.simulator.wait_for_command("find", timeout=60)
        second = await run_to_end("gateway", environment=environment)
        assert (second.code, second.err.count("\n")) == (1, 1)
        assert "Another `mapseek up` or `mapseek gateway` already runs on" in second.err
        await first.kill()
    await eventually(lambda: not discord.simulator.connected)
    async with run_program(tmp_path / "log", "gateway", environment=environment) as again:
        await eventually(lambda: discord.simulator.connected, timeout=60)
        assert await again.stop() == 0
