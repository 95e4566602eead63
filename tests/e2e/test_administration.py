"""`/archive`: managers choose what is archived, change settings and see the archive's state. Also Discord's limits."""

from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from contracts.errors import MapSeekError
from contracts.events import ImagePosted
from infra.discord.wording import localize
from infra.sandbox.simulator import Channel, Member, Status
from pipeline.engine.registry import STAGES
from pipeline.process import open_log_server, open_process
from tests.support.archives import (
    ERASE_AT_ONCE,
    HeldRequests,
    PictureHistory,
    add_manager,
    tiny_picture,
    wait_for_exactly,
    wait_for_text,
)
from tests.support.files import encode_image
from tests.support.programs import log_environment, run_program
from tests.support.world import Discord, World, art_png, mapseek_beside, simulated_discord

EN, DE = "en-US", "de"


@pytest.fixture
def mia(discord: Discord) -> Member:
    return add_manager(discord)


@pytest.fixture
def office(discord: Discord) -> Channel:
    return discord.simulator.add_text_channel(discord.guild, "office")


async def use_archive(discord: Discord, office: Channel, by: Member, command: str, *, locale: str = EN, **options: object) -> str:
    """Use an `/archive` command and return its answer, which only that member sees."""
    interaction = await discord.simulator.slash(office, by, f"archive {command}", options=options, locale=locale)
    answer = await discord.simulator.answer(interaction)
    assert answer.ephemeral
    return await wait_for_text(discord, interaction)


async def create_watchable(discord: Discord, kind: str) -> tuple[Channel, Channel]:
    """Create a place to watch, and return it with the channel to post in."""
    simulator = discord.simulator
    match kind:
        case "channel":
            return discord.gallery, discord.gallery
        case "thread":
            thread = await simulator.add_thread(discord.gallery, "wip", owner=discord.steve)
            return thread, thread
        case "thread of a channel":
            return discord.gallery, await simulator.add_thread(discord.gallery, "wip", owner=discord.steve)
        case "forum":
            forum = simulator.add_forum(discord.guild, "projects")
            return forum, await simulator.add_thread(forum, "castle", owner=discord.steve)
        case _:
            category = simulator.add_category(discord.guild, "art")
            return category, simulator.add_text_channel(discord.guild, "maps", category=category)


@pytest.mark.parametrize("kind", ["channel", "thread", "thread of a channel", "forum", "category"])
async def test_a_channel_is_archived_while_it_is_watched(
    discord: Discord, mia: Member, office: Channel, tmp_path: Path, kind: str
) -> None:
    """MAPSEEK_CHANNELS is empty, so nothing is archived before, nor in other channels. A restart changes nothing."""
    past, elsewhere = PictureHistory(discord), PictureHistory(discord)
    place, room = await create_watchable(discord, kind)
    name = f"<#{place.id}>"
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        assert await use_archive(discord, office, mia, "watch list") == localize(EN, "archive-watching-none")
        await elsewhere.post(room)
        assert await use_archive(discord, office, mia, "watch add", channel=place) == localize(EN, "archive-added", channel=name)
        assert await use_archive(discord, office, mia, "watch list") == localize(EN, "archive-watching", channels=name, more=0)
        await elsewhere.post(office)
        await past.post(room)
        await wait_for_exactly(world, past.there)
    async with mapseek_beside(discord, tmp_path, channels="") as world:
        await past.post(room)
        await world.archived(2)
        assert await use_archive(discord, office, mia, "watch remove", channel=place) == localize(
            EN, "archive-removed", channel=name
        )
        assert await use_archive(discord, office, mia, "watch list") == localize(EN, "archive-watching-none")
        assert await use_archive(discord, office, mia, "watch remove", channel=place) == localize(
            EN, "archive-not-watched", channel=name
        )
        await elsewhere.post(room)
        await use_archive(discord, office, mia, "watch add", channel=office)
        await past.post(office)
        await wait_for_exactly(world, past.there)


