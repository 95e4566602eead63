"""Reposts: linked to the first post, marked if the guild wants that, and shown in answers with the first post."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.events import ImageEmbedded, ImageReposted
from infra.discord.rest.notices import REPOST_EMOJI
from infra.discord.wording import localize
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Channel, Member, Message, Overwrite, Permission, VisibleAnswer
from infra.vision.distortions import encode_png, reencode
from tests.support.archives import wait_until_archive_idle
from tests.support.waiting import eventually
from tests.support.world import (
    Discord,
    World,
    art_png,
    begin_generation,
    mapseek_beside,
    reset_all_stages,
    switch_generation,
    wait_for_facts,
)

EN = "en-US"
PIECE = 3
COPY = encode_png(reencode(draw_piece(PIECE), 60))
"""The same piece, saved again as a JPEG."""


NONCE_LIFETIME = timedelta(minutes=10)
"""After this time Discord itself would accept the same message again."""


def create_manager(discord: Discord) -> Member:
    managers = discord.simulator.add_role(discord.guild, "managers", Permission.MANAGE_GUILD)
    return discord.simulator.add_member(discord.guild, "Mo", [managers])


def add_hidden_channel(discord: Discord, *but: Member) -> Channel:
    """Add a channel that only the bot and these members see."""
    reading = Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY
    allowed = [Overwrite(member, allow=reading) for member in (discord.simulator.me(discord.guild), *but)]
    rules = [Overwrite(discord.guild.everyone, deny=Permission.VIEW_CHANNEL), *allowed]
    return discord.simulator.add_text_channel(discord.guild, "hidden", rules)


async def choose_repost_notice(world: World, style: str, manager: Member | None = None) -> None:
    """Choose in `/archive settings` how reposts are marked."""
    simulator = world.discord.simulator
    asked = await simulator.slash(
        world.discord.gallery, manager or create_manager(world.discord), "archive settings", options={"repost-notice": style}
    )
    shown = await simulator.answer(asked, embedded=True)
    assert localize(EN, f"archive-notice-{style}") in shown.embeds[0]["description"]


async def post_again(world: World, *, channel: Channel | None = None) -> Message:
    """Post the piece once more and wait until it is linked to an earlier post."""
    known = await world.log.count(ImageReposted)
    message = await world.discord.post(("again.png", COPY), channel=channel)
    await world.log.wait_for(ImageReposted, known + 1)
    await wait_until_archive_idle(world)
    return message


def read_marks(world: World, message: Message) -> tuple[bool, list[str]]:
    """Tell whether the bot reacted to a message, and return its replies."""
    bot = world.discord.simulator.me(world.discord.guild).id
    assert set(message.reactions) <= {REPOST_EMOJI}
    replies = [each for each in message.channel.messages.values() if each.reference is message and each.author.id == bot]
    return bot in message.reactions.get(REPOST_EMOJI, set()), [each.content for each in replies]


def list_own_messages(world: World, *channels: Channel) -> Sequence[str]:
    """Return the bot's messages in these channels that answer no command."""
    bot = world.discord.simulator.me(world.discord.guild).id
    return [
        each.content
        for channel in channels
        for each in channel.messages.values()
        if each.author.id == bot and each.interaction is None
    ]


async def ask(world: World, member: Member | None = None) -> VisibleAnswer:
    return await world.discord.simulator.answer(await world.discord.ask(COPY, member=member), embedded=True)


async def test_a_repost_is_linked_to_the_earliest_post_by_post_time_whenever_that_was_archived(world: World) -> None:
    discord, now = world.discord, datetime.now(UTC)
    later = await discord.simulator.post(discord.gallery, discord.alex, files=[("b.png", COPY)], at=now - timedelta(days=1))
    await world.archived(1)
    first = await discord.simulator.post(
        discord.gallery, discord.steve, files=[("a.png", art_png(PIECE))], at=now - timedelta(days=9)
    )
    await world.archived(2)
    await discord.post(("other.png", art_png(4)))
    await world.archived(3)
    assert await world.log.count(ImageReposted) == 0
    newest = await post_again(world)
    [fact] = await world.log.facts(ImageReposted)
    assert (fact.image_id, fact.same_as) == (str(newest.attachments[0].id), str(first.attachments[0].id))
    assert fact.score > 0.9
    entry = (await world.entries())["again.png"]
    assert entry.document["repost_of"]["image_id"] == str(first.attachments[0].id)
    assert later.attachments[0].id != first.attachments[0].id


