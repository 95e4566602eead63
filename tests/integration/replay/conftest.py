"""Fixtures: an archive to replay, and settings that make the replays of these tests fast."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.events import ImageFingerprinted, ImageIndexed
from infra.nats.connection import LogAddress
from pipeline.engine import bulk_consumer
from pipeline.settings import Settings
from tests.support.fakes import MemoryFingerprinter
from tests.support.replays import IMAGES_TO_REPLAY, DigestEncoder, ReplayArchive, record_preprocessed, wait_for_count


@pytest.fixture(autouse=True)
def fake_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the fingerprinter, like the encoder, by a fake that is fast and whose result depends only on the picture."""
    monkeypatch.setattr("infra.vision.fingerprint.Fingerprinter", lambda _: MemoryFingerprinter())


@pytest.fixture(autouse=True)
def short_fetch_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a replay in this process notice soon that no message is left."""
    monkeypatch.setattr(bulk_consumer, "BULK_FETCH_TIMEOUT_S", 0.2)


@pytest.fixture
async def archive(log_address: LogAddress, tmp_path: Path, settings: Callable[..., Settings]) -> ReplayArchive:
    """Forty pictures, fingerprinted, embedded and in the catalogue."""
    archive = ReplayArchive(log_address, tmp_path / "data", settings)
    async with archive.live(DigestEncoder("first")) as process:
        for number in range(IMAGES_TO_REPLAY):
            await record_preprocessed(process, number)
        for kind in (ImageFingerprinted, ImageIndexed):
            await wait_for_count(process, kind, IMAGES_TO_REPLAY)
    return archive
