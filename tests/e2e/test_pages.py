"""The pages of an answer: buttons show the next piece, show each member only what they may read, and work after a restart."""

import re
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

from PIL import Image

from contracts.subjects import SEARCHES
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Channel, Interaction, Member, Message, Overwrite, Permission, VisibleAnswer
from infra.vision.distortions import encode_png, reencode, resize
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
    read_words,
    shared_world,
)

LONG_AGO = datetime(2024, 2, 1, 12, tzinfo=UTC)
NO_MATCH = "No match"


THREE_PIECES = (art_png(5), art_png(7), art_png(11))
"""In the order in which they match the wall best."""


def make_wall() -> bytes:
    """Return the query: three pieces side by side, of which the second and third are small and worn."""
    shown = (draw_piece(5), reencode(resize(draw_piece(7), 0.75), 60), reencode(resize(draw_piece(11), 0.5), 30))
    picture = Image.new("RGB", (sum(each.width for each in shown) + 160, 336), (110, 100, 90))
    left = 40
    for each in shown:
        picture.paste(each, (left, 40))
        left += each.width + 40
    return encode_png(picture)


def make_copy(quality: int = 60) -> bytes:
    return encode_png(reencode(draw_piece(5), quality))


async def post(discord: Discord, picture: bytes, *, at: datetime | None = None, channel: Channel | None = None) -> Message:
    return await discord.simulator.post(channel or discord.gallery, discord.steve, files=[("map.png", picture)], at=at)


async def ask(world: World, **options: object) -> VisibleAnswer:
    """Let Alex search with the wall."""
    discord = world.discord
    files = {"image": ("shot.png", make_wall())}
    asked = await discord.simulator.slash(discord.gallery, discord.alex, "find", attachments=files, options=options)
    return await wait_for_answer(world, asked)


async def wait_for_answer(world: World, interaction: Interaction) -> VisibleAnswer:
    """Return the answer once no work is left."""
    await world.discord.simulator.answer(interaction, embedded=True)
    await world.log.wait_until_idle("search")
    return await world.discord.simulator.answer(interaction, embedded=True)


async def press(world: World, answer: VisibleAnswer, label: str, member: Member | None = None) -> VisibleAnswer:
    return await wait_for_answer(world, await world.discord.simulator.press(answer, member or world.discord.alex, label=label))


@shared_world
async def test_next_and_previous_show_the_pieces_on_the_same_message(server: World) -> None:
    posts = [await post(server.discord, picture) for picture in THREE_PIECES]
    await server.archived(3)
    first = await ask(server)
    assert (read_headline(first), read_link(first)) == ("Found it: first posted by Steve", posts[0].jump_url)
    second = await press(server, first, "Next")
    third = await press(server, second, "Next")
    assert [read_link(answer) for answer in (first, second, third)] == [message.jump_url for message in posts]
    assert read_headline(second) == read_headline(third) == "Another result: first posted by Steve"
    assert [re.findall(r"Result \d of \d", read_words(each)) for each in (first, second, third)] == [
        ["Result 1 of 3"],
        ["Result 2 of 3"],
        ["Result 3 of 3"],
    ]
    turning = [[label for label in list_labels(each) if label in ("Previous", "Next")] for each in (first, second, third)]
    assert turning == [["Next"], ["Previous", "Next"], ["Previous"]]
    back = await press(server, await press(server, third, "Previous"), "Previous")
    assert (read_words(back), back.message, back.attachments) == (read_words(first), first.message, first.attachments)
    assert len({answer.attachments[0][1] for answer in (first, second, third)}) == 3


@shared_world
async def test_the_first_post_is_named_though_it_was_archived_later(server: World) -> None:
    later = await post(server.discord, art_png(5))
    await server.archived(1)
    first = await post(server.discord, make_copy(), at=LONG_AGO)
    await server.archived(2)
    answer = await ask(server)
    assert read_link(answer) == first.jump_url
    moment, today = int(LONG_AGO.timestamp()), int(later.posted_at.timestamp())
    gallery = f"<#{server.discord.gallery.id}>"
    sure, why, *rest = read_lines(answer)
    assert re.fullmatch(r"\*\*\d+%\*\* match", sure)
    assert re.fullmatch(r"Same picture: \d+ matching points\.", why)
    assert rest == [
        f"First posted by **Steve** on <t:{moment}:D> (<t:{moment}:R>) in {gallery}",
        f"The picture below was posted by **Steve** on <t:{today}:D> in {gallery}, [go to the post]({later.jump_url})",
        "Posted 1 more time",
        "File: map.png",
    ]
    assert list_labels(answer) == ["Go to the post", "Posted 2 times", "This is it", "Not it", "Why this match?"]


@shared_world
async def test_all_posts_of_a_piece_have_pages_of_their_own_in_order_of_time(server: World) -> None:
    days = [LONG_AGO + timedelta(days=day) for day in (3, 1, 2, *range(4, 13))]
    posts = [await post(server.discord, make_copy(40 + number), at=day) for number, day in enumerate(days)]
    await server.archived(12)
    in_order = [message.jump_url for message in sorted(posts, key=lambda message: message.posted_at)]
    answer = await ask(server)
    assert read_link(answer) == in_order[0]
    page = await press(server, answer, "Posted 12 times")
    assert (read_headline(page), len(read_lines(page))) == ("Posted 12 times", 10)
    assert "Page 1 of 2" in read_words(page)
    rest = await press(server, page, "Next")
    assert re.findall(r"\((https://[^)]+)\)", read_words(page) + read_words(rest)) == in_order
    assert [line.partition(" ")[0] for line in read_lines(rest)] == ["**11.**", "**12.**"]
    again = await press(server, rest, "Back to the result")
    assert (read_words(again), again.message) == (read_words(answer), answer.message)


