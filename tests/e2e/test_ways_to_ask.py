"""Every way to search (picture, link, message, words) is answered in the right language and to the right readers."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from contracts.events import ImageEmbedded, SearchEmbedded, SearchMatched
from contracts.stage import Stage
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Interaction, VisibleAnswer
from infra.vision.distortions import encode_png, reencode
from pipeline.engine.registry import STAGES
from tests.support.archives import add_manager
from tests.support.facts import save_tiny_model
from tests.support.waiting import eventually
from tests.support.world import (
    Discord,
    World,
    art_png,
    list_labels,
    mapseek_beside,
    read_headline,
    read_lines,
    read_link,
    shared_world,
)

LONG_AGO = datetime(2024, 2, 1, 12, tzinfo=UTC)
NEVER_POSTED = art_png(9_000)


def make_copy(seed: int) -> bytes:
    """Return the same piece in another file."""
    return encode_png(reencode(draw_piece(seed), 60))


async def post_three_pieces(world: World) -> World:
    """Let Steve post three pieces, long ago."""
    discord = world.discord
    for seed in range(1, 4):
        await discord.simulator.post(discord.gallery, discord.steve, files=[(f"{seed}.png", art_png(seed))], at=LONG_AGO)
    await world.archived(3)
    return world


@pytest_asyncio.fixture(loop_scope="module")
async def archive(server: World) -> World:
    return await post_three_pieces(server)


@pytest.fixture
async def own_archive(world: World) -> World:
    """An archive of the test's own, for tests that change the guild's settings."""
    return await post_three_pieces(world)


def list_original_links(world: World) -> list[str]:
    """Return the links to the three pieces."""
    return [message.jump_url for message in list(world.discord.gallery.messages.values())[:3]]


async def find(world: World, picture: bytes = NEVER_POSTED, *, locale: str = "en-US", **options: object) -> Interaction:
    discord = world.discord
    files = {"image": ("shot.png", picture)}
    return await discord.simulator.slash(discord.gallery, discord.alex, "find", attachments=files, options=options, locale=locale)


async def wait_for_answers(world: World, interaction: Interaction, count: int) -> list[VisibleAnswer]:
    """Return the first answer and its follow-ups."""
    first = await world.discord.simulator.answer(interaction, embedded=True)
    return [first, *await world.discord.simulator.followups(interaction, count - 1, embedded=True)]


def stages_without(stage: str) -> list[Stage[Any]]:
    return [each for each in STAGES if each.name != stage]


def read_content(interaction: Interaction) -> str | None:
    """Return the present text of the deferred answer."""
    return interaction.original and interaction.original.content


async def change_settings(discord: Discord, **options: object) -> None:
    wanted = {name.replace("_", "-"): value for name, value in options.items()}
    changed = await discord.simulator.slash(discord.gallery, add_manager(discord), "archive settings", options=wanted)
    await discord.simulator.answer(changed, embedded=True)


@shared_world
@pytest.mark.parametrize("way", ["menu", "link"])
async def test_the_first_message_of_a_thread_stands_for_the_message_that_it_began_with(archive: World, way: str) -> None:
    discord = archive.discord
    begin = await discord.post(("a.png", make_copy(3)))
    thread = await discord.simulator.add_thread(discord.gallery, "about it", message=begin)
    starter = next(iter(thread.messages.values()))
    if way == "menu":
        interaction = await discord.simulator.message_command(thread, discord.alex, "Find this map", starter)
    else:
        interaction = await discord.simulator.slash(discord.gallery, discord.alex, "find", options={"link": starter.jump_url})
    [answer] = await wait_for_answers(archive, interaction, 1)
    assert read_link(answer) == list_original_links(archive)[2]


@shared_world
async def test_a_link_to_a_message_with_several_pictures_has_an_answer_for_each(archive: World) -> None:
    lounge = archive.discord.simulator.add_text_channel(archive.discord.guild, "lounge")
    asked_about = await archive.discord.post(
        ("a.png", make_copy(2)), ("b.png", NEVER_POSTED), ("c.png", make_copy(1)), channel=lounge
    )
    interaction = await archive.discord.simulator.slash(
        lounge, archive.discord.alex, "find", options={"link": asked_about.jump_url}
    )
    answers = await wait_for_answers(archive, interaction, 3)
    first, second, _ = list_original_links(archive)
    assert {read_link(answers[0]), read_link(answers[2])} == {first, second}
    assert read_link(answers[0]) == second
    assert all(answer.ephemeral and answer.content == "" for answer in answers)


@shared_world
async def test_a_link_to_a_picture_on_discord_is_searched(archive: World) -> None:
    elsewhere = archive.discord.simulator.add_guild("Elsewhere")
    harbour = archive.discord.simulator.add_text_channel(elsewhere, "harbour")
    visitor = archive.discord.simulator.add_member(elsewhere, "Noor")
    shared = await archive.discord.simulator.post(harbour, visitor, files=[("shared.png", make_copy(3))])
    interaction = await archive.discord.simulator.slash(
        archive.discord.gallery, archive.discord.alex, "find", options={"link": shared.attachments[0].url}
    )
    answer = await archive.discord.simulator.answer(interaction, embedded=True)
    assert (read_headline(answer), read_link(answer)) == ("Found it: first posted by Steve", list_original_links(archive)[2])


@shared_world
async def test_find_this_map_answers_each_of_three_pictures_of_a_message(archive: World) -> None:
    message = await archive.discord.post(*((f"{seed}.png", make_copy(seed)) for seed in (3, 1, 2)))
    interaction = await archive.discord.simulator.message_command(
        archive.discord.gallery, archive.discord.alex, "Find this map", message
    )
    answers = await wait_for_answers(archive, interaction, 3)
    first, second, third = list_original_links(archive)
    assert [read_link(answer) for answer in answers] == [third, first, second]
    assert all("This is it" in list_labels(answer) for answer in answers)


@shared_world
async def test_words_on_a_model_that_knows_none_are_answered_with_a_clear_sentence(archive: World) -> None:
    interaction = await archive.discord.simulator.slash(
        archive.discord.gallery, archive.discord.alex, "find-text", options={"query": "a red dragon"}
    )
    answer = await archive.discord.simulator.answer(interaction, embedded=True)
    sentence = "This bot's model doesn't understand words. Please search with a picture."
    assert read_lines(answer) == [sentence]
    assert answer.ephemeral
    assert list_labels(answer) == []


async def test_words_find_pictures_where_the_model_knows_some(discord: Discord, tmp_path: Path) -> None:
    """A tiny model with random weights has no meaning of words. The query is the word whose vector is nearest to a picture."""
    checkpoint = save_tiny_model(tmp_path, "tiny-words")
    async with mapseek_beside(discord, tmp_path / "data", model="tiny-words", pretrained=str(checkpoint)) as world:
        old = await discord.simulator.post(discord.gallery, discord.steve, files=[("old.png", art_png(1))], at=LONG_AGO)
        new = await discord.post(("new.png", art_png(2)), author=discord.alex)
        await world.archived(2)
        encoder = await world.process.container.encoder()
        vectors = {fact.image_id: np.frombuffer(fact.vector, "<f4") for fact in await world.log.facts(ImageEmbedded)}

        async def nearness(word: str) -> float:
            vector = np.frombuffer(await encoder.encode_text(word), "<f4")
            return float(min(vector @ each for each in vectors.values()))

        known = {word: await nearness(word) for word in ("dragon", "fox", "sunset", "castle", "cat", "sea", "skull", "moon")}
        word = max(known, key=lambda each: known[each])

        async def asked(**options: object) -> VisibleAnswer:
            used = await discord.simulator.slash(discord.gallery, discord.alex, "find-text", options={"query": word, **options})
            return await discord.simulator.answer(used, embedded=True)

        found = await asked()
        assert re.fullmatch(r"Best result: first posted by (Steve|Alex)", read_headline(found))
        assert re.fullmatch(r"Fits your words: \*\*\d+%\*\*", read_lines(found)[0])
        assert read_link(await asked(author=discord.alex)) == new.jump_url
        assert read_link(await asked(before="2024-03")) == old.jump_url
        assert read_link(await asked(after="2024-03")) == new.jump_url
        assert read_lines(await asked(before="2023")) == [
            "I couldn't find anything that fits your words in any channel you can see here."
        ]


async def test_an_answer_is_private_unless_the_asker_or_the_server_wants_it_visible(own_archive: World) -> None:
    async def private(**options: object) -> bool:
        return (await own_archive.discord.simulator.answer(await find(own_archive, **options), embedded=True)).ephemeral

    assert await private()
    assert not await private(private=False)
    await change_settings(own_archive.discord, private_answers=False)
    assert not await private()
    assert await private(private=True)


async def test_the_waiting_asker_sees_the_progress(discord: Discord, tmp_path: Path) -> None:
    """The stages are started one after another, as if there were much to do."""
    async with mapseek_beside(discord, tmp_path, stages=stages_without("download")) as world:
        interaction = await find(world)
        await eventually(lambda: read_content(interaction) == "Loading the picture…")
    async with mapseek_beside(discord, tmp_path, stages=stages_without("match")):
        await eventually(lambda: read_content(interaction) == "Searching the archive…")
    async with mapseek_beside(discord, tmp_path):
        answer = await discord.simulator.answer(interaction, embedded=True)
        assert (answer.content, read_headline(answer)) == ("", "No match")


async def test_a_german_client_is_answered_in_german_where_nobody_else_reads_it(own_archive: World) -> None:
    private = await own_archive.discord.simulator.answer(await find(own_archive, art_png(1), locale="de"), embedded=True)
    assert read_headline(private) == "Gefunden: zuerst gepostet von Steve"
    assert re.fullmatch(r"Treffer: \*\*\d+\u00a0%\*\*", read_lines(private)[0])
    buttons = ["Zum Beitrag", "Das ist es", "Das ist es nicht", "Warum dieser Treffer?"]
    assert [button.label for button in private.buttons.values()] == buttons
    visible = await own_archive.discord.simulator.answer(
        await find(own_archive, art_png(1), locale="de", private=False), embedded=True
    )
    assert read_headline(visible) == "Found it: first posted by Steve"
    nothing = await own_archive.discord.simulator.answer(await find(own_archive, locale="de"), embedded=True)
    assert read_lines(nothing) == ["Ich habe dieses Bild in keinem Kanal gefunden, den du hier sehen kannst."]
    await change_settings(own_archive.discord, language="de")
    for locale, headline_for_all in (("en-US", "Kein Treffer"), ("de", "Kein Treffer")):
        answer = await own_archive.discord.simulator.answer(await find(own_archive, locale=locale, private=False), embedded=True)
        assert read_headline(answer) == headline_for_all


async def test_a_member_over_the_quota_is_told_when_to_search_again(own_archive: World) -> None:
    await change_settings(own_archive.discord, per_member=2)
    for _ in range(2):
        await own_archive.discord.simulator.answer(await find(own_archive), embedded=True)
    refusal = await own_archive.discord.simulator.answer(await find(own_archive, private=False))
    told = re.fullmatch(r"That's a lot of searches in a short time\. Please try again <t:(\d+):R>\.", refusal.content)
    assert told
    assert refusal.ephemeral
    assert 0 < int(told[1]) - datetime.now(UTC).timestamp() <= 31
    german = await own_archive.discord.simulator.answer(await find(own_archive, locale="de"))
    assert re.fullmatch(r"Das waren viele Suchen in kurzer Zeit\. Bitte versuch es <t:\d+:R> noch einmal\.", german.content)
    steves = await own_archive.discord.ask(art_png(1), member=own_archive.discord.steve)
    assert read_link(await own_archive.discord.simulator.answer(steves, embedded=True)) == list_original_links(own_archive)[0]


async def test_three_searches_at_once_are_answered_and_a_fourth_has_to_wait(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path, stages=stages_without("match")) as world:
        posts = [await discord.post((f"{seed}.png", art_png(seed))) for seed in range(1, 4)]
        await world.archived(3)
        asked = await asyncio.gather(*(find(world, make_copy(seed)) for seed in range(1, 4)))
        await world.log.wait_for(SearchEmbedded, 3)
        fourth = await discord.simulator.answer(await find(world))
        assert fourth.content.startswith("That's a lot of searches")
    async with mapseek_beside(discord, tmp_path) as world:
        answers = [await discord.simulator.answer(each, embedded=True) for each in asked]
        assert [read_link(answer) for answer in answers] == [post.jump_url for post in posts]
        assert await world.log.count(SearchMatched) == 3
