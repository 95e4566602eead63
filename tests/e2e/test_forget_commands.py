"""`/forget me` and `/forget message` remove exactly what they say, and what they removed does not come back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.events import AlertDelivered, AlertRequested, AlertSet, ImageRemoved, SearchJudged
from contracts.subjects import ALERTS, JUDGEMENTS
from infra.discord.wording import localize
from infra.sandbox.simulator import Channel, Member, Message, Permission, VisibleAnswer
from tests.support.archives import (
    ERASE_SOON,
    collect_traces,
    expect_nothing_left,
    iter_messages,
    search_link,
    wait_until_archive_idle,
)
from tests.support.waiting import eventually
from tests.support.world import Discord, World, art_png, mapseek_beside, reset_all_stages

EN = "en-US"


@pytest.fixture
async def world(discord: Discord, tmp_path: Path) -> AsyncIterator[World]:
    """A complete MapSeek that erases removed images soon."""
    async with mapseek_beside(discord, tmp_path / "data", policy=ERASE_SOON) as world:
        yield world


async def use_forget_me(world: World, member: Member) -> VisibleAnswer:
    """Use `/forget me` and return the question for confirmation."""
    simulator = world.discord.simulator
    return await simulator.answer(await simulator.slash(world.discord.gallery, member, "forget me"))


async def press(world: World, answer: VisibleAnswer, member: Member, button: str) -> VisibleAnswer:
    pressed = await world.discord.simulator.press(answer, member, label=localize(EN, button))
    return await world.discord.simulator.answer(pressed)


async def use_forget_message(world: World, member: Member, message: Message) -> str:
    """Use `/forget message` and return what the member reads."""
    simulator = world.discord.simulator
    answer = await simulator.answer(
        await simulator.slash(world.discord.gallery, member, "forget message", options={"message": message.jump_url})
    )
    assert answer.ephemeral
    return answer.content


def add_moderator(discord: Discord) -> Member:
    moderators = discord.simulator.add_role(discord.guild, "moderators", Permission.MANAGE_MESSAGES | Permission.MANAGE_GUILD)
    return discord.simulator.add_member(discord.guild, "Mo", [moderators])


async def backfill_channel(world: World, channel: Channel, manager: Member) -> None:
    """Back-fill a channel and wait until it is archived."""
    simulator = world.discord.simulator
    asked = await simulator.slash(world.discord.gallery, manager, "archive backfill", options={"channel": channel})

    async def finished() -> bool:
        answer = await simulator.answer(asked, embedded=True)
        return localize(EN, "archive-backfill-finished", channel=f"<#{channel.id}>") in str(answer.embeds[0])

    await eventually(finished)
    await wait_until_archive_idle(world)


async def vote(world: World, member: Member, seed: int) -> None:
    """Search for an archived picture and vote that the answer is right."""
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(seed), member=member), embedded=True)
    await press(world, answer, member, "answers-button-right")


async def request_alert(world: World, member: Member, seed: int) -> None:
    """Search for a picture that nobody posted and request an alert."""
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(seed), member=member), embedded=True)
    await press(world, answer, member, "answers-button-alert")


async def test_a_moderator_may_have_a_message_removed_and_others_learn_nothing_about_it(world: World) -> None:
    discord = world.discord
    moderator = add_moderator(discord)
    unknown = await discord.simulator.post(discord.gallery, discord.steve, "no picture")
    message, stays = await discord.post(("a.png", art_png(1)), ("b.png", art_png(2))), await discord.post(("stays.png", art_png(3)))
    await world.archived(3)
    traces = await collect_traces(world, message)
    refusal = localize(EN, "privacy-message-none")
    assert await use_forget_message(world, discord.alex, message) == refusal
    assert await use_forget_message(world, discord.alex, unknown) == refusal
    assert await use_forget_message(world, moderator, unknown) == refusal
    await wait_until_archive_idle(world)
    assert len(await world.entries()) == 3
    assert await use_forget_message(world, moderator, message) == localize(EN, "privacy-message-forgotten", count=2)
    await expect_nothing_left(world, traces)
    assert set(await world.entries()) == {"stays.png"}
    assert await search_link(world, 1) is None
    assert await search_link(world, 3) == stays.jump_url
    assert message.id in discord.gallery.messages
    assert {fact.cause for fact in await world.log.facts(ImageRemoved)} == {"forgotten"}


async def test_an_author_may_have_their_own_message_removed(world: World) -> None:
    message = await world.discord.post(("mine.png", art_png(1)))
    await world.archived(1)
    traces = await collect_traces(world, message)
    assert await use_forget_message(world, world.discord.steve, message) == localize(EN, "privacy-message-forgotten", count=1)
    await expect_nothing_left(world, traces)


async def test_forget_me_counts_and_asks_and_does_nothing_without_a_yes(world: World) -> None:
    discord = world.discord
    await discord.post(("a.png", art_png(1)), ("b.png", art_png(2)))
    await world.archived(2)
    nothing = await use_forget_me(world, discord.alex)
    assert nothing.content == localize(EN, "privacy-me-sure", count=0)
    asked = await use_forget_me(world, discord.steve)
    assert asked.ephemeral
    assert asked.content == localize(EN, "privacy-me-sure", count=2)
    kept = await press(world, asked, discord.steve, "privacy-button-no")
    assert (kept.content, kept.buttons) == (localize(EN, "privacy-me-kept"), {})
    await wait_until_archive_idle(world)
    assert set(await world.entries()) == {"a.png", "b.png"}
    assert await world.log.count(ImageRemoved) == 0


async def test_forget_me_removes_a_members_posts_votes_and_alerts_and_nothing_of_others(world: World) -> None:
    discord, simulator = world.discord, world.discord.simulator
    thread = await simulator.add_thread(discord.gallery, "drafts", owner=discord.steve)
    mine = [
        await discord.post(("mine-1.png", art_png(1)), ("mine-2.png", art_png(2))),
        await discord.post(("mine-3.png", art_png(3)), channel=thread),
    ]
    theirs = await discord.post(("theirs.png", art_png(4)), ("theirs-too.png", art_png(1)), author=discord.alex)
    await world.archived(5)
    traces = await collect_traces(world, *mine)
    for member in (discord.steve, discord.alex):
        await vote(world, member, 4)
        await request_alert(world, member, 8)
    await world.log.wait_for(SearchJudged, 2)
    await world.log.wait_for(AlertSet, 2)

    asked = await use_forget_me(world, discord.steve)
    assert asked.content == localize(EN, "privacy-me-sure", count=3)
    done = await press(world, asked, discord.steve, "privacy-button-yes")
    assert (done.content, done.buttons) == (localize(EN, "privacy-me-forgotten"), {})
    await expect_nothing_left(world, traces)
    assert set(await world.entries()) == {"theirs.png", "theirs-too.png"}
    assert [await search_link(world, seed) for seed in (1, 2, 3, 4)] == [theirs.jump_url, None, None, theirs.jump_url]

    kept = [message async for message in iter_messages(world.process.container.client, JUDGEMENTS, ALERTS)]
    assert [message.subject for message in kept if str(discord.steve.id).encode() in (message.data or b"")] == []
    assert [message.subject for message in kept if str(discord.steve.id) in (message.subject or "")] == []
    assert [fact.voter_id for fact in await world.log.facts(SearchJudged)] == [str(discord.alex.id)]
    assert {fact.person.id for fact in await world.log.facts(AlertRequested)} == {str(discord.alex.id)}
    again = await discord.post(("posted-anew.png", art_png(8)))
    await world.log.wait_for(AlertDelivered, 1)
    await wait_until_archive_idle(world)
    assert len(simulator.direct_messages(discord.alex)) == 1
    assert simulator.direct_messages(discord.steve) == []
    assert await search_link(world, 8) == again.jump_url


async def test_posts_from_before_forget_me_are_not_backfilled(discord: Discord, tmp_path: Path) -> None:
    manager = add_moderator(discord)
    await discord.post(("steves-old.png", art_png(1)))
    await discord.post(("alexs-old.png", art_png(2)), author=discord.alex)
    async with mapseek_beside(discord, tmp_path, policy=ERASE_SOON) as world:
        await press(world, await use_forget_me(world, discord.steve), discord.steve, "privacy-button-yes")
        await backfill_channel(world, discord.gallery, manager)
        assert set(await world.entries()) == {"alexs-old.png"}
    async with mapseek_beside(discord, tmp_path, policy=ERASE_SOON) as world:
        await discord.post(("steves-new.png", art_png(3)))
        await world.archived(2)
        await backfill_channel(world, discord.gallery, manager)
        assert set(await world.entries()) == {"alexs-old.png", "steves-new.png"}


async def test_removed_images_stay_out_of_redelivery_backfill_and_replay(discord: Discord, tmp_path: Path) -> None:
    """The messages are still on Discord. At the end every stage replays the logs onto an empty catalogue and index."""
    manager = add_moderator(discord)
    forgotten = await discord.post(("forgotten.png", art_png(1)), ("forgotten-too.png", art_png(2)))
    async with mapseek_beside(discord, tmp_path, policy=ERASE_SOON) as world:
        await backfill_channel(world, discord.gallery, manager)
        mine = await discord.post(("mine.png", art_png(3)), author=discord.alex)
        stays = await discord.post(("stays.png", art_png(4)))
        deleted = await discord.post(("deleted.png", art_png(5)))
        await world.archived(5)
        traces = await collect_traces(world, forgotten, mine, deleted)
        await use_forget_message(world, manager, forgotten)
        await press(world, await use_forget_me(world, discord.alex), discord.alex, "privacy-button-yes")
        await discord.simulator.delete(deleted)
        await expect_nothing_left(world, traces)

        for message in (forgotten, mine):
            await discord.simulator.redeliver(message)
            await discord.simulator.edit(message, content="look again")
        await backfill_channel(world, discord.gallery, manager)
        await expect_nothing_left(world, traces)
        assert set(await world.entries()) == {"stays.png"}
        answered = await world.log.count(SearchJudged)

    await reset_all_stages(discord, tmp_path)
    async with mapseek_beside(discord, tmp_path, policy=ERASE_SOON) as world:
        await expect_nothing_left(world, traces)
        await backfill_channel(world, discord.gallery, manager)
        await expect_nothing_left(world, traces)
        assert set(await world.entries()) == {"stays.png"}
        assert [await search_link(world, seed) for seed in range(1, 6)] == [None, None, None, stays.jump_url, None]
        assert await world.log.count(SearchJudged) == answered
