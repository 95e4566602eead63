"""What is deleted on Discord leaves search, catalogue, index, blobs and log, and does not come back."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from contracts.events import ImageEmbedded, ImagePosted, ImageRemoved, RemovalRequested
from infra.nats.erasure import LogErasure
from infra.sandbox.simulator import Channel, Message
from stages.erase import list_blobs
from tests.support.archives import (
    ERASE_SOON,
    collect_traces,
    expect_nothing_left,
    list_stored_blobs,
    search_link,
    wait_until_archive_idle,
    wait_until_removed,
)
from tests.support.world import Discord, World, art_png, mapseek_beside


@pytest.fixture
async def world(discord: Discord, tmp_path: Path) -> AsyncIterator[World]:
    """A complete MapSeek that erases removed images soon."""
    async with mapseek_beside(discord, tmp_path / "data", policy=ERASE_SOON) as world:
        yield world


async def test_a_deleted_message_leaves_the_search_at_once_though_its_blobs_wait_for_the_grace(
    discord: Discord, tmp_path: Path
) -> None:
    """With the grace period of production."""
    async with mapseek_beside(discord, tmp_path) as world:
        message, stays = await discord.post(("gone.png", art_png(1))), await discord.post(("stays.png", art_png(2)))
        await world.archived(2)
        [trace] = await collect_traces(world, message)
        assert await search_link(world, 1) == message.jump_url
        await discord.simulator.delete(message)
        await world.log.wait_for(ImageRemoved, 1)
        assert await search_link(world, 1) is None
        assert await search_link(world, 2) == stays.jump_url
        await world.log.wait_until_idle("removal")
        assert set(await world.entries()) == {"stays.png"}
        assert trace.blobs <= list_stored_blobs(world)


Deletion = Callable[[World, Message], Awaitable[None]]


async def delete_one(world: World, message: Message) -> None:
    await world.discord.simulator.delete(message)


async def delete_many(world: World, message: Message) -> None:
    chatter = [await world.discord.simulator.post(message.channel, world.discord.alex, "nice") for _ in range(3)]
    await world.discord.simulator.bulk_delete([*chatter, message])


async def delete_channel(world: World, message: Message) -> None:
    await world.discord.simulator.delete_channel(message.channel)


@pytest.mark.parametrize("delete", [delete_one, delete_many, delete_channel])
async def test_deletion_leaves_nothing_of_the_deleted_images_and_keeps_the_others(world: World, delete: Deletion) -> None:
    discord = world.discord
    annex = discord.simulator.add_text_channel(discord.guild, "annex")
    gone = await discord.post(("secret-1.png", art_png(1)), ("secret-2.png", art_png(2)), channel=annex)
    stays = await discord.post(("stays.png", art_png(3)), ("same-as-1.png", art_png(1)))
    await world.archived(4)
    traces, kept = await collect_traces(world, gone), await collect_traces(world, stays)
    await delete(world, gone)
    await expect_nothing_left(world, traces)
    assert set(await world.entries()) == {"stays.png", "same-as-1.png"}
    assert list_stored_blobs(world) == set().union(*(trace.blobs for trace in kept))
    assert await search_link(world, 1) == stays.jump_url
    assert await search_link(world, 2) is None
    assert await search_link(world, 3) == stays.jump_url


async def test_an_edit_removes_only_the_attachments_that_it_drops(world: World) -> None:
    discord = world.discord
    message = await discord.post(("dropped.png", art_png(1)), ("kept.png", art_png(2)))
    await world.archived(2)
    traces = await collect_traces(world, message)
    await discord.simulator.edit(message, content="better so", attachments=[message.attachments[1]])
    await expect_nothing_left(world, [trace for trace in traces if trace.filename == "dropped.png"])
    assert set(await world.entries()) == {"kept.png"}
    assert await search_link(world, 1) is None
    assert await search_link(world, 2) == message.jump_url
    await discord.simulator.edit(message, content="as it was")
    await wait_until_archive_idle(world)
    assert set(await world.entries()) == {"kept.png"}


async def test_a_link_preview_is_found_while_it_is_shown(world: World) -> None:
    discord = world.discord
    hosted = await discord.post(("hosted.png", art_png(1)))
    preview = {"type": "image", "url": hosted.attachments[0].url, "thumbnail": {"url": hosted.attachments[0].url}}
    message = await discord.simulator.post(discord.gallery, discord.steve, "look: the map", embeds=[preview])
    await world.archived(2)
    [embedded] = [fact for fact in await world.log.facts(ImagePosted) if fact.message_id == str(message.id)]

    async def list_images() -> set[str]:
        await wait_until_archive_idle(world)
        return {entry.image_id for entry in (await world.entries()).values()}

    for number, embeds in enumerate(([], [preview], [], [preview]), start=3):
        await discord.simulator.edit(message, embeds=embeds)
        await discord.post(("marker.png", art_png(2)))
        await world.archived(number)
        assert (embedded.image_id in await list_images()) == bool(embeds)
    await discord.simulator.edit(message, embeds=[])
    await discord.simulator.delete(message)
    await wait_until_removed(world, [embedded.image_id])
    assert [fact.image_id for fact in await world.log.facts(ImageRemoved)] == [embedded.image_id]
    assert await search_link(world, 1) == hosted.jump_url
    assert await search_link(world, 2) is not None


@pytest.mark.parametrize("target", ["the public thread", "the forum's post", "the channel with its threads", "the forum"])
async def test_threads_are_removed_alone_or_with_their_channel(world: World, target: str) -> None:
    discord, simulator = world.discord, world.discord.simulator
    workshop, forum = simulator.add_text_channel(discord.guild, "workshop"), simulator.add_forum(discord.guild, "showcase")
    public = await simulator.add_thread(workshop, "drafts", owner=discord.steve)
    private = await simulator.add_thread(workshop, "secret", owner=discord.steve, private=True)
    await simulator.join_thread(private, simulator.me(discord.guild))
    topic = await simulator.add_thread(forum, "castle", owner=discord.steve)
    places: list[Channel] = [workshop, public, private, topic]
    messages = [await discord.post((f"{place.name}.png", art_png(seed)), channel=place) for seed, place in enumerate(places)]
    await world.archived(4)
    traces = {trace.filename.removesuffix(".png"): trace for trace in await collect_traces(world, *messages)}
    gone = {
        "the public thread": (public, {"drafts"}),
        "the forum's post": (topic, {"castle"}),
        "the channel with its threads": (workshop, {"workshop", "drafts", "secret"}),
        "the forum": (forum, {"castle"}),
    }
    place, names = gone[target]
    await simulator.delete_channel(place)
    await expect_nothing_left(world, [traces[name] for name in names])
    assert {name.removesuffix(".png") for name in await world.entries()} == set(traces) - names


async def test_a_guilds_archive_is_erased_when_the_bot_is_removed_and_starts_again_when_it_returns(world: World) -> None:
    discord, simulator = world.discord, world.discord.simulator
    harbour = simulator.add_guild("Pixel Harbour")
    pier, noor = simulator.add_text_channel(harbour, "pier"), simulator.add_member(harbour, "Noor")
    before = [await discord.post((f"harbour-{seed}.png", art_png(seed)), channel=pier, author=noor) for seed in range(3)]
    here = await discord.post(("here.png", art_png(1)))
    await world.archived(4)
    traces = await collect_traces(world, *before)
    await simulator.remove_guild(harbour)
    await expect_nothing_left(world, traces)
    assert set(await world.entries()) == {"here.png"}
    assert await search_link(world, 1) == here.jump_url
    await simulator.invite_bot(harbour)
    again = await discord.post(("again.png", art_png(9)), channel=pier, author=noor)
    await world.archived(2)
    assert set(await world.entries()) == {"here.png", "again.png"}
    answer = await simulator.answer(await discord.ask(art_png(9), channel=pier, member=noor), embedded=True)
    assert answer.embeds[0]["url"] == again.jump_url


async def test_an_outage_of_a_guild_is_no_removal(world: World) -> None:
    discord = world.discord
    message = await discord.post(("stays.png", art_png(1)))
    await world.archived(1)
    await discord.simulator.set_unavailable(discord.guild)
    await discord.simulator.set_unavailable(discord.guild, False)
    await discord.post(("after.png", art_png(2)))
    await world.archived(2)
    await wait_until_archive_idle(world)
    assert await world.log.count(RemovalRequested) == 0
    assert await search_link(world, 1) == message.jump_url


@pytest.mark.usefixtures("impatient_log")  # nats-server may deliver a delayed retry only when the ack wait of another message ends
@pytest.mark.parametrize("seed", range(2))
async def test_images_deleted_while_they_are_processed_leave_nothing(world: World, seed: int) -> None:
    discord, chance = world.discord, random.Random(seed)
    kept = [await discord.post((f"kept-{number}.png", art_png(number))) for number in range(3)]
    await world.archived(3)
    gone: list[Message] = []

    async def come_and_go(number: int) -> None:
        message = await discord.post((f"secret-{seed}-{number}.png", art_png(chance.randrange(6))))
        gone.append(message)
        await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05, 0.2, 0.5]))
        await discord.simulator.delete(message)

    await asyncio.gather(*(come_and_go(number) for number in range(40)))
    await wait_until_removed(world, [str(message.attachments[0].id) for message in gone])
    log, catalogue = LogErasure(world.process.container.client), await world.process.container.catalogue()
    for message in gone:
        image_id = str(message.attachments[0].id)
        history, _ = await log.history(str(discord.guild.id), image_id)
        assert [type(fact) for fact in history] == [ImageRemoved]
        assert await catalogue.is_removed(image_id)
    assert set(await world.entries()) == {f"kept-{number}.png" for number in range(3)}
    named = set()
    for message in kept:
        history, _ = await log.history(str(discord.guild.id), str(message.attachments[0].id))
        assert ImageEmbedded in {type(fact) for fact in history}
        named |= list_blobs(history)
    assert list_stored_blobs(world) == named


async def test_no_file_on_disk_contains_a_deleted_image(discord: Discord, tmp_path: Path) -> None:
    """This covers the catalogue and the log. A NATS server leaves the bytes of purged messages in its files."""
    async with mapseek_beside(discord, tmp_path, policy=ERASE_SOON) as world:
        await discord.post(("stays.png", art_png(1)))
        message = await discord.post(("verysecret.png", art_png(2)))
        await world.archived(2)
        traces = await collect_traces(world, message)
        assert list_files_containing("verysecret", tmp_path)
        await discord.simulator.delete(message)
        await expect_nothing_left(world, traces)
    assert list_files_containing("verysecret", tmp_path) == []
    assert list_files_containing("stays", tmp_path)


def list_files_containing(word: str, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and word.encode() in file.read_bytes()]
