"""Listing, activating, rolling back and dropping generations, as an owner does it."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from contracts.errors import MapSeekError
from contracts.events import ImageEmbedded, ImageIndexed, ImagePreprocessed, SearchMatched
from pipeline.generations.command import activate_generation, drop_generation, roll_back, show_generations
from tests.support.waiting import eventually
from tests.support.world import World, art_png, begin_generation, read_headline, read_link, wait_for_facts, whole_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with whole_world(tmp_path / "data") as world:
        yield world


def parse_generations(out: Console) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in orjson.loads(out.export_text())}


async def list_generations(world: World) -> dict[str, dict[str, object]]:
    out = Console(record=True, width=1000)
    assert await show_generations(world.settings, as_json=True, out=out) == 0
    return parse_generations(out)


async def run(command: object) -> str:
    out = Console(record=True, width=200)
    assert await command(out) == 0  # type: ignore[operator]
    return out.export_text()


async def find_answering_generation(world: World, seed: int) -> str:
    """Search with a picture, check that the answer is right, and return the generation that answered."""
    number = await world.log.count(SearchMatched)
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(seed)), embedded=True)
    assert read_headline(answer).startswith("Found it")
    assert read_link(answer) is not None
    return (await world.log.facts(SearchMatched))[number].generation


async def test_the_first_generation_is_active_and_complete(world: World) -> None:
    await world.discord.post(*((f"{seed}.png", art_png(seed)) for seed in range(3)))
    await world.archived(3)
    rows = await list_generations(world)
    assert list(rows) == ["g1"]
    expected = {"state": "active", "images": 3, "missing": 0, "preprocessing": "p1", "vector_bytes": 3 * 512 * 4}
    assert expected.items() <= rows["g1"].items()


async def test_an_incomplete_generation_is_not_activated_without_force(world: World) -> None:
    await world.discord.post(*((f"{seed}.png", art_png(seed)) for seed in range(3)))
    await world.archived(3)
    await begin_generation(world, "g2")
    assert (await list_generations(world))["g2"]["state"] == "building"
    with pytest.raises(MapSeekError, match=r"Generation g2 lacks 3 images.*mapseek replay --name g2.*--force"):
        await activate_generation(world.settings, "g2", force=False, out=Console(record=True))
    told = await run(lambda out: activate_generation(world.settings, "g2", force=True, out=out))
    assert "Generation g2 answers searches now" in told
    assert "It lacks 3 images" in told


async def test_activating_rolling_back_and_dropping(world: World) -> None:
    """New images are added to both generations, so an archive that has only new images is complete in each."""
    await begin_generation(world, "g2")
    await world.discord.post(*((f"{seed}.png", art_png(seed)) for seed in range(3)))
    await wait_for_facts(world, ImageIndexed, "g2", 3)
    await world.log.wait_until_idle()
    assert {name: row["state"] for name, row in (await list_generations(world)).items()} == {"g1": "active", "g2": "ready"}
    assert await find_answering_generation(world, 1) == "g1"

    assert "mapseek rollback" in await run(lambda out: activate_generation(world.settings, "g2", force=False, out=out))
    assert await find_answering_generation(world, 1) == "g2"
    assert {name: row["state"] for name, row in (await list_generations(world)).items()} == {"g1": "retired", "g2": "active"}

    await run(lambda out: roll_back(world.settings, out))
    assert await find_answering_generation(world, 1) == "g1"
    await run(lambda out: activate_generation(world.settings, "g2", force=False, out=out))
    await world.discord.post(("3.png", art_png(3)))
    await wait_for_facts(world, ImageIndexed, "g1", 4)
    await wait_for_facts(world, ImageIndexed, "g2", 4)

    assert "4 vectors erased" in await run(lambda out: drop_generation(world.settings, "g1", out))
    assert list(await list_generations(world)) == ["g2"]
    await eventually(lambda: world.process.container.encoders.of("g1") is None)
    facts = await world.log.facts(ImageEmbedded)
    assert {fact.generation for fact in facts} == {"g2"}
    assert len(facts) == 4
    catalogue = await world.process.container.catalogue()
    assert await catalogue.vector(facts[0].image_id, "g1") is None
    assert await find_answering_generation(world, 3) == "g2"
    with pytest.raises(MapSeekError, match="no earlier generation"):
        await roll_back(world.settings, Console(record=True))
    with pytest.raises(MapSeekError, match="was dropped"):
        await activate_generation(world.settings, "g1", force=False, out=Console(record=True))
    await world.discord.post(("4.png", art_png(4)))
    await wait_for_facts(world, ImageIndexed, "g2", 5)
    assert await world.log.count(ImagePreprocessed) == 5
    assert {fact.generation for fact in await world.log.facts(ImageEmbedded)} == {"g2"}
    assert "0 vectors erased" in await run(lambda out: drop_generation(world.settings, "g1", out))


async def test_impossible_requests_are_one_sentence(world: World) -> None:
    out = Console(record=True)
    with pytest.raises(MapSeekError, match="There is no generation 'g7': there is g1"):
        await activate_generation(world.settings, "g7", force=True, out=out)
    with pytest.raises(MapSeekError, match="g1 is the active one already"):
        await activate_generation(world.settings, "g1", force=False, out=out)
    with pytest.raises(MapSeekError, match="Generation g1 is the active one: activate another one first"):
        await drop_generation(world.settings, "g1", out)
    with pytest.raises(MapSeekError, match="There is no earlier generation to go back to"):
        await roll_back(world.settings, out)