async def test_status_shows_images_storage_backlog_failures_and_the_last_seen_post(
    discord: Discord, mia: Member, office: Channel, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    held = HeldRequests()
    discord.simulator.faults.add(Status(500, retry_after=0.01), "*/broken.png", times=None)
    discord.simulator.faults.add(held, "*/waiting.png")
    async with mapseek_beside(discord, tmp_path) as world:
        assert localize(EN, "archive-status-idle") in await use_archive(discord, office, mia, "status")
        last = await discord.post(("noise.png", encode_image(Image.fromarray(noise), "PNG")))
        await world.archived(1)
        await discord.post(("broken.png", tiny_picture(1)), channel=office)
        await world.log.dead_letters(1)
        await discord.post(("waiting.png", tiny_picture(2)), channel=office)
        await held.arrived.wait()
        text = await use_archive(discord, office, mia, "status")
        stored = sum(file.stat().st_size for file in (tmp_path / "blobs").rglob("*") if file.is_file())
        assert stored > 500_000
        assert localize(EN, "archive-status-images", count=3) in text
        assert localize(EN, "archive-status-stored", megabytes=round(stored / 1e6, 1)) in text
        assert localize(EN, "archive-status-failures", count=1) in text
        assert localize(EN, "archive-status-lag", stage="download", lane="image", pending=1, failures=1) in text
        seen_at = f"<t:{int(last.posted_at.timestamp())}:R>"
        assert localize(EN, "archive-status-seen", channel=f"<#{discord.gallery.id}>", when=seen_at) in text
        held.released.set()


async def test_settings_affect_find_and_survive_a_restart(discord: Discord, mia: Member, office: Channel, tmp_path: Path) -> None:
    simulator = discord.simulator
    async with mapseek_beside(discord, tmp_path):
        private = await simulator.answer(await discord.ask(art_png(1)), embedded=True)
        assert private.ephemeral
        text = await use_archive(discord, office, mia, "settings", **{"private-answers": False, "language": "de", "per-member": 2})
        assert localize(EN, "archive-shown-private", private="no") in text
        assert localize(EN, "archive-shown-language", language="German") in text
        assert localize(EN, "archive-shown-member", count=2) in text
    async with mapseek_beside(discord, tmp_path):
        assert await use_archive(discord, office, mia, "settings") == text
        for _ in range(2):
            public = await simulator.answer(await discord.ask(art_png(1)), embedded=True)
            assert not public.ephemeral
            assert public.embeds[0]["title"] == localize(DE, "answers-none")
        refused = await simulator.answer(await discord.ask(art_png(1)))
        assert refused.ephemeral
        assert refused.content.partition("<t:")[0] == localize(EN, "asking-too-many-searches", when="<t:").partition("<t:")[0]
        other = await simulator.answer(await discord.ask(art_png(1), member=discord.steve), embedded=True)
        assert not other.ephemeral


COMMANDS: dict[str, dict[str, Any]] = {
    "watch add": {"channel": None},
    "watch remove": {"channel": None},
    "watch list": {},
    "backfill": {"channel": None},
    "status": {},
    "settings": {},
}


async def test_ordinary_members_may_not_use_archive_commands(world: World) -> None:
    discord = world.discord
    for command, options in COMMANDS.items():
        filled = dict.fromkeys(options, discord.gallery)
        with pytest.raises(MapSeekError, match="Alex may not use /archive"):
            await discord.simulator.slash(discord.gallery, discord.alex, f"archive {command}", options=filled)


async def test_a_german_client_reads_german_names_and_answers(world: World) -> None:
    discord, mia = world.discord, add_manager(world.discord)
    wanted = {
        "watch list": "archive-watching-all",
        "status": "archive-status-title",
        "settings": "archive-settings-title",
    }
    for command, message in wanted.items():
        assert localize(DE, message) in await use_archive(discord, discord.gallery, mia, command, locale=DE)
    declared = [each for command in await fetch_commands(discord) for each in (command, *list_parts(command))]
    assert len(declared) > 30
    for each in declared:
        assert each["name_localizations"]["de"], each["name"]
        if each.get("description") not in (None, "", "-"):  # nobody sees the description of a group
            assert each["description_localizations"]["de"] != each["description"], each["name"]
    named = {each["name"]: each["name_localizations"]["de"] for each in declared}
    assert (named["find"], named["archive"], named["backfill"]) == ("finden", "archiv", "nachholen")


async def test_the_commands_are_within_discords_limits(world: World) -> None:
    """The simulator refuses what Discord refuses. This checks Discord's counts directly."""
    commands = await fetch_commands(world.discord)
    slash = [command for command in commands if command["type"] == 1]
    menus = [command for command in commands if command["type"] == 3]
    assert 0 < len(slash) <= 100
    assert 0 < len(menus) <= 5
    for each in (part for command in commands for part in (command, *list_parts(command))):
        assert len(each.get("options", ())) <= 25
        assert len(each.get("choices", ())) <= 25


async def fetch_commands(discord: Discord) -> list[dict[str, Any]]:
    """Return the commands as Discord has them."""
    simulator = discord.simulator
    url = f"{simulator.api_base}/applications/{simulator.application_id}/commands"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {simulator.token}"}) as session, session.get(url) as response:
        commands: list[dict[str, Any]] = await response.json()
    return commands


def list_parts(command: dict[str, Any]) -> list[dict[str, Any]]:
    """Return subcommands and options at every depth."""
    parts = command.get("options") or []
    return [each for part in parts for each in (part, *list_parts(part))]


async def test_with_rate_limits_a_start_archives_and_answers_without_one_refused_request(tmp_path: Path) -> None:
    async with simulated_discord(rate_limits=True) as discord:
        simulator, past = discord.simulator, PictureHistory(discord)
        channels = [simulator.add_text_channel(discord.guild, f"maps-{number}") for number in range(20)]
        async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
            for channel in channels:
                await past.post(channel)
            await wait_for_exactly(world, past.there)
        for channel in channels:
            await past.post(channel, 3)
        await past.post(discord.gallery, 5)
        simulator.expire_urls()
        async with mapseek_beside(discord, tmp_path, policy=ERASE_AT_ONCE) as world:
            live = await discord.post(("live.png", art_png(1)))
            past.there.append(live)
            await wait_for_exactly(world, past.there)
            answer = await simulator.answer(await discord.ask(art_png(1)), embedded=True)
            assert answer.embeds[0]["url"] == live.jump_url
        assert simulator.invalid_requests == 0


@pytest.mark.slow
async def test_a_stage_process_and_the_gateways_together_ask_discord_at_most_fifty_times_a_second(tmp_path: Path) -> None:
    """One process catches up forty channels, the other needs a fresh URL for every picture."""
    async with simulated_discord(rate_limits=True) as discord:
        simulator, past, settings = discord.simulator, PictureHistory(discord), discord.settings(tmp_path / "data")
        channels = [simulator.add_text_channel(discord.guild, f"maps-{number}") for number in range(40)]
        async with mapseek_beside(discord, settings.data_dir, stages=()) as world:
            for channel in channels:
                await past.post(channel, 2)
            await world.log.wait_for(ImagePosted, 80)
        for channel in channels:
            await past.post(channel)
        simulator.expire_urls()
        async with open_log_server(settings) as address, open_process(settings, address, STAGES, policy=ERASE_AT_ONCE) as process:
            environment = discord.environment(settings.data_dir, **log_environment(address))
            async with run_program(tmp_path / "gateway.log", "gateway", environment=environment):
                await wait_for_exactly(World(discord, process, settings), past.there, timeout=60)
        assert simulator.requests["GET /channels/{channel}/messages/{message}"] >= 80
        assert simulator.requests["GET /channels/{channel}/messages"] >= 40
        assert simulator.invalid_requests == 0
