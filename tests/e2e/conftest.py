"""Fixtures of the end-to-end tests: a whole MapSeek in this process, or programs beside a simulated Discord."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.suites.world import Discord, World, simulated_discord, whole_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A simulated Discord with the whole of MapSeek logged in, which tries again at once."""
    async with whole_world(tmp_path / "data") as world:
        yield world


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A simulated Discord alone."""
    async with simulated_discord() as discord:
        yield discord
