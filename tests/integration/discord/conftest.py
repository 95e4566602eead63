"""The real disnake client beside the simulated Discord, with in-memory ports behind it."""

from collections.abc import AsyncIterator

import pytest
from disnake.http import Route

from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import Discord, HookCalls, run_listening_gateway, simulated_discord


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway points every client of the process to its endpoint."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with simulated_discord() as discord:
        yield discord


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


@pytest.fixture
async def heard(discord: Discord, journal: MemoryJournal) -> AsyncIterator[HookCalls]:
    """A gateway that watches every channel."""
    async with run_listening_gateway(discord, journal) as heard:
        yield heard
