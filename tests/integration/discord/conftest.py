"""Fixtures: the gateway with the real disnake client on the simulated Discord, with ports in memory."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
from disnake.http import Route

from infra.discord import gateway
from infra.discord.archive.marks import HighWaterMarks
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import Discord, HookCalls, run_listening_gateway, simulated_discord


@pytest.fixture(autouse=True)
def _restore_api_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a gateway does: it points every client of the process to its endpoint."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)


@pytest.fixture(autouse=True)
def _save_marks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "HighWaterMarks", partial(HighWaterMarks, save_interval_s=0.01))


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
async def hook_calls(discord: Discord, journal: MemoryJournal) -> AsyncIterator[HookCalls]:
    """Run a gateway that watches every channel. Yield what its hooks were called with."""
    async with run_listening_gateway(discord, journal) as hook_calls:
        yield hook_calls
