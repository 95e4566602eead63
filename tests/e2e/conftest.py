"""Fixtures of the end-to-end tests: a complete MapSeek in this process, or programs beside a simulated Discord."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pipeline.process import choose_endpoint
from tests.support.log_servers import kill_servers_at_the_end
from tests.support.world import Discord, World, simulated_discord, whole_world


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A simulated Discord and a complete MapSeek that is logged in and retries at once."""
    async with whole_world(tmp_path / "data") as world:
        yield world
        kill_servers_at_the_end(monkeypatch)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mapseek(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The MapSeek that `server` uses. Starting one takes as long as a test that only searches."""
    async with whole_world(tmp_path_factory.mktemp("shared")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def server(mapseek: World) -> World:
    """A guild of the test's own in the MapSeek that the tests of a module share. For tests marked `shared_world`."""
    choose_endpoint(mapseek.settings).use()  # another test may have pointed the process to another simulated Discord
    return mapseek.with_new_guild()


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """A simulated Discord without MapSeek."""
    async with simulated_discord() as discord:
        yield discord
