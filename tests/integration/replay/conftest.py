"""An archive to replay."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.events import ImageIndexed
from pipeline.settings import Settings
from tests.suites.replays import IMAGES_THERE, Archive, Model, holds, post


@pytest.fixture
async def archive(nats_url: str, tmp_path: Path, settings: Callable[..., Settings]) -> Archive:
    """Sixty pictures, embedded and in the catalogue."""
    archive = Archive(nats_url, tmp_path / "data", settings)
    async with archive.live(Model("first")) as process:
        for number in range(IMAGES_THERE):
            await post(process, number)
        await holds(process, ImageIndexed, IMAGES_THERE)
    return archive
