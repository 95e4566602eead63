"""Fixtures: an installation to export, one to import into, and the path of the archive file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.backups import Installation, open_installation
from tests.support.log_servers import kill_servers_at_the_end


@pytest.fixture
async def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    async with open_installation(tmp_path / "source") as source:
        yield source
        kill_servers_at_the_end(monkeypatch)


@pytest.fixture
async def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    async with open_installation(tmp_path / "target", new=False) as target:
        yield target
        kill_servers_at_the_end(monkeypatch)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "mapseek.archive"