async def test_old_buttons_work_after_a_restart_of_everything(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path) as world:
        posts = [await post(discord, picture) for picture in THREE_PIECES]
        await post(discord, make_copy(), at=LONG_AGO)
        await world.archived(4)
        answer = await ask(world)
    async with mapseek_beside(discord, tmp_path) as world:
        second = await press(world, answer, "Next")
        assert (read_link(second), second.message) == (posts[1].jump_url, answer.message)
        first = await press(world, second, "Previous")
        assert read_words(first) == read_words(answer)
        assert read_headline(await press(world, first, "Posted 2 times")) == "Posted 2 times"


@shared_world
async def test_posts_that_became_unreadable_disappear_at_the_next_press(server: World) -> None:
    """This also holds for a piece's first post and its number of posts, and finally for the whole answer."""
    discord, simulator = server.discord, server.discord.simulator
    vault = simulator.add_text_channel(discord.guild, "vault")
    await post(discord, make_copy(), at=LONG_AGO, channel=vault)
    in_gallery = await post(discord, art_png(5))
    secret = await post(discord, THREE_PIECES[1], channel=vault)
    await server.archived(3)
    before = await ask(server)
    assert "Posted 2 times" in list_labels(before)
    withdrawn = Overwrite(discord.alex, deny=Permission.READ_MESSAGE_HISTORY)
    await simulator.set_overwrites(vault, [withdrawn])
    after = await press(server, before, "Next")
    assert (read_link(after), after.message) == (in_gallery.jump_url, before.message)
    assert str(vault.id) not in read_words(after) + str(after.buttons)
    assert secret.jump_url not in read_words(after)
    assert list_labels(after) == ["Go to the post", "This is it", "Not it", "Why this match?"]
    await simulator.set_overwrites(vault, [])
    everything = await ask(server)
    await simulator.set_overwrites(vault, [withdrawn])
    await simulator.delete(in_gallery)
    catalogue = await server.process.container.catalogue()
    await eventually(lambda: catalogue.is_removed(str(in_gallery.attachments[0].id)))
    nothing = await press(server, everything, "Posted 2 times")
    assert (read_headline(nothing), nothing.attachments) == (NO_MATCH, [])


@shared_world
async def test_another_member_gets_a_private_copy_with_what_they_may_read(server: World) -> None:
    discord, simulator = server.discord, server.discord.simulator
    vault = simulator.add_text_channel(discord.guild, "vault")
    stranger = simulator.add_member(discord.guild, "Noor")
    posts = [await post(discord, THREE_PIECES[0]), await post(discord, THREE_PIECES[1], channel=vault)]
    posts.append(await post(discord, THREE_PIECES[2]))
    await server.archived(3)
    answer = await ask(server, private=False)
    assert not answer.ephemeral
    await simulator.set_overwrites(vault, [Overwrite(stranger, deny=Permission.VIEW_CHANNEL)])
    copied = await press(server, answer, "Next", stranger)
    assert copied.ephemeral
    assert copied.message is not answer.message
    assert (read_link(copied), "Result 2 of 2" in read_words(copied)) == (posts[2].jump_url, True)
    turned = await press(server, copied, "Previous", stranger)
    assert (read_link(turned), turned.message is not answer.message) == (posts[0].jump_url, True)
    assert answer.message.embeds[0]["url"] == posts[0].jump_url
    own = await press(server, answer, "Next")
    assert (own.message, own.ephemeral) == (answer.message, False)


@shared_world
async def test_the_asker_privately_sees_why_while_the_query_is_kept(server: World) -> None:
    await post(server.discord, art_png(7))
    await server.archived(1)
    answer = await ask(server, private=False)
    why = await press(server, answer, "Why this match?")
    assert (why.ephemeral, why.message is answer.message, read_headline(why)) == (True, False, "Why this match?")
    assert read_lines(why) == read_lines(answer)[:2]
    [(name, picture)] = why.attachments
    assert (name, Image.open(BytesIO(picture)).format) == ("why.png", "PNG")
    stranger = server.discord.simulator.add_member(server.discord.guild, "Noor")
    told = await press(server, answer, "Why this match?", stranger)
    assert (told.ephemeral, told.attachments, read_lines(told)[:2]) == (True, [], read_lines(answer)[:2])
    query_blobs = await server.process.container.query_blobs()
    for name in await query_blobs.list_untouched_since(0):
        await query_blobs.delete(name)
    late = await press(server, answer, "Why this match?")
    assert (late.attachments, read_lines(late)[-1].startswith("There's no picture for this.")) == ([], True)


@shared_world
async def test_a_page_of_a_search_that_the_log_has_dropped_says_so(server: World) -> None:
    """The log keeps a search for seven days."""
    for picture in THREE_PIECES:
        await post(server.discord, picture)
    await server.archived(3)
    answer = await ask(server)
    await server.log.client.jetstream().purge_stream(SEARCHES)
    late = await press(server, answer, "Next")
    assert read_lines(late) == ["This search is too old. Please search again."]
    assert (list_labels(late), late.attachments) == ([], [])
