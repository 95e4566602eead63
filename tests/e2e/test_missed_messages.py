"""What was posted or deleted while the bot was away is archived once, or removed, after a start, and nobody waits for that."""

from functools import partial
from pathlib import Path

import pytest

from contracts.events import ImagePosted, RemovalRequested
from infra.discord.wording import localize
from infra.sandbox.simulator import Message, Overwrite, Permission
from tests.support.archives import (
    ERASE_AT_ONCE,
    SMALL_PAGE,
    PictureHistory,
    add_manager,
    hold_history,
    list_file_ids,
    tiny_picture,
    use_small_pages,
    wait_for_exactly,
    wait_for_text,
)
from tests.support.programs import run_to_end
from tests.support.waiting import eventually
from tests.support.world import Discord, World, art_png, mapseek_beside, simulated_discord

EN = "en-US"
LIVE = 5_000


@pytest.mark.timeout(240)
@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow, id="300 messages")])
async def test_missed_messages_are_archived_once_and_deletions_are_honoured(
    discord: Discord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Each case has more than a page in a channel. The case of 300 messages uses pages as large as Discord's."""
    if times == 1:
        use_small_pages(monkeypatch)
    simulator, past = discord.simulator, PictureHistory(discord)
    annex = simulator.add_text_channel(discord.guild, "annex")
    forum = simulator.add_forum(discord.guild, "projects")
    thread = await simulator.add_thread(discord.gallery, "work in progress", owner=discord.steve)
    project = await simulator.add_thread(forum, "castle", owner=discord.steve)
    doomed = await simulator.add_thread(annex, "doomed", owner=discord.steve)
    closed = simulator.add_text_channel(discord.guild, "closed")
    async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
        for channel in (discord.gallery, annex, thread, project):
            await past.post(channel, 2, pictures=2)
        archived = await past.post(discord.gallery, 6, pictures=2)
        lost = [*await past.post(doomed), *await past.post(closed, 2)]
        await wait_for_exactly(world, past.there)

    missed = await past.post(discord.gallery, 12 * times)
    missed += await past.post(annex, 6 * times)
    missed += await past.post(thread, 5 * times)
    missed += await past.post(project, 2 * times)
    for number in range(max(2, times // 2)):
        for parent in (forum, annex):
            fresh = await simulator.add_thread(parent, f"fresh {number}", owner=discord.steve)
            missed += await past.post(fresh, 1 if times == 1 else 4)
            if number % 2:
                await simulator.archive_thread(fresh)
    missed += await past.post(discord.gallery, times, pictures=4)
    assert len(missed) == 30 * times
    for message in (archived[0], *missed[:: 5 * times]):
        await simulator.delete(message)
        past.forget(message)
    await simulator.bulk_delete(archived[1:3])
    past.forget(*archived[1:3])
    await simulator.edit(archived[3], attachments=archived[3].attachments[:1])
    await simulator.delete_channel(doomed)
    await simulator.delete_channel(closed)
    past.forget(*lost)

    async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
        await wait_for_exactly(world, past.there, timeout=100)


async def test_a_second_start_records_nothing_again(discord: Discord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_pages(monkeypatch)
    past = PictureHistory(discord)
    async with mapseek_beside(discord, tmp_path) as world:
        await past.post(discord.gallery)
        await world.archived(1)
    await past.post(discord.gallery, SMALL_PAGE + 5)
    for _ in range(2):
        async with mapseek_beside(discord, tmp_path) as world:
            await wait_for_exactly(world, past.there)


async def test_live_posts_and_questions_do_not_wait_for_the_catch_up(
    discord: Discord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_pages(monkeypatch)
    past = PictureHistory(discord)
    annex = discord.simulator.add_text_channel(discord.guild, "annex")
    async with mapseek_beside(discord, tmp_path) as world:
        await past.post(discord.gallery)
        await world.archived(1)
    await past.post(discord.gallery, SMALL_PAGE + 5)
    held = hold_history(discord.simulator, discord.gallery, after_pages=1)
    async with mapseek_beside(discord, tmp_path) as world:
        await held.arrived.wait()
        for number, channel in enumerate((discord.gallery, annex)):
            live = await discord.post(("live.png", art_png(LIVE + number)), channel=channel)
            past.there.append(live)
            await eventually(partial(_is_posted, world, live))
            await world.log.wait_until_idle()
            answer = await discord.simulator.answer(await discord.ask(art_png(LIVE + number)), embedded=True)
            assert answer.embeds[0]["url"] == live.jump_url
        assert await world.log.count(ImagePosted) == 1 + SMALL_PAGE + 2
        held.released.set()
        await wait_for_exactly(world, past.there)


async def _is_posted(world: World, message: Message) -> bool:
    return str(message.attachments[0].id) in {fact.image_id for fact in await world.log.facts(ImagePosted)}


async def test_an_invalid_session_is_caught_up_too(discord: Discord, tmp_path: Path) -> None:
    past = PictureHistory(discord)
    async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
        [early] = await past.post(discord.gallery)
        await world.archived(1)
        await discord.simulator.disconnect(resumable=False)
        await past.post(discord.gallery, 20, pictures=2)
        await discord.simulator.delete(early)
        past.forget(early)
        assert not discord.simulator.connected
        await wait_for_exactly(world, past.there)
        await past.post(discord.gallery)
        await wait_for_exactly(world, past.there)


async def test_a_channel_that_the_bot_may_not_read_is_reported_and_caught_up_once_it_may(discord: Discord, tmp_path: Path) -> None:
    simulator, past, mia = discord.simulator, PictureHistory(discord), add_manager(discord)
    me = simulator.me(discord.guild)
    vault = simulator.add_text_channel(discord.guild, "vault")
    async with mapseek_beside(discord, tmp_path) as world:
        await past.post(vault)
        await world.archived(1)
    missed = await past.post(vault, 12)
    await simulator.set_overwrites(vault, [Overwrite(me, deny=Permission.READ_MESSAGE_HISTORY)])
    report = localize(EN, "archive-status-unreadable")
    for _ in range(2):  # the next session does not take it for read either
        async with mapseek_beside(discord, tmp_path) as world:
            status = await wait_for_text(discord, await simulator.slash(discord.gallery, mia, "archive status"))
            assert report in status
            assert f"<#{vault.id}>" in status.partition(report)[2]
            await past.post(vault)
            await world.archived(len(past.there) - len(missed))
            assert not await _is_posted(world, missed[0])
    async with mapseek_beside(discord, tmp_path) as world:
        await simulator.set_overwrites(vault, [])
        await wait_for_exactly(world, past.there)
        assert report not in await wait_for_text(discord, await simulator.slash(discord.gallery, mia, "archive status"))


async def test_a_channel_watched_for_the_first_time_begins_with_its_next_post(discord: Discord, tmp_path: Path) -> None:
    past, mia = PictureHistory(discord), add_manager(discord)
    await past.post(discord.gallery, 3)
    past.there.clear()
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        added = await discord.simulator.slash(discord.gallery, mia, "archive watch add", options={"channel": discord.gallery})
        assert await wait_for_text(discord, added) == localize(EN, "archive-added", channel=f"<#{discord.gallery.id}>")
        await past.post(discord.gallery)
        await wait_for_exactly(world, past.there)
    await past.post(discord.gallery)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        await wait_for_exactly(world, past.there)


async def test_a_guild_that_the_bot_was_removed_from_meanwhile_is_erased_but_not_one_with_an_outage(
    discord: Discord, tmp_path: Path
) -> None:
    simulator, past = discord.simulator, PictureHistory(discord)
    left, down = simulator.add_guild("Left"), simulator.add_guild("Down")
    rooms = [simulator.add_text_channel(guild, "maps") for guild in (left, down)]
    async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
        for number, room in enumerate((*rooms, discord.gallery)):
            author = simulator.add_member(room.guild, "Ann")
            past.there.append(await discord.post((f"{number}.png", tiny_picture(number)), channel=room, author=author))
        await world.archived(3)
    await simulator.remove_guild(left)
    await simulator.set_unavailable(down)
    past.forget(past.there[0])
    for _ in range(2):
        async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
            await world.log.wait_for(RemovalRequested, 1)
            await eventually(lambda: _catalogued(world, len(past.there)))
            assert await _catalogued(world, len(past.there))
            assert {fact.target for fact in await world.log.facts(RemovalRequested)} == {str(left.id)}
            assert await world.log.count(RemovalRequested) == 1
            assert sorted(fact.image_id for fact in await world.log.facts(ImagePosted)) == list_file_ids(past.there)


async def _catalogued(world: World, number: int) -> bool:
    await world.log.wait_until_idle("removal")
    await world.log.wait_until_idle("image")
    return len(await world.entries()) == number


async def test_another_bots_token_is_refused_and_nothing_is_taken_for_left(discord: Discord, tmp_path: Path) -> None:
    past = PictureHistory(discord)
    async with mapseek_beside(discord, tmp_path) as world:
        await past.post(discord.gallery)
        await world.archived(1)
    async with simulated_discord() as another:
        told = await run_to_end("up", environment=another.environment(tmp_path))
    assert told.code == 1
    assert f"This archive belongs to the bot {discord.simulator.application_id}" in told.err
    assert "Traceback" not in told.err
    async with mapseek_beside(discord, tmp_path) as world:
        await wait_for_exactly(world, past.there)
        assert await world.log.count(RemovalRequested) == 0