@pytest.mark.parametrize("style", ["reaction", "reply"])
async def test_a_repost_that_two_models_find_is_marked_once(world: World, style: str) -> None:
    await begin_generation(world, "g2")
    await choose_repost_notice(world, style)
    first = await world.discord.post(("first.png", art_png(PIECE)))
    for generation in ("g1", "g2"):
        await wait_for_facts(world, ImageEmbedded, generation, 1)
    await world.archived(1)
    await switch_generation(world, "g2")
    message = await post_again(world)
    assert {fact.same_as for fact in await world.log.facts(ImageReposted)} == {str(first.attachments[0].id)}
    reacted, replies = read_marks(world, message)
    assert (reacted, len(replies)) == ((True, 0) if style == "reaction" else (False, 1))


async def test_one_message_with_a_piece_twice_is_no_repost(world: World) -> None:
    await world.discord.post(("one.png", art_png(PIECE)), ("two.png", COPY))
    await world.archived(2)
    assert await world.log.count(ImageReposted) == 0


async def test_reposts_are_not_marked_by_default(world: World) -> None:
    await world.discord.post(("first.png", art_png(PIECE)))
    await world.archived(1)
    message = await post_again(world)
    assert read_marks(world, message) == (False, [])
    assert list_own_messages(world, world.discord.gallery) == []


async def test_with_reactions_a_repost_gets_one_and_its_first_post_none(world: World) -> None:
    await choose_repost_notice(world, "reaction")
    first = await world.discord.post(("first.png", art_png(PIECE)))
    await world.archived(1)
    message = await post_again(world)
    assert read_marks(world, message) == (True, [])
    assert read_marks(world, first) == (False, [])
    assert list_own_messages(world, world.discord.gallery) == []


async def test_with_replies_a_repost_is_answered_with_the_link_of_the_first_post_until_that_is_switched_off(world: World) -> None:
    manager = create_manager(world.discord)
    await choose_repost_notice(world, "reply", manager)
    first = await world.discord.post(("first.png", art_png(PIECE)))
    await world.archived(1)
    lobby = world.discord.simulator.add_text_channel(world.discord.guild, "lobby")
    for channel in (world.discord.gallery, lobby):
        message = await post_again(world, channel=channel)
        assert read_marks(world, message) == (False, [localize(EN, "notices-repost", link=first.jump_url)])
    await choose_repost_notice(world, "none", manager)
    assert read_marks(world, await post_again(world)) == (False, [])


async def test_a_reply_never_names_a_post_that_a_reader_of_the_channel_may_not_read(world: World) -> None:
    """The bot then only reacts, which names no post. In the hidden channel itself it may reply."""
    discord = world.discord
    await choose_repost_notice(world, "reply")
    hidden = add_hidden_channel(discord, discord.steve)
    secret = await discord.post(("secret.png", art_png(PIECE)), channel=hidden)
    await world.archived(1)
    assert read_marks(world, await post_again(world)) == (True, [])
    assert list_own_messages(world, discord.gallery) == []
    within = await post_again(world, channel=hidden)
    assert read_marks(world, within) == (False, [localize(EN, "notices-repost", link=secret.jump_url)])


async def test_a_reply_never_names_a_private_threads_post(world: World) -> None:
    discord, simulator = world.discord, world.discord.simulator
    await choose_repost_notice(world, "reply")
    thread = await simulator.add_thread(discord.gallery, "workshop", owner=discord.steve, private=True)
    await simulator.join_thread(thread, simulator.me(discord.guild))
    await discord.post(("secret.png", art_png(PIECE)), channel=thread)
    await world.archived(1)
    assert read_marks(world, await post_again(world)) == (True, [])
    assert list_own_messages(world, discord.gallery) == []


@pytest.mark.parametrize("style", ["reaction", "reply"])
async def test_backfilled_old_reposts_are_not_marked(discord: Discord, tmp_path: Path, style: str) -> None:
    manager, now = create_manager(discord), datetime.now(UTC)
    for age in (90, 60, 16):
        await discord.simulator.post(
            discord.gallery, discord.steve, files=[(f"{age}.png", art_png(PIECE))], at=now - timedelta(minutes=age)
        )
    async with mapseek_beside(discord, tmp_path) as world:
        await choose_repost_notice(world, style, manager)
        asked = await discord.simulator.slash(discord.gallery, manager, "archive backfill", options={"channel": discord.gallery})
        await world.archived(3)
        await world.log.wait_for(ImageReposted, 1)
        await wait_until_archive_idle(world)
        await discord.simulator.answer(asked, embedded=True)
        assert [read_marks(world, message) for message in discord.gallery.messages.values()] == [(False, [])] * 4
        assert list_own_messages(world, discord.gallery) == []


