"""The very same file is always found, also a picture with nothing to see in it."""

import io
from datetime import UTC, datetime, timedelta

from PIL import Image

from contracts.events import ImageReposted, SearchMatched
from infra.sandbox.simulator import Message, VisibleAnswer
from infra.vision.distortions import encode_png
from tests.support.waiting import eventually
from tests.support.world import (
    World,
    begin_generation,
    read_headline,
    read_lines,
    read_link,
    shared_world,
    switch_generation,
)

FOUND = "Found it: first posted by Steve"
LONG_AGO = datetime(2024, 2, 1, 12, tzinfo=UTC)


def draw_blank(colour: str, size: tuple[int, int] = (128, 128)) -> Image.Image:
    return Image.new("RGB", size, colour)


def encode_fade(last: str) -> bytes:
    """Return a GIF that is black at first and then has another colour. Its canonical picture is the first frame."""
    file = io.BytesIO()
    draw_blank("black").save(file, "GIF", save_all=True, append_images=[draw_blank(last)], duration=500)
    return file.getvalue()


BLANKS = {
    "black": encode_png(draw_blank("black")),
    "black, wider": encode_png(draw_blank("black", (256, 128))),
    "white": encode_png(draw_blank("white")),
    "fade to red": encode_fade("red"),
    "fade to blue": encode_fade("blue"),
}
"""Pictures with nothing to see in them. Four of them have the same black canonical picture, or nearly."""


async def post(world: World, picture: bytes, day: int) -> Message:
    discord = world.discord
    moment = LONG_AGO + timedelta(days=day)
    return await discord.simulator.post(discord.gallery, discord.steve, files=[("map.png", picture)], at=moment)


async def ask(world: World, picture: bytes) -> VisibleAnswer:
    return await world.discord.simulator.answer(await world.discord.ask(picture), embedded=True)


@shared_world
async def test_each_blank_picture_is_found_by_its_own_file(server: World) -> None:
    discord = server.discord
    posts = {name: await post(server, picture, day) for day, (name, picture) in enumerate(BLANKS.items())}
    again = await post(server, BLANKS["fade to blue"], day=-1)
    await server.archived(len(BLANKS) + 1)
    for name, picture in BLANKS.items():
        answer = await ask(server, picture)
        first = again if name == "fade to blue" else posts[name]
        assert (read_headline(answer), read_link(answer)) == (FOUND, first.jump_url), name
        assert read_lines(answer)[:2] == ["**100%** match", "The very same file."], name
        assert len(answer.attachments) == 1
        (*_, matched) = await server.log.facts(SearchMatched)
        best = matched.matches[0]
        assert (best.image_id, len(best.posts)) == (str(first.attachments[0].id), 1 if name == "fade to blue" else 0), name
        pressed = await discord.simulator.press(answer, discord.alex, label="Why this match?")
        why = await discord.simulator.answer(pressed, embedded=True)
        assert read_lines(why) == ["**100%** match", "The very same file."]
        assert [name for name, _ in why.attachments] == ["why.png"]
    other = await ask(server, encode_png(draw_blank("black", (64, 64))))
    assert read_headline(other) != FOUND


@shared_world
async def test_a_repost_of_a_blank_picture_is_the_same_file_and_nothing_else(server: World) -> None:
    first = await post(server, BLANKS["fade to red"], day=1)
    await post(server, BLANKS["fade to blue"], day=2)
    await post(server, BLANKS["black"], day=3)
    await server.archived(3)
    assert await server.log.facts(ImageReposted) == []
    again = await post(server, BLANKS["fade to red"], day=4)
    await server.log.wait_for(ImageReposted, 1)
    await server.archived(4)
    (fact,) = await server.log.facts(ImageReposted)
    assert (fact.image_id, fact.same_as, fact.score) == (str(again.attachments[0].id), str(first.attachments[0].id), 1.0)


async def test_the_file_is_found_in_a_generation_that_has_no_fingerprints_and_no_vectors(world: World) -> None:
    picture = BLANKS["black"]
    message = await post(world, picture, day=1)
    await world.archived(1)
    await begin_generation(world, "g2")
    await switch_generation(world, "g2")
    answer = await ask(world, picture)
    assert (read_headline(answer), read_link(answer)) == (FOUND, message.jump_url)
    (matched,) = await world.log.facts(SearchMatched)
    assert (matched.generation, read_lines(answer)[1]) == ("g2", "The very same file.")
    await world.discord.simulator.delete(message)
    catalogue = await world.process.container.catalogue()

    async def is_removed() -> bool:
        return await catalogue.is_removed(str(message.attachments[0].id))

    await eventually(is_removed)
    assert read_headline(await ask(world, picture)) == "No match"
