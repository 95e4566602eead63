"""A restart loses nothing: it stops in time, finds what was archived before, and does not trust a damaged snapshot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from contracts.events import ImageIndexed, ImagePosted
from infra.nats.connection import connect
from infra.nats.server import read_announced_address
from pipeline.engine.job import Backoff
from tests.support.mongo_server import MongoDouble
from tests.support.programs import Program, find_announced_log, run_program
from tests.support.waiting import eventually
from tests.support.world import IMPATIENT_POLICY, Discord, Log, World, art_png, mapseek_beside, read_headline, read_link

STOPS_WITHIN_S = 20

OUTLASTS_THE_ACK_WAIT = replace(IMPATIENT_POLICY, image_retry=Backoff(first=0.5, factor=2, longest=8))
"""A restarted server does not know which messages were put back with a delay, so they return after the ack wait. Stages that depend
on them retry for longer.
"""


@asynccontextmanager
async def run_up(discord: Discord, folder: Path) -> AsyncIterator[tuple[Program, Log]]:
    """Run `mapseek up` in a process of its own, logged in."""
    async with run_program(folder / "log", "up", environment=discord.environment(folder / "data")) as running:
        await discord.simulator.wait_for_command("find", timeout=60)
        client = await connect(find_announced_log(folder / "data"), "test")
        yield running, Log(client)
        await client.close()


async def expect_found(discord: Discord, seed: int, url: str) -> None:
    answer = await discord.simulator.answer(await discord.ask(art_png(seed)), embedded=True)
    assert read_headline(answer) == "Found it: first posted by Steve"
    assert read_link(answer) == url


async def test_up_stops_in_time_and_finds_old_and_new_images_afterwards(discord: Discord, tmp_path: Path) -> None:
    async with run_up(discord, tmp_path) as (running, log):
        old = await discord.post(("old.png", art_png(1)))
        await log.wait_for(ImageIndexed, 1)
        for number in range(2):
            await discord.post(*((f"{number}-{seed}.png", art_png(seed)) for seed in range(2, 12)))
        await log.wait_for(ImagePosted, 11)
        began = monotonic()
        assert await running.stop(STOPS_WITHIN_S) == 0
        assert monotonic() - began < STOPS_WITHIN_S
        assert "Traceback" not in running.log.read_text()
    assert not (tmp_path / "data" / "nats" / "server.json").exists()
    assert read_announced_address(tmp_path / "data" / "nats") is None
    manifest = orjson.loads((tmp_path / "data" / "vectors" / "manifest.json").read_bytes())["manifest"]
    assert manifest["shards"][0]["count"] >= 1

    async with run_up(discord, tmp_path) as (running, log):
        [ready] = [
            line
            for line in running.lines()
            if (line["event"], line.get("index")) == ("index_ready", "vector index") and line["snapshot_position"]
        ]
        assert ready["snapshot_position"] == manifest["position"]
        await expect_found(discord, 1, old.jump_url)
        new = await discord.post(("new.png", art_png(20)))
        await log.wait_for(ImagePosted, 22)
        await log.wait_until_idle(timeout=60)
        assert await log.count(ImageIndexed) == 22
        assert await log.dead_letters() == []
        await expect_found(discord, 20, new.jump_url)
        assert await running.stop(STOPS_WITHIN_S) == 0


async def test_stopping_while_the_database_is_down_uses_up_no_attempts(
    discord: Discord, tmp_path: Path, impatient_log: None
) -> None:
    """The next start handles the messages that were held."""
    (tmp_path / "mongo").mkdir()
    mongo = MongoDouble(tmp_path / "mongo")
    settings: dict[str, Any] = {"catalogue": "mongodb", "mongodb_uri": mongo.uri, "policy": OUTLASTS_THE_ACK_WAIT}
    await asyncio.to_thread(mongo.start)
    try:
        async with mapseek_beside(discord, tmp_path, **settings) as world:
            await asyncio.to_thread(mongo.kill)
            await discord.post(*((f"{seed}.png", art_png(seed)) for seed in range(10)))
            await eventually(lambda: world.process.runtime.waiting_for.get("persist") == "catalogue")
        await asyncio.to_thread(mongo.start)
        async with mapseek_beside(discord, tmp_path, **settings) as world:
            await world.archived(10)
            assert await world.log.dead_letters() == []
            assert await world.log.count(ImageIndexed) == 10
    finally:
        mongo.kill()


@pytest.mark.parametrize(("damaged", "damage"), [("manifest.json", "cut"), ("*.data", "overwritten"), ("*.data", "missing")])
async def test_damaged_snapshots_are_rebuilt_from_the_log(discord: Discord, tmp_path: Path, damaged: str, damage: str) -> None:
    """The snapshots of both indexes."""
    async with mapseek_beside(discord, tmp_path) as world:
        posted = await discord.post(("a.png", art_png(1)), ("b.png", art_png(2)))
        await world.archived(2)
    vectors, features = (list((tmp_path / index).glob(damaged)) for index in ("vectors", "features"))
    assert vectors
    assert features
    for file in vectors + features:
        data = file.read_bytes()
        middle = len(data) // 2
        match damage:
            case "cut":
                file.write_bytes(data[:middle])
            case "overwritten":
                file.write_bytes(data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :])
            case "missing":
                file.unlink()
    with capture_logs() as lines:
        async with mapseek_beside(discord, tmp_path) as world:
            await expect_found(discord, 1, posted.jump_url)
            await expect_found(discord, 2, posted.jump_url)
    for index in ("vector index", "feature index"):
        [ready] = [line for line in lines if (line["event"], line.get("index")) == ("index_ready", index)]
        assert (ready["snapshot_position"], ready["count"]) == (0, 2), index
    assert await read_restored_position(discord, tmp_path) > 0


async def read_restored_position(discord: Discord, folder: Path) -> int:
    """Start once more and return the position that the snapshot reaches. The start before must have saved a complete one."""
    with capture_logs() as lines:
        async with mapseek_beside(discord, folder) as world:
            assert isinstance(world, World)
    [ready] = [line for line in lines if (line["event"], line.get("index")) == ("index_ready", "vector index")]
    return int(ready["snapshot_position"])
