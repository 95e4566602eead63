"""A replay never posts, sends or marks anything, and a removed image stays removed whatever is replayed."""

from pathlib import Path
from typing import Any

import pytest

from contracts.events import Fact, ImageEmbedded, ImageIndexed, ImageReposted
from contracts.subjects import kind_filter, stream_of
from pipeline.engine import bulk_consumer
from pipeline.engine.bulk_consumer import Concurrency, Limits
from pipeline.engine.registry import STAGES
from pipeline.generations.encoders import open_model_encoder
from pipeline.process import Process, open_log_server, open_process
from pipeline.replay.build import build, start_or_join_generation
from pipeline.replay.stage_replay import Part, plan_legs, play_leg
from tests.e2e.test_alerts import read_direct_messages, request_alert
from tests.e2e.test_reposts import COPY, PIECE, choose_repost_notice
from tests.support.archives import ERASE_SOON, collect_traces, expect_nothing_left, wait_until_archive_idle, wait_until_removed
from tests.support.waiting import eventually
from tests.support.world import Discord, World, art_png, mapseek_beside

WANTED = 7
SECOND_MODEL = "mapseek-untrained-fine"


def collect_messages(world: World) -> dict[str, Any]:
    """Return every message of the bot and every reaction, to compare before and after."""
    discord, bot = world.discord, world.discord.simulator.me(world.discord.guild).id
    messages = list(discord.gallery.messages.values())
    return {
        "messages": [(each.id, each.content) for each in messages if each.author.id == bot],
        "reactions": [(each.id, {emoji: sorted(who) for emoji, who in each.reactions.items()}) for each in messages],
        "direct": [
            [each.content for each in discord.simulator.direct_messages(member)] for member in (discord.alex, discord.steve)
        ],
    }


async def purge_facts(world: World, kind: type[Fact]) -> None:
    """Delete the facts of a kind, so that the replay records them again."""
    await world.log.client.jetstream().purge_stream(stream_of(kind), subject=kind_filter(kind))


async def replay_everything(world: World, process: Process) -> None:
    """Replay every stage that can be replayed, over the whole log and in every generation."""
    for stage in STAGES:
        if not stage.live_only:
            for leg in await plan_legs(process.container.client, stage, Part(), (await process.container.generations()).now.alive):
                await play_leg(process, stage, leg, Limits(), Concurrency(2, 8))
    await wait_until_archive_idle(world)


async def test_a_replay_of_every_stage_and_a_new_generation_send_nothing(
    discord: Discord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_consumer, "BULK_FETCH_TIMEOUT_S", 0.2)
    async with mapseek_beside(discord, tmp_path / "data", policy=ERASE_SOON) as world:
        await request_alert(world)
        await discord.post(("first.png", art_png(PIECE)))
        gone = await discord.post(("gone.png", art_png(5)))
        await world.archived(2)
        await discord.post(("again.png", COPY))
        await discord.post(("wanted.png", art_png(WANTED)))
        await world.archived(4)
        await read_direct_messages(discord, discord.alex)
        await wait_until_archive_idle(world)
        [trace] = await collect_traces(world, gone)
        await discord.simulator.delete(gone)
        await wait_until_removed(world, [trace.image_id])
        await wait_until_archive_idle(world)
        await choose_repost_notice(world, "reply")  # the repost was not marked, so a mark by the replay would be noticed
        before = collect_messages(world)
        assert before["direct"][0]

        await purge_facts(world, ImageReposted)
        async with (
            open_log_server(world.settings) as address,
            open_process(world.settings, address, (), policy=ERASE_SOON) as process,
        ):
            await replay_everything(world, process)
            assert await world.log.count(ImageReposted) == 1
            encoder = await open_model_encoder(SECOND_MODEL, None, "auto", world.settings)
            generation = await start_or_join_generation(process, encoder, SECOND_MODEL, None, None)
            await build(process, generation, Limits(), 8)

            async def complete() -> bool:
                indexed = [fact.image_id for fact in await world.log.facts(ImageIndexed) if fact.generation == generation.name]
                return len(indexed) == 3

            await eventually(complete)
            await purge_facts(world, ImageReposted)
            await replay_everything(world, process)
        assert collect_messages(world) == before
        assert {fact.image_id for fact in await world.log.facts(ImageEmbedded)}.isdisjoint({trace.image_id})
        await expect_nothing_left(world, [trace])
