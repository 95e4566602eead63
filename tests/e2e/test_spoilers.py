"""A picture that its post covers is never shown open: in answers, explanations, alerts and notices."""

from collections.abc import Iterable
from typing import Any

import pytest
from PIL import Image

from contracts.events import AlertSet, ImagePosted, ImageReposted, SearchMatched
from infra.discord.wording import localize
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Interaction, Message, Permission, VisibleAnswer
from infra.vision.distortions import encode_png, reencode
from tests.support.archives import wait_until_archive_idle
from tests.support.waiting import eventually
from tests.support.world import World, art_png, read_headline, read_link, shared_world

EN = "en-US"
COVERED, OPEN, UNPOSTED = 5, 7, 11
"""Seeds of pieces: one that is posted as a spoiler, one that is not, and one that nobody posted."""


def make_copy(seed: int) -> bytes:
    """Return a picture of the piece in another file."""
    return encode_png(reencode(draw_piece(seed), 60))


def make_wall() -> bytes:
    """Return both posted pieces side by side."""
    covered, opened = draw_piece(COVERED), reencode(draw_piece(OPEN).resize((96, 96)), 60)
    picture = Image.new("RGB", (covered.width + opened.width + 120, 336), (110, 100, 90))
    picture.paste(covered, (40, 40))
    picture.paste(opened, (covered.width + 80, 40))
    return encode_png(picture)


async def post(world: World, name: str, picture: bytes) -> Message:
    return await world.discord.post((name, picture))


async def post_both(world: World) -> tuple[Message, Message]:
    """Post one piece as a spoiler, and another one openly."""
    covered = await post(world, "SPOILER_night.png", art_png(COVERED))
    opened = await post(world, "day.png", art_png(OPEN))
    await world.archived(2)
    assert [fact.spoiler for fact in await world.log.facts(ImagePosted)] == [True, False]
    return covered, opened


async def ask(world: World, picture: bytes, name: str = "question.png", **options: Any) -> VisibleAnswer:
    discord, files = world.discord, {"image": (name, picture)}
    asked = await discord.simulator.slash(discord.gallery, discord.alex, "find", attachments=files, options=options)
    return await wait_for_answer(world, asked)


async def wait_for_answer(world: World, interaction: Interaction) -> VisibleAnswer:
    """Return the answer once no work is left."""
    await world.discord.simulator.answer(interaction, embedded=True)
    await world.log.wait_until_idle("search")
    return await world.discord.simulator.answer(interaction, embedded=True)


async def press(world: World, answer: VisibleAnswer, text: str, **values: Any) -> VisibleAnswer:
    label = localize(EN, text, **values)
    return await wait_for_answer(world, await world.discord.simulator.press(answer, world.discord.alex, label=label))


def list_files(seen: VisibleAnswer) -> list[str]:
    """List the names of the files of a message. Each is there once."""
    return [name for name, _ in seen.attachments]


def list_shown_open(seen: VisibleAnswer) -> list[str]:
    """List the pictures that the embeds of a message show. Discord covers none of them."""
    shown = (embed.get(part) for embed in seen.embeds for part in ("image", "thumbnail"))
    return [each["url"].split("?")[0].rpartition("/")[2] for each in shown if each]


def expect_no_address_of_a_picture(world: World, *seen: VisibleAnswer | Message) -> None:
    """Check that no text or link has an address from which Discord would show a picture openly."""
    for each in seen:
        texts = [each.content, *(str(embed.get(part)) for embed in each.embeds for part in ("title", "url", "description"))]
        assert not any(world.discord.simulator.cdn_origin in text or "attachments/" in text for text in texts), texts


@shared_world
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("picture", [make_copy(COVERED), art_png(COVERED)], ids=["another file", "the same file"])
async def test_an_answer_covers_a_picture_that_was_posted_as_a_spoiler(server: World, private: bool, picture: bytes) -> None:
    covered, _ = await post_both(server)
    answer = await ask(server, picture, private=private)
    assert (read_headline(answer), read_link(answer)) == ("Found it: first posted by Steve", covered.jump_url)
    assert (list_files(answer), list_shown_open(answer)) == (["SPOILER_map.webp"], [])
    why = await press(server, answer, "answers-button-why")
    assert (list_files(why), list_shown_open(why)) == (["SPOILER_why.png"], [])
    expect_no_address_of_a_picture(server, answer, why)


@shared_world
async def test_turning_pages_replaces_a_covered_picture_by_an_open_one_and_back(server: World) -> None:
    covered, opened = await post_both(server)
    answer = await ask(server, make_wall(), private=False)
    by_link = {
        covered.jump_url: (["SPOILER_map.webp"], list[str]()),
        opened.jump_url: (["map.webp"], ["map.webp"]),
    }
    links = [read_link(answer)]
    assert (list_files(answer), list_shown_open(answer)) == by_link[read_link(answer) or ""]
    for button in ("answers-button-next", "answers-button-previous", "answers-button-next"):
        answer = await press(server, answer, button)
        assert (list_files(answer), list_shown_open(answer)) == by_link[read_link(answer) or ""]
        links.append(read_link(answer))
    assert {*links} == {*by_link}
    expect_no_address_of_a_picture(server, answer)


