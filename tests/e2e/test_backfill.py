"""`/archive backfill` puts a channel's past into the archive, every image once, whatever is killed or pressed meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from contracts.events import ImagePosted
from infra.discord.wording import localize
from infra.nats.connection import connect
from infra.nats.server import read_announced_url
from infra.sandbox.simulator import Channel, Interaction, Member, Overwrite, Permission, VisibleAnswer
from infra.sandbox.simulator.faults import Handler
from pipeline.engine.job import Backoff
from pipeline.engine.registry import STAGES
from pipeline.process import open_log_server, open_process
from tests.support.archives import (
    ERASE_AT_ONCE,
    SMALL_PAGE,
    PictureHistory,
    add_manager,
    hold_history,
    list_file_ids,
    message_text,
    use_small_pages,
    wait_for_exactly,
    wait_for_text,
)
from tests.support.impatient import DIE_AFTER_VARIABLE, PAGE_VARIABLE
from tests.support.programs import IMPATIENT_MAPSEEK, Program, run_program
from tests.support.waiting import eventually
from tests.support.world import Discord, Log, World, mapseek_beside

EN = "en-US"
OUTLASTS_THE_ACK_WAIT = replace(ERASE_AT_ONCE, image_retry=Backoff(first=0.5, factor=2, longest=8))
"""What depends on a message that a killed process held tries until it is delivered again."""

BEGIN = datetime.now(UTC) - timedelta(days=60)


@pytest.fixture
def mia(discord: Discord) -> Member:
    return add_manager(discord)


@pytest.fixture
def office(discord: Discord) -> Channel:
    """Where commands are used, so that nothing of theirs is in the channel whose past is read."""
    return discord.simulator.add_text_channel(discord.guild, "office")


@pytest.fixture
def past(discord: Discord) -> PictureHistory:
    return PictureHistory(discord)


async def backfill(discord: Discord, office: Channel, by: Member, channel: Channel, **options: object) -> Interaction:
    return await discord.simulator.slash(office, by, "archive backfill", options={"channel": channel, **options})


def counted(messages: int, images: int) -> str:
    return localize(EN, "archive-backfill-counts", messages=messages, images=images)


def finished(channel: Channel) -> str:
    return localize(EN, "archive-backfill-finished", channel=f"<#{channel.id}>")


async def test_each_image_is_recorded_once_though_the_gateway_is_killed_while_it_records_a_page(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """In the middle of the second page. No stage works, since this is about what is recorded."""
    await past.post(discord.gallery, 27, begin=BEGIN)
    settings = discord.settings(tmp_path / "data")
    async with open_log_server(settings) as url:
        environment = discord.environment(settings.data_dir, NATS_URL=url, MAPSEEK_CHANNELS="") | {PAGE_VARIABLE: str(SMALL_PAGE)}
        dying = environment | {DIE_AFTER_VARIABLE: f"{ImagePosted.type_name()}:14"}
        async with run_program(tmp_path / "killed.log", "gateway", environment=dying, command=IMPATIENT_MAPSEEK) as first:
            await discord.simulator.wait_for_command("archive", timeout=60)
            interaction = await backfill(discord, office, mia, discord.gallery)
            await first.wait_killed()
        async with run_program(tmp_path / "gateway.log", "gateway", environment=environment, command=IMPATIENT_MAPSEEK):
            assert counted(27, 27) in await wait_for_text(discord, interaction, words=finished(discord.gallery), timeout=60)
        client = await connect(url, "test")
        posted = [fact.image_id for fact in await Log(client).facts(ImagePosted)]
        await client.close()
    assert sorted(posted) == list_file_ids(past.there)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_1000_images_are_archived_once_though_the_gateway_is_killed_in_the_middle(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """Once between two pages of history, once while a page is being recorded. All that is made of 1000 images takes a minute."""
    simulator, settings = discord.simulator, discord.settings(tmp_path / "data")
    await past.post(discord.gallery, 1000, begin=BEGIN)
    async with open_log_server(settings) as url, open_process(settings, url, STAGES, policy=ERASE_AT_ONCE) as process:
        world = World(discord, process, settings)
        environment = discord.environment(settings.data_dir, NATS_URL=url, MAPSEEK_CHANNELS="")

        @asynccontextmanager
        async def gateway() -> AsyncIterator[Program]:
            async with run_program(tmp_path / "gateway.log", "gateway", environment=environment) as gateway:
                yield gateway

        held = hold_history(simulator, discord.gallery, after_pages=3)
        async with gateway() as first:
            await simulator.wait_for_command("archive", timeout=60)
            interaction = await backfill(discord, office, mia, discord.gallery)
            await held.arrived.wait()
            await first.kill()
        assert await world.log.count(ImagePosted) == 300

        simulator.faults.clear()
        held = hold_history(simulator, discord.gallery, after_pages=5)
        async with gateway() as second:
            await world.log.wait_for(ImagePosted, 550, timeout=60)
            await second.kill()
        assert 550 <= await world.log.count(ImagePosted) <= 800

        simulator.faults.clear()
        async with gateway() as third:
            assert counted(1000, 1000) in await wait_for_text(discord, interaction, words=finished(discord.gallery), timeout=60)
            await wait_for_exactly(world, past.there, timeout=200)
            assert await third.stop() == 0


@asynccontextmanager
async def up(discord: Discord, folder: Path) -> AsyncIterator[tuple[Program, Log]]:
    """`mapseek up` in a process of its own, logged in, watching no channel."""
    environment = discord.environment(folder / "data", MAPSEEK_CHANNELS="") | {PAGE_VARIABLE: str(SMALL_PAGE)}
    async with run_program(folder / "log", "up", environment=environment, command=IMPATIENT_MAPSEEK) as running:
        await eventually(lambda: discord.simulator.connected, timeout=60)
        client = await connect(read_announced_url(folder / "data" / "nats") or "", "test")
        yield running, Log(client)
        await client.close()


@pytest.mark.parametrize("end", ["killed", "stopped"])
async def test_everything_ended_in_the_middle_goes_on_where_it_was(
    discord: Discord,
    mia: Member,
    office: Channel,
    past: PictureHistory,
    tmp_path: Path,
    impatient_log: None,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    use_small_pages(monkeypatch)
    await past.post(discord.gallery, 14, begin=BEGIN)
    held = hold_history(discord.simulator, discord.gallery, after_pages=1)
    async with up(discord, tmp_path) as (first, log):
        await discord.simulator.wait_for_command("archive", timeout=60)
        interaction = await backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        assert await log.count(ImagePosted) == SMALL_PAGE
        await (first.kill() if end == "killed" else first.stop())
    held.released.set()
    async with mapseek_beside(discord, tmp_path / "data", channels="", policy=OUTLASTS_THE_ACK_WAIT) as world:
        assert counted(14, 14) in await wait_for_text(discord, interaction, words=finished(discord.gallery))
        await wait_for_exactly(world, past.there, timeout=60)


async def test_it_is_paused_resumed_and_cancelled_by_buttons(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """Other members are refused, and nothing changes. No stage works, since this is about what is recorded."""
    simulator = discord.simulator
    await past.post(discord.gallery, 350, begin=BEGIN)
    held = hold_history(simulator, discord.gallery, after_pages=1)
    async with mapseek_beside(discord, tmp_path, channels="", stages=()) as world:
        interaction = await backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        answer = await simulator.answer(interaction)
        assert labels(answer) == ["Pause", "Cancel"]
        for label in labels(answer):
            refused = await simulator.answer(await simulator.press(answer, discord.alex, label=label))
            assert (refused.content, refused.ephemeral) == (localize(EN, "archive-managers-only"), True)
        assert labels(await simulator.answer(interaction)) == ["Pause", "Cancel"]

        await simulator.press(answer, mia, label="Pause")
        await wait_for_text(discord, interaction, words=paused(discord.gallery))
        held.released.set()
        await world.log.wait_for(ImagePosted, 200)

        simulator.faults.clear()
        held = hold_history(simulator, discord.gallery)
        await simulator.press(await simulator.answer(interaction), mia, label="Resume")
        await held.arrived.wait()
        await simulator.press(await simulator.answer(interaction), mia, label="Cancel")
        await wait_for_text(discord, interaction, words="Cancelled")
        held.released.set()
        await wait_for_text(discord, interaction, words=counted(300, 300))
        assert labels(await simulator.answer(interaction)) == []
        assert await posted(world) == list_file_ids(past.there[:300])
    async with mapseek_beside(discord, tmp_path, channels="", stages=()) as world:
        again = await backfill(discord, office, mia, discord.gallery)
        await wait_for_text(discord, again, words=finished(discord.gallery))
        assert await posted(world) == list_file_ids(past.there)


async def posted(world: World) -> list[str]:
    return sorted(fact.image_id for fact in await world.log.facts(ImagePosted))


def labels(answer: VisibleAnswer) -> list[str]:
    return [button.label for button in answer.buttons.values()]


def paused(channel: Channel) -> str:
    return localize(EN, "archive-backfill-paused", channel=f"<#{channel.id}>")


async def test_a_paused_one_stays_so_through_a_restart_and_is_resumed_by_its_old_button(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    simulator = discord.simulator
    await past.post(discord.gallery, 110, begin=BEGIN)
    held = hold_history(simulator, discord.gallery)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        interaction = await backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        await simulator.press(await simulator.answer(interaction), mia, label="Pause")
        await wait_for_text(discord, interaction, words=paused(discord.gallery))
    held.released.set()
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        posted = await world.log.count(ImagePosted)
        assert posted < 110
        status = await wait_for_text(discord, await simulator.slash(office, mia, "archive status"), words="Archiving older posts")
        assert f"<#{discord.gallery.id}>" in status.partition("Archiving older posts")[2]
        assert "(paused)" in status
        await simulator.press(await simulator.answer(interaction), mia, label="Resume")
        await wait_for_text(discord, interaction, words=finished(discord.gallery))
        await wait_for_exactly(world, past.there)


async def test_it_begins_at_the_date_since_which_it_is_asked(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    old = await past.post(discord.gallery, 3, begin=datetime(2024, 5, 31, 23, 50, tzinfo=UTC))
    await past.post(discord.gallery, 3, begin=datetime(2024, 6, 1, 0, 5, tzinfo=UTC))
    past.forget(*old)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        refused = await backfill(discord, office, mia, discord.gallery, since="yesterday")
        assert await wait_for_text(discord, refused) == localize(EN, "archive-backfill-bad-date")
        interaction = await backfill(discord, office, mia, discord.gallery, since="2024-06")
        assert counted(3, 3) in await wait_for_text(discord, interaction, words=finished(discord.gallery))
        await wait_for_exactly(world, past.there)


async def test_forums_and_archived_threads_are_read_and_what_may_not_be_read_is_named(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    simulator = discord.simulator
    category = simulator.add_category(discord.guild, "art")
    maps = simulator.add_text_channel(discord.guild, "maps", category=category)
    forum = simulator.add_forum(discord.guild, "projects", category=category)
    hidden = Overwrite(simulator.me(discord.guild), deny=Permission.READ_MESSAGE_HISTORY)
    vault = simulator.add_text_channel(discord.guild, "vault", [hidden], category=category)
    await past.post(maps, 2)
    for parent in (maps, forum):
        for number in range(4):
            thread = await simulator.add_thread(parent, f"{parent.name} {number}", owner=discord.steve)
            await past.post(thread, 3)
            if number % 2:
                await simulator.archive_thread(thread)
    past.forget(*await past.post(vault))
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        interaction = await backfill(discord, office, mia, category)
        text = await wait_for_text(discord, interaction, words=finished(category))
        assert localize(EN, "archive-backfill-unreadable", count=1, channels=f"<#{vault.id}>") in text
        assert counted(26, 26) in text
        await wait_for_exactly(world, past.there)


async def test_its_message_shows_progress_rate_and_the_time_left(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    simulator = discord.simulator
    simulator.now = lambda: BEGIN
    old = simulator.add_text_channel(discord.guild, "old")
    simulator.now = lambda: datetime.now(UTC)
    await past.post(old, 240, begin=BEGIN, every=timedelta(days=60) / 240)
    held = hold_history(simulator, old, after_pages=1)
    async with mapseek_beside(discord, tmp_path, channels="", stages=()):
        interaction = await backfill(discord, office, mia, old)
        text = await wait_for_text(discord, interaction, words=counted(100, 100))
        assert "▰▱" in text
        assert "41%" in text
        assert "messages per second, about" in text
        held.released.set()
        text = await wait_for_text(discord, interaction, words=finished(old))
        assert "▰ 100%" in text
        assert "messages per second" not in text


async def test_it_goes_on_in_a_fresh_message_when_the_token_is_about_to_expire(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """The command was used almost a quarter of an hour ago, by Discord's clock. The buttons work in the fresh message as well."""
    simulator = discord.simulator
    await past.post(discord.gallery, 110, begin=BEGIN)
    held = hold_history(simulator, discord.gallery, after_pages=1)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        simulator.now = lambda: datetime.now(UTC) - timedelta(minutes=14, seconds=30)
        interaction = await backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        simulator.now = lambda: datetime.now(UTC)
        fresh = await eventually(
            lambda: next((each for each in office.messages.values() if each is not interaction.original), None)
        )
        assert fresh.author.bot
        assert counted(100, 100) in message_text(fresh)
        assert fresh.jump_url in await wait_for_text(discord, interaction, words="See this message for the progress")
        assert labels(await simulator.answer(interaction)) == []
        pressed = await simulator.press(fresh, mia, label="Pause")
        await wait_for_text(discord, pressed, words=paused(discord.gallery))
        await simulator.press(fresh, mia, label="Resume")
        held.released.set()
        await eventually(lambda: finished(discord.gallery) in message_text(fresh))
        assert counted(110, 110) in message_text(fresh)
        await wait_for_exactly(world, past.there)


async def test_a_channel_that_is_filled_back_and_posted_in_is_archived_once(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    await past.post(discord.gallery, 105, begin=BEGIN)
    held = hold_history(discord.simulator, discord.gallery, after_pages=1)
    async with mapseek_beside(discord, tmp_path) as world:
        interaction = await backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        await past.post(discord.gallery, 5)
        held.released.set()
        await wait_for_text(discord, interaction, words=finished(discord.gallery))
        again = await backfill(discord, office, mia, discord.gallery)
        assert counted(110, 110) in await wait_for_text(discord, again, words=finished(discord.gallery))
        await wait_for_exactly(world, past.there)


class Garbled:
    """An answer that is no history."""

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.json_response([{"id": "1"}])


async def test_a_page_that_cannot_be_understood_is_asked_for_again(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    await past.post(discord.gallery, 5, begin=BEGIN)
    discord.simulator.faults.add(Garbled(), f"*/channels/{discord.gallery.id}/messages", method="GET")
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        interaction = await backfill(discord, office, mia, discord.gallery)
        assert counted(5, 5) in await wait_for_text(discord, interaction, words=finished(discord.gallery))
        await wait_for_exactly(world, past.there)
