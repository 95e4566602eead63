"""`mapseek trace` and `mapseek failures` show exactly what happened."""

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from contracts.errors import MapSeekError
from contracts.events import ImageFingerprinted, ImageIndexed, ImagePreprocessed, ImageRemoved, SearchAnswered, SearchMatched
from contracts.subjects import RETRIES
from infra.sandbox.simulator import CDN_PATHS, Status
from pipeline.failures.command import Choice, list_failures, retry_failures, show_failure
from pipeline.settings import Settings
from pipeline.trace.command import trace_entities
from stages import download, preprocess
from tests.support.archives import ERASE_SOON
from tests.support.bench_stage import count_messages
from tests.support.waiting import eventually
from tests.support.world import Discord, World, art_png, mapseek_beside

OUTPUTS = {"fingerprint": "fingerprinted", "embed": "embedded"}
"""The facts that two stages make from the same pixels, in parallel."""

FAILED = [f"attempt {number} failed" for number in range(1, 5)]


def make_console() -> Console:
    return Console(file=io.StringIO(), width=100, color_system=None)


def console_text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def trace_as_json(settings: Settings, what: str) -> list[dict[str, Any]]:
    console = make_console()
    assert await trace_entities(settings, what, as_json=True, out=console) == 0
    found: list[dict[str, Any]] = orjson.loads(console_text(console))
    return found


async def trace_as_text(settings: Settings, what: str) -> str:
    console = make_console()
    assert await trace_entities(settings, what, as_json=False, out=console) == 0
    assert max(map(len, console_text(console).splitlines())) <= 100
    return console_text(console)


async def list_failures_as_json(settings: Settings) -> list[dict[str, Any]]:
    console = make_console()
    await list_failures(settings, Choice(), as_json=True, out=console)
    found: list[dict[str, Any]] = orjson.loads(console_text(console))
    return found


def list_steps(story: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["stage"], step["what"]) for step in story["steps"]]