@pytest.mark.parametrize("style", ["reaction", "reply"])
async def test_a_replay_of_everything_marks_nothing_again(discord: Discord, tmp_path: Path, style: str) -> None:
    async with mapseek_beside(discord, tmp_path) as world:
        await choose_repost_notice(world, style)
        await discord.post(("first.png", art_png(PIECE)))
        await world.archived(1)
        message = await post_again(world)
        once = read_marks(world, message)
        assert once != (False, [])
        said = list_own_messages(world, discord.gallery)
    await reset_all_stages(discord, tmp_path, emptied=False)
    discord.simulator.now = lambda: datetime.now(UTC) + NONCE_LIFETIME
    async with mapseek_beside(discord, tmp_path) as world:
        await wait_until_archive_idle(world)
        await eventually(lambda: discord.simulator.connected)
        assert set(await world.entries()) == {"first.png", "again.png"}
        assert read_marks(world, message) == once
        assert list_own_messages(world, discord.gallery) == said


async def test_the_answer_names_the_first_post_by_post_time_and_how_often_the_piece_was_posted(world: World) -> None:
    discord, simulator = world.discord, world.discord.simulator
    now = datetime.now(UTC)
    posted = [
        await simulator.post(discord.gallery, author, files=[(f"{days}.png", picture)], at=now - timedelta(days=days))
        for days, author, picture in ((2, discord.alex, COPY), (9, discord.steve, art_png(PIECE)), (5, discord.alex, COPY))
    ]
    await world.archived(3)
    answer = await ask(world)
    [embed] = answer.embeds
    assert embed["title"] == localize(EN, "answers-match", author="Steve")
    assert embed["url"] == posted[1].jump_url
    assert localize(EN, "answers-again", count=2) in embed["description"]
    pressed = await simulator.press(answer, discord.alex, label=localize(EN, "answers-button-posts", count=3))

    async def shows_all_posts() -> bool:
        page = await simulator.answer(pressed, embedded=True)
        return page.embeds[0]["title"] == localize(EN, "answers-posts", count=3)

    await eventually(shows_all_posts)
    page = (await simulator.answer(pressed, embedded=True)).embeds[0]["description"]
    positions = [page.index(posted[place].jump_url) for place in (1, 2, 0)]
    assert positions == sorted(positions)


async def test_when_the_first_post_is_deleted_the_next_one_takes_its_place(world: World) -> None:
    discord, now = world.discord, datetime.now(UTC)
    posted = [
        await discord.simulator.post(discord.gallery, discord.steve, files=[(f"{days}.png", COPY)], at=now - timedelta(days=days))
        for days in (9, 5, 2)
    ]
    await world.archived(3)
    assert (await ask(world)).embeds[0]["url"] == posted[0].jump_url
    await discord.simulator.delete(posted[0])

    async def next_one() -> bool:
        return len(await world.entries()) == 2

    await eventually(next_one)
    answer = await ask(world)
    assert answer.embeds[0]["url"] == posted[1].jump_url
    assert localize(EN, "answers-button-posts", count=2) in {button.label for button in answer.buttons.values()}
    newest = await post_again(world)
    assert (await world.log.facts(ImageReposted))[-1].same_as == str(posted[1].attachments[0].id)
    assert newest.channel is discord.gallery


async def test_first_posts_and_their_number_are_those_that_the_asker_may_read(world: World) -> None:
    discord = world.discord
    hidden = add_hidden_channel(discord, discord.steve)
    secret = await discord.post(("secret.png", art_png(PIECE)), channel=hidden)
    await world.archived(1)
    open_posts = [await post_again(world), await post_again(world)]
    for member, first, count in ((discord.alex, open_posts[0], 2), (discord.steve, secret, 3)):
        answer = await ask(world, member)
        assert answer.embeds[0]["url"] == first.jump_url
        assert localize(EN, "answers-button-posts", count=count) in {button.label for button in answer.buttons.values()}