@shared_world
async def test_the_list_of_posts_covers_the_picture_as_well(server: World) -> None:
    await post(server, "SPOILER_night.png", art_png(COVERED))
    await post(server, "SPOILER_again.png", art_png(COVERED))
    await server.archived(2)
    posts = await press(server, await ask(server, make_copy(COVERED)), "answers-button-posts", count=2)
    assert list_shown_open(posts) == []
    assert all(name.startswith("SPOILER_") for name in list_files(posts))
    expect_no_address_of_a_picture(server, posts)


@shared_world
@pytest.mark.parametrize("way", ["attached", "linked", "menu"])
async def test_the_explanation_covers_a_query_that_was_a_spoiler(server: World, way: str) -> None:
    discord = server.discord
    await post_both(server)
    if way == "attached":
        answer = await ask(server, make_copy(OPEN), "SPOILER_question.png")
    else:
        query = await discord.post(("SPOILER_question.png", make_copy(OPEN)), author=discord.alex)
        await server.archived(3)
        if way == "linked":
            options = {"link": query.jump_url}
            asked = await discord.simulator.slash(discord.gallery, discord.alex, "find", options=options)
        else:
            asked = await discord.simulator.message_command(discord.gallery, discord.alex, "Find this map", query)
        answer = await wait_for_answer(server, asked)
    assert [fact.spoiler for fact in await server.log.facts(SearchMatched)] == [True]
    why = await press(server, answer, "answers-button-why")
    assert (list_files(why), list_shown_open(why)) == (["SPOILER_why.png"], [])
    expect_no_address_of_a_picture(server, answer, why)


@shared_world
async def test_an_open_query_and_an_open_picture_are_explained_openly(server: World) -> None:
    await post_both(server)
    answer = await ask(server, make_copy(OPEN))
    assert (list_files(answer), list_shown_open(answer)) == (["map.webp"], ["map.webp"])
    why = await press(server, answer, "answers-button-why")
    assert (list_files(why), list_shown_open(why)) == (["why.png"], ["why.png"])


async def set_alerts(world: World, *names: str) -> None:
    """Search for a picture that nobody posted, once with each file name, and set an alert for it."""
    for number, name in enumerate(names, start=1):
        nothing = await ask(world, art_png(UNPOSTED + number), name)
        button = localize(EN, "answers-button-alert")
        await world.discord.simulator.answer(await world.discord.simulator.press(nothing, world.discord.alex, label=button))
        await world.log.wait_for(AlertSet, number)


@shared_world
async def test_the_list_of_alerts_covers_the_pictures_that_were_spoilers(server: World) -> None:
    discord = server.discord
    await set_alerts(server, "SPOILER_a.png", "b.png")
    assert sorted(fact.spoiler for fact in await server.log.facts(AlertSet)) == [False, True]
    listed = await discord.simulator.answer(await discord.simulator.slash(discord.gallery, discord.alex, "alerts"), embedded=True)
    (covered,) = [name for name in list_files(listed) if name.startswith("SPOILER_alert-")]
    assert list_shown_open(listed) == [name for name in list_files(listed) if name != covered]
    assert len(listed.embeds) == len(listed.attachments) == 2
    expect_no_address_of_a_picture(server, listed)


def expect_only_links(world: World, messages: Iterable[Message]) -> None:
    for message in messages:
        assert (message.embeds, message.attachments) == ([], [])
        expect_no_address_of_a_picture(world, message)


@shared_world
async def test_the_notice_of_an_alert_links_a_covered_post_and_shows_nothing(server: World) -> None:
    discord = server.discord
    await set_alerts(server, "a.png")
    posted = await post(server, "SPOILER_found.png", art_png(UNPOSTED + 1))
    await eventually(lambda: discord.simulator.direct_messages(discord.alex))
    (notice,) = discord.simulator.direct_messages(discord.alex)
    assert notice.content == localize(EN, "notices-alert-direct", link=posted.jump_url)
    expect_only_links(server, [notice])


@shared_world
async def test_the_notice_of_a_repost_links_a_covered_post_and_shows_nothing(server: World) -> None:
    discord = server.discord
    managers = discord.simulator.add_role(discord.guild, "managers", Permission.MANAGE_GUILD)
    manager = discord.simulator.add_member(discord.guild, "Mo", [managers])
    asked = await discord.simulator.slash(discord.gallery, manager, "archive settings", options={"repost-notice": "reply"})
    await discord.simulator.answer(asked, embedded=True)
    first = await post(server, "SPOILER_night.png", art_png(COVERED))
    await server.archived(1)
    again = await post(server, "SPOILER_again.png", make_copy(COVERED))
    await server.log.wait_for(ImageReposted, 1)
    await wait_until_archive_idle(server)
    (notice,) = [each for each in discord.gallery.messages.values() if each.reference is again]
    assert notice.content == localize(EN, "notices-repost", link=first.jump_url)
    expect_only_links(server, [notice])
