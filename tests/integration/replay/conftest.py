"""An archive to replay."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.events import ImageFingerprinted, ImageIndexed
from pipeline.engine import bulk_consumer
from pipeline.settings import Settings
from tests.support.fakes import MemoryFingerprinting
from tests.support.replays import IMAGES_THERE, Archive, Model, holds, post


@pytest.fixture(autouse=True)
def quick_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the models of these tests are: what they make costs nothing, and is known by what it was made of."""
    monkeypatch.setattr("infra.vision.fingerprint.Fingerprinter", MemoryFingerprinting)


@pytest.fixture(autouse=True)
def quick_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is played in this process sees soon that nothing more comes."""
    monkeypatch.setattr(bulk_consumer, "FETCH_TIMEOUT_S", 0.2)


@pytest.fixture
async def archive(nats_url: str, tmp_path: Path, settings: Callable[..., Settings]) -> Archive:
    """Forty pictures, fingerprinted, embedded and in the catalogue."""
    archive = Archive(nats_url, tmp_path / "data", settings)
    async with archive.live(Model("first")) as process:
        for number in range(IMAGES_THERE):
            await post(process, number)
        for kind in (ImageFingerprinted, ImageIndexed):
            await holds(process, kind, IMAGES_THERE)
    return archive
