"""An archive to replay."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.events import ImageFingerprinted, ImageIndexed
from pipeline.engine import bulk_consumer
from pipeline.settings import Settings
from tests.support.fakes import MemoryFingerprinter
from tests.support.replays import IMAGES_TO_REPLAY, DigestEncoder, ReplayArchive, record_preprocessed, wait_for_count


@pytest.fixture(autouse=True)
def quick_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the models of these tests are: what they make costs nothing, and is known by what it was made of."""
    monkeypatch.setattr("infra.vision.fingerprint.Fingerprinter", MemoryFingerprinter)


@pytest.fixture(autouse=True)
def quick_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is played in this process sees soon that nothing more comes."""
    monkeypatch.setattr(bulk_consumer, "BULK_FETCH_TIMEOUT_S", 0.2)


@pytest.fixture
async def archive(nats_url: str, tmp_path: Path, settings: Callable[..., Settings]) -> ReplayArchive:
    """Forty pictures, fingerprinted, embedded and in the catalogue."""
    archive = ReplayArchive(nats_url, tmp_path / "data", settings)
    async with archive.live(DigestEncoder("first")) as process:
        for number in range(IMAGES_TO_REPLAY):
            await record_preprocessed(process, number)
        for kind in (ImageFingerprinted, ImageIndexed):
            await wait_for_count(process, kind, IMAGES_TO_REPLAY)
    return archive
