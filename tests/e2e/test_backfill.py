"""`/archive backfill` archives a channel's older posts, each image once, despite kills, restarts and buttons."""

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
from tests.support.programs import IMPATIENT_MAPSEEK, Program, find_announced_log, log_environment, run_program
from tests.support.waiting import eventually
from tests.support.world import Discord, Log, World, mapseek_beside

EN = "en-US"
OUTLASTS_THE_ACK_WAIT = replace(ERASE_AT_ONCE, image_retry=Backoff(first=0.5, factor=2, longest=8))
"""A killed process may hold a message. Stages that depend on it retry until it is delivered again."""

FIRST_POST_AT = datetime.now(UTC) - timedelta(days=60)


@pytest.fixture
def mia(discord: Discord) -> Member:
    return add_manager(discord)


@pytest.fixture
def office(discord: Discord) -> Channel:
    """The channel where commands are used, so that their messages are not in the channel that is back-filled."""
    return discord.simulator.add_text_channel(discord.guild, "office")


@pytest.fixture
def past(discord: Discord) -> PictureHistory:
    return PictureHistory(discord)


async def start_backfill(discord: Discord, office: Channel, by: Member, channel: Channel, **options: object) -> Interaction:
    return await discord.simulator.slash(office, by, "archive backfill", options={"channel": channel, **options})


def counts_text(messages: int, images: int) -> str:
    return localize(EN, "archive-backfill-counts", messages=messages, images=images)


def finished_text(channel: Channel) -> str:
    return localize(EN, "archive-backfill-finished", channel=f"<#{channel.id}>")


