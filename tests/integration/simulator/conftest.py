"""Fixtures: a simulated Discord with one guild, one channel and one member, and the real client connected to it."""

from collections.abc import AsyncIterator

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Simulator
from tests.support.gateway import RecordingBot, log_in, png_file


@pytest.fixture
async def sim(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        monkeypatch.setattr(disnake.http.Route, "BASE", simulator.api_base)
        yield simulator


@pytest.fixture
def guild(sim: Simulator) -> Guild:
    return sim.add_guild("Mapmakers")


@pytest.fixture
def channel(sim: Simulator, guild: Guild) -> Channel:
    return sim.add_text_channel(guild, "gallery")


@pytest.fixture
def steve(sim: Simulator, guild: Guild) -> Member:
    return sim.add_member(guild, "Steve")


@pytest.fixture
async def bot(sim: Simulator, channel: Channel) -> AsyncIterator[RecordingBot]:
    async with log_in(sim) as client:
        yield client


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {sim.token}"}) as session:
        yield session


@pytest.fixture
async def interaction(sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member) -> Interaction:
    """A `/find` that the bot has deferred with a public answer."""
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
    await bot.next("application_command")
    await bot.next("slash_command_completion")
    return interaction
