"""Fixtures of the end-to-end tests: a whole MapSeek in this process, or programs beside a simulated Discord."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pipeline.process import choose_endpoint
from tests.support.world import Discord, World, simulated_discord, whole_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A simulated Discord with the whole of MapSeek logged in, which tries again at once."""
    async with whole_world(tmp_path / "data") as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mapseek(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """What `server` is made of: it takes as long to begin as a test takes to ask."""
    async with whole_world(tmp_path_factory.mktemp("shared")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def server(mapseek: World) -> World:
    """A guild of the test's own, in a MapSeek that the tests of a module share; for tests that are marked `together`."""
    choose_endpoint(mapseek.settings).use()  # a test that began another one has pointed the process to that one's Discord
    return mapseek.with_new_guild()


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A simulated Discord alone."""
    async with simulated_discord() as discord:
        yield discord
