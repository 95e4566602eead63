"""A replay never posts, sends or marks anything, and a removed image stays away, whatever is played again."""

from pathlib import Path
from typing import Any

import pytest

from contracts.events import Fact, ImageEmbedded, ImageIndexed, ImageReposted
from contracts.subjects import kind_filter, stream_of
from pipeline.engine import bulk_consumer
from pipeline.engine.bulk_consumer import Hands, Limits
from pipeline.engine.registry import STAGES
from pipeline.generations.encoders import open_encoder_named
from pipeline.process import Process, log_server, running
from pipeline.replay.build import begin, build
from pipeline.replay.stage_replay import Part, legs, play_leg
from tests.e2e.test_alerts import told, wish
from tests.e2e.test_reposts import COPY, PIECE, choose
from tests.support.archives import SOON, at_rest, nothing_left, removed, traces_of
from tests.support.waiting import eventually
from tests.support.world import Discord, World, art, mapseek_beside

WANTED = 7
SECOND_MODEL = "mapseek-untrained-fine"


def said(world: World) -> dict[str, Any]:
    """Everything that the bot has said, and every mark that it has left."""
    discord, bot = world.discord, world.discord.simulator.me(world.discord.guild).id
    messages = list(discord.gallery.messages.values())
    return {
        "messages": [(each.id, each.content) for each in messages if each.author.id == bot],
        "reactions": [(each.id, {emoji: sorted(who) for emoji, who in each.reactions.items()}) for each in messages],
        "direct": [
            [each.content for each in discord.simulator.direct_messages(member)] for member in (discord.alex, discord.steve)
        ],
    }


async def purge(world: World, kind: type[Fact]) -> None:
    """As if it had never been recorded, so that the replay records it."""
    await world.log.client.jetstream().purge_stream(stream_of(kind), subject=kind_filter(kind))


async def play_everything(world: World, process: Process) -> None:
    """Every stage that can be replayed, over the whole log and in every generation."""
    for stage in STAGES:
        if not stage.live_only:
            for leg in await legs(process.wiring.client, stage, Part(), (await process.wiring.generations()).now.alive):
                await play_leg(process, stage, leg, Limits(), Hands(2, 8))
    await at_rest(world)


async def test_every_stage_played_again_and_a_generation_built(
    discord: Discord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_consumer, "FETCH_TIMEOUT_S", 0.2)
    async with mapseek_beside(discord, tmp_path / "data", policy=SOON) as world:
        await wish(world)
        await discord.post(("first.png", art(PIECE)))
        gone = await discord.post(("gone.png", art(5)))
        await world.archived(2)
        await discord.post(("again.png", COPY))
        await discord.post(("wanted.png", art(WANTED)))
        await world.archived(4)
        await told(discord, discord.alex)
        await at_rest(world)
        [trace] = await traces_of(world, gone)
        await discord.simulator.delete(gone)
        await removed(world, [trace.image_id])
        await at_rest(world)
        await choose(world, "reply")  # nothing was said of the repost, which is young: a word on it would be new
        before = said(world)
        assert before["direct"][0]

        await purge(world, ImageReposted)
        async with log_server(world.settings) as url, running(world.settings, url, (), policy=SOON) as process:
            await play_everything(world, process)
            assert await world.log.count(ImageReposted) == 1
            encoder = await open_encoder_named(SECOND_MODEL, None, "auto", world.settings)
            generation = await begin(process, encoder, SECOND_MODEL, None, None)
            await build(process, generation, Limits(), 8)

            async def complete() -> bool:
                indexed = [fact.image_id for fact in await world.log.facts(ImageIndexed) if fact.generation == generation.name]
                return len(indexed) == 3

            await eventually(complete)
            await purge(world, ImageReposted)
            await play_everything(world, process)
        assert said(world) == before
        assert {fact.image_id for fact in await world.log.facts(ImageEmbedded)}.isdisjoint({trace.image_id})
        await nothing_left(world, [trace])