async def test_each_image_is_recorded_once_though_the_gateway_is_killed_while_it_records_a_page(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """The kill is in the middle of the second page. No stage runs, since only recording is tested."""
    await past.post(discord.gallery, 27, begin=FIRST_POST_AT)
    settings = discord.settings(tmp_path / "data")
    async with open_log_server(settings) as address:
        environment = discord.environment(settings.data_dir, **log_environment(address), MAPSEEK_CHANNELS="") | {
            PAGE_VARIABLE: str(SMALL_PAGE)
        }
        dying = environment | {DIE_AFTER_VARIABLE: f"{ImagePosted.type_name()}:14"}
        async with run_program(tmp_path / "killed.log", "gateway", environment=dying, command=IMPATIENT_MAPSEEK) as first:
            await discord.simulator.wait_for_command("archive", timeout=60)
            interaction = await start_backfill(discord, office, mia, discord.gallery)
            await first.wait_killed()
        async with run_program(tmp_path / "gateway.log", "gateway", environment=environment, command=IMPATIENT_MAPSEEK):
            assert counts_text(27, 27) in await wait_for_text(
                discord, interaction, words=finished_text(discord.gallery), timeout=60
            )
        client = await connect(address, "test")
        posted = [fact.image_id for fact in await Log(client).facts(ImagePosted)]
        await client.close()
    assert sorted(posted) == list_file_ids(past.there)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_1000_images_are_archived_once_though_the_gateway_is_killed_in_the_middle(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """One kill is between two pages of history, one while a page is being recorded. Processing 1000 images takes a minute."""
    simulator, settings = discord.simulator, discord.settings(tmp_path / "data")
    await past.post(discord.gallery, 1000, begin=FIRST_POST_AT)
    async with open_log_server(settings) as address, open_process(settings, address, STAGES, policy=ERASE_AT_ONCE) as process:
        world = World(discord, process, settings)
        environment = discord.environment(settings.data_dir, **log_environment(address), MAPSEEK_CHANNELS="")

        @asynccontextmanager
        async def gateway() -> AsyncIterator[Program]:
            async with run_program(tmp_path / "gateway.log", "gateway", environment=environment) as gateway:
                yield gateway

        held = hold_history(simulator, discord.gallery, after_pages=3)
        async with gateway() as first:
            await simulator.wait_for_command("archive", timeout=60)
            interaction = await start_backfill(discord, office, mia, discord.gallery)
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
            assert counts_text(1000, 1000) in await wait_for_text(
                discord, interaction, words=finished_text(discord.gallery), timeout=60
            )
            await wait_for_exactly(world, past.there, timeout=200)
            assert await third.stop() == 0


@asynccontextmanager
async def run_up(discord: Discord, folder: Path) -> AsyncIterator[tuple[Program, Log]]:
    """Run `mapseek up` in a process of its own, logged in and watching no channel."""
    environment = discord.environment(folder / "data", MAPSEEK_CHANNELS="") | {PAGE_VARIABLE: str(SMALL_PAGE)}
    async with run_program(folder / "log", "up", environment=environment, command=IMPATIENT_MAPSEEK) as running:
        await eventually(lambda: discord.simulator.connected, timeout=60)
        client = await connect(find_announced_log(folder / "data"), "test")
        yield running, Log(client)
        await client.close()


@pytest.mark.parametrize("end", ["killed", pytest.param("stopped", marks=pytest.mark.slow)])
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
    await past.post(discord.gallery, 14, begin=FIRST_POST_AT)
    held = hold_history(discord.simulator, discord.gallery, after_pages=1)
    async with run_up(discord, tmp_path) as (first, log):
        await discord.simulator.wait_for_command("archive", timeout=60)
        interaction = await start_backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        assert await log.count(ImagePosted) == SMALL_PAGE
        await (first.kill() if end == "killed" else first.stop())
    held.released.set()
    async with mapseek_beside(discord, tmp_path / "data", channels="", policy=OUTLASTS_THE_ACK_WAIT) as world:
        assert counts_text(14, 14) in await wait_for_text(discord, interaction, words=finished_text(discord.gallery))
        await wait_for_exactly(world, past.there, timeout=60)


async def test_buttons_pause_resume_and_cancel_a_backfill(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """Other members are refused and change nothing. No stage runs, since only recording is tested."""
    simulator = discord.simulator
    await past.post(discord.gallery, 350, begin=FIRST_POST_AT)
    held = hold_history(simulator, discord.gallery, after_pages=1)
    async with mapseek_beside(discord, tmp_path, channels="", stages=()) as world:
        interaction = await start_backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        answer = await simulator.answer(interaction)
        assert list_button_labels(answer) == ["Pause", "Cancel"]
        for label in list_button_labels(answer):
            refused = await simulator.answer(await simulator.press(answer, discord.alex, label=label))
            assert (refused.content, refused.ephemeral) == (localize(EN, "archive-managers-only"), True)
        assert list_button_labels(await simulator.answer(interaction)) == ["Pause", "Cancel"]

        await simulator.press(answer, mia, label="Pause")
        await wait_for_text(discord, interaction, words=paused_text(discord.gallery))
        held.released.set()
        await world.log.wait_for(ImagePosted, 200)

        simulator.faults.clear()
        held = hold_history(simulator, discord.gallery)
        await simulator.press(await simulator.answer(interaction), mia, label="Resume")
        await held.arrived.wait()
        await simulator.press(await simulator.answer(interaction), mia, label="Cancel")
        await wait_for_text(discord, interaction, words="Cancelled")
        held.released.set()
        await wait_for_text(discord, interaction, words=counts_text(300, 300))
        assert list_button_labels(await simulator.answer(interaction)) == []
        assert await list_posted(world) == list_file_ids(past.there[:300])
    async with mapseek_beside(discord, tmp_path, channels="", stages=()) as world:
        again = await start_backfill(discord, office, mia, discord.gallery)
        await wait_for_text(discord, again, words=finished_text(discord.gallery))
        assert await list_posted(world) == list_file_ids(past.there)


async def list_posted(world: World) -> list[str]:
    return sorted(fact.image_id for fact in await world.log.facts(ImagePosted))


def list_button_labels(answer: VisibleAnswer) -> list[str]:
    return [button.label for button in answer.buttons.values()]


def paused_text(channel: Channel) -> str:
    return localize(EN, "archive-backfill-paused", channel=f"<#{channel.id}>")


async def test_a_paused_backfill_stays_paused_through_a_restart_and_its_old_button_resumes_it(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    simulator = discord.simulator
    await past.post(discord.gallery, 110, begin=FIRST_POST_AT)
    held = hold_history(simulator, discord.gallery)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        interaction = await start_backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        await simulator.press(await simulator.answer(interaction), mia, label="Pause")
        await wait_for_text(discord, interaction, words=paused_text(discord.gallery))
    held.released.set()
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        posted = await world.log.count(ImagePosted)
        assert posted < 110
        status = await wait_for_text(discord, await simulator.slash(office, mia, "archive status"), words="Archiving older posts")
        assert f"<#{discord.gallery.id}>" in status.partition("Archiving older posts")[2]
        assert "(paused)" in status
        await simulator.press(await simulator.answer(interaction), mia, label="Resume")
        await wait_for_text(discord, interaction, words=finished_text(discord.gallery))
        await wait_for_exactly(world, past.there)


async def test_a_backfill_begins_at_the_given_date(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    old = await past.post(discord.gallery, 3, begin=datetime(2024, 5, 31, 23, 50, tzinfo=UTC))
    await past.post(discord.gallery, 3, begin=datetime(2024, 6, 1, 0, 5, tzinfo=UTC))
    past.forget(*old)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        refused = await start_backfill(discord, office, mia, discord.gallery, since="yesterday")
        assert await wait_for_text(discord, refused) == localize(EN, "archive-backfill-bad-date")
        interaction = await start_backfill(discord, office, mia, discord.gallery, since="2024-06")
        assert counts_text(3, 3) in await wait_for_text(discord, interaction, words=finished_text(discord.gallery))
        await wait_for_exactly(world, past.there)


async def test_forums_and_archived_threads_are_read_and_unreadable_channels_are_named(
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
        interaction = await start_backfill(discord, office, mia, category)
        text = await wait_for_text(discord, interaction, words=finished_text(category))
        assert localize(EN, "archive-backfill-unreadable", count=1, channels=f"<#{vault.id}>") in text
        assert counts_text(26, 26) in text
        await wait_for_exactly(world, past.there)


async def test_the_message_shows_progress_rate_and_time_left(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    simulator = discord.simulator
    simulator.now = lambda: FIRST_POST_AT
    old = simulator.add_text_channel(discord.guild, "old")
    simulator.now = lambda: datetime.now(UTC)
    await past.post(old, 240, begin=FIRST_POST_AT, every=timedelta(days=60) / 240)
    held = hold_history(simulator, old, after_pages=1)
    async with mapseek_beside(discord, tmp_path, channels="", stages=()):
        interaction = await start_backfill(discord, office, mia, old)
        text = await wait_for_text(discord, interaction, words=counts_text(100, 100))
        assert "▰▱" in text
        assert "41%" in text
        assert "messages per second, about" in text
        held.released.set()
        text = await wait_for_text(discord, interaction, words=finished_text(old))
        assert "▰ 100%" in text
        assert "messages per second" not in text


async def test_progress_moves_to_a_new_message_when_the_token_is_about_to_expire(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    """By Discord's clock the command was used almost 15 minutes ago. The buttons also work in the new message."""
    simulator = discord.simulator
    await past.post(discord.gallery, 110, begin=FIRST_POST_AT)
    held = hold_history(simulator, discord.gallery, after_pages=1)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        simulator.now = lambda: datetime.now(UTC) - timedelta(minutes=14, seconds=30)
        interaction = await start_backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        simulator.now = lambda: datetime.now(UTC)
        fresh = await eventually(
            lambda: next((each for each in office.messages.values() if each is not interaction.original), None)
        )
        assert fresh.author.bot
        assert counts_text(100, 100) in message_text(fresh)
        assert fresh.jump_url in await wait_for_text(discord, interaction, words="See this message for the progress")
        assert list_button_labels(await simulator.answer(interaction)) == []
        pressed = await simulator.press(fresh, mia, label="Pause")
        await wait_for_text(discord, pressed, words=paused_text(discord.gallery))
        await simulator.press(fresh, mia, label="Resume")
        held.released.set()
        await eventually(lambda: finished_text(discord.gallery) in message_text(fresh))
        assert counts_text(110, 110) in message_text(fresh)
        await wait_for_exactly(world, past.there)


async def test_a_channel_that_is_backfilled_and_posted_in_is_archived_once(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    await past.post(discord.gallery, 105, begin=FIRST_POST_AT)
    held = hold_history(discord.simulator, discord.gallery, after_pages=1)
    async with mapseek_beside(discord, tmp_path) as world:
        interaction = await start_backfill(discord, office, mia, discord.gallery)
        await held.arrived.wait()
        await past.post(discord.gallery, 5)
        held.released.set()
        await wait_for_text(discord, interaction, words=finished_text(discord.gallery))
        again = await start_backfill(discord, office, mia, discord.gallery)
        assert counts_text(110, 110) in await wait_for_text(discord, again, words=finished_text(discord.gallery))
        await wait_for_exactly(world, past.there)


class GarbledHistory:
    """Answers a request for history with malformed data."""

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.json_response({"messages": []})


async def test_a_malformed_page_is_requested_again(
    discord: Discord, mia: Member, office: Channel, past: PictureHistory, tmp_path: Path
) -> None:
    await past.post(discord.gallery, 5, begin=FIRST_POST_AT)
    discord.simulator.faults.add(GarbledHistory(), f"*/channels/{discord.gallery.id}/messages", method="GET")
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        interaction = await start_backfill(discord, office, mia, discord.gallery)
        assert counts_text(5, 5) in await wait_for_text(discord, interaction, words=finished_text(discord.gallery))
        await wait_for_exactly(world, past.there)