async def test_an_image_that_was_retried_buried_put_back_and_indexed_shows_exactly_that(discord: Discord, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with mapseek_beside(discord, folder, stages=(download.STAGE, preprocess.STAGE)) as world:
        message = await discord.post(("dragon.png", art_png(1)))
        await world.log.wait_for(ImagePreprocessed, 1)
        [preprocessed] = await world.log.facts(ImagePreprocessed)
        [waiting] = await trace_as_json(world.settings, preprocessed.image_id)
        assert waiting["standing"] == "waits for embed"
    image = preprocessed.image_id
    [pixels] = (folder / "blobs").rglob(preprocessed.pixels)
    hidden = pixels.rename(tmp_path / "hidden")

    async with mapseek_beside(discord, folder) as world:
        await world.log.dead_letters(2)
        letters = {each["stage"]: each for each in await eventually(lambda: list_failures_as_json(world.settings))}
        assert set(letters) == set(OUTPUTS)
        for letter in letters.values():
            assert (letter["generation"], letter["entity"]) == ("g1", image)
            assert f"mapseek failures show {letter['id']}" in " ".join((await trace_as_text(world.settings, image)).split())
        console = make_console()
        await show_failure(world.settings, letters["embed"]["id"], as_json=False, out=console)
        shown = console_text(console)
        assert "Traceback (most recent call last):\n" in shown
        assert '"preprocessing": "' in shown

        hidden.rename(pixels)
        await retry_failures(world.settings, Choice(ids=tuple(letter["id"] for letter in letters.values())), make_console())
        await world.log.wait_for(ImageIndexed, 1)
        await world.log.wait_for(ImageFingerprinted, 1)
        await world.log.wait_until_idle()
        assert await list_failures_as_json(world.settings) == []
        assert await count_messages(world.log.client, RETRIES) == 0

        [story] = await trace_as_json(world.settings, image)
        ways = {
            stage: [what for each, what in list_steps(story) if each == stage] for stage, _ in list_steps(story) if stage != "link"
        }
        assert ways == {
            "gateway": ["posted"],
            "download": ["downloaded"],
            "preprocess": ["preprocessed"],
            **{stage: [*FAILED, "dead letter", "retried by hand", made] for stage, made in OUTPUTS.items()},
            "persist": ["indexed"],
        }
        assert [stage for stage in ways if stage not in OUTPUTS] == ["gateway", "download", "preprocess", "persist"]
        assert story["standing"] == "in the catalogue and findable in g1"
        assert story["well"]
        assert story["dead_letters"] == story["put_back"] == []
        errors = [step["detail"] for step in story["steps"] if step["bad"]]
        assert len(errors) == len(OUTPUTS) * (len(FAILED) + 1)
        assert all(f"the canonical picture {preprocessed.pixels} is not in the blob store" in error for error in errors)
        assert all(step["process"].count("/") == 1 for step in story["steps"])
        times = [step["at"] for step in story["steps"]]
        assert times == sorted(times)
        assert {step["what"] for step in story["steps"] if step["after_s"] is not None} >= {"downloaded", "embedded", "indexed"}
        told = await trace_as_text(world.settings, message.jump_url)
        for word in (
            image,
            "dragon.png by Steve",
            message.jump_url,
            "attempt 4 failed",
            "retried by hand",
            "g1 (active): fingerprinted, embedded, indexed",
        ):
            assert word in told


async def test_the_trace_of_a_search_shows_its_stages_and_never_its_token(world: World) -> None:
    await world.discord.post(("dragon.png", art_png(1)))
    await world.archived(1)
    interaction = await world.discord.ask(art_png(1))
    await world.log.wait_for(SearchAnswered, 1)
    [answered] = await world.log.facts(SearchAnswered)
    [story] = await trace_as_json(world.settings, answered.search_id)
    assert list_steps(story) == [
        ("gateway", "requested"),
        ("download", "downloaded"),
        ("preprocess", "preprocessed"),
        ("fingerprint", "fingerprinted"),
        ("embed", "embedded"),
        ("match", "matched"),
        ("reply", "answered"),
    ]
    assert story["standing"] == "answered on Discord: match"
    told = await trace_as_text(world.settings, answered.search_id)
    assert "question.png by Alex" in told
    assert interaction.token not in told + orjson.dumps(story).decode()


async def test_a_dead_letter_of_a_search_hides_its_token_and_is_answered_when_it_is_put_back(
    discord: Discord, tmp_path: Path
) -> None:
    discord.simulator.faults.add(Status(500, retry_after=0.01), CDN_PATHS, times=None)
    async with mapseek_beside(discord, tmp_path) as world:
        interaction = await discord.ask(art_png(1))
        await world.log.wait_for(SearchAnswered, 1)
        [letter] = await list_failures_as_json(world.settings)
        for as_json in (False, True):
            console = make_console()
            await show_failure(world.settings, letter["id"], as_json=as_json, out=console)
            assert interaction.token not in console_text(console)
            assert "***" in console_text(console)
        discord.simulator.faults.clear()
        await retry_failures(world.settings, Choice(all=True), make_console())
        await world.log.wait_for(SearchMatched, 1)
        await world.log.wait_until_idle("search")
        [story] = await trace_as_json(world.settings, letter["entity"])
        assert {("download", "dead letter"), ("download", "retried by hand"), ("match", "matched")} <= set(list_steps(story))
        assert interaction.token not in orjson.dumps(story).decode()


async def test_the_trace_of_a_removed_image_shows_only_the_removal(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path, policy=ERASE_SOON) as world:
        message = await discord.post(("secret-name.png", art_png(1)))
        await world.archived(1)
        [image] = await world.indexed()
        await discord.simulator.delete(message)
        await world.log.wait_for(ImageRemoved, 1)
        for family in ("removal", "image"):
            await world.log.wait_until_idle(family)
        for what in (image, message.jump_url):
            [story] = await trace_as_json(world.settings, what)
            assert list_steps(story) == [("remove", "removed")]
            assert story["standing"].startswith("removed on 20")
            assert story["catalogue"]["removed"]
        assert "secret-name.png" not in " ".join((await trace_as_text(world.settings, image)).split())


@pytest.mark.parametrize("what", ["123", "https://discord.com/channels/1/2/3", "two words", "g*"])
async def test_an_unknown_id_gives_a_one_sentence_error(world: World, what: str) -> None:
    with pytest.raises(MapSeekError, match=r"The log has no image|is neither an id nor the link") as caught:
        await trace_as_json(world.settings, what)
    assert "\n" not in str(caught.value)


async def test_a_message_that_could_not_be_read_is_read_again(discord: Discord, tmp_path: Path) -> None:
    simulator = discord.simulator
    async with mapseek_beside(discord, tmp_path) as world:
        message = await simulator.post_payload(discord.gallery, {"attachments": "?"}, by=discord.steve)
        await discord.post(("after.png", art_png(1)))
        await world.archived(1)
        [letter] = await list_failures_as_json(world.settings)
        assert (letter["id"], letter["stage"]) == (f"record/message/{message.id}", "record")

        async def retry() -> None:
            await retry_failures(world.settings, Choice(ids=(letter["id"],)), make_console())

        await retry()
        [again] = await eventually(lambda: list_failures_as_json(world.settings))
        assert again["id"] == letter["id"], "it still cannot be read"
        message.replaced = {"attachments": [simulator.upload_file(discord.gallery, "map.png", art_png(2))]}
        await retry()
        await world.archived(2)
        assert set(await world.entries()) == {"after.png", "map.png"}
        assert await list_failures_as_json(world.settings) == []
