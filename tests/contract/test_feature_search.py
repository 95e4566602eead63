"""The feature search suite on the index: all in memory, in segments of every size, and restored from snapshots."""

import hashlib
from pathlib import Path

import pytest

from infra.features import segment as segment_module
from infra.features import shard as shard_module
from infra.features.index import FeatureIndex, build_entry
from infra.features.snapshot import load, save
from infra.vision.prints import unpack_print
from tests.support.feature_search import FeatureSearchSuite


class FillableIndex(FeatureIndex):
    """An index that accepts fingerprints as bytes."""

    def put(self, guild_id: str, generation: str, image_id: str, channel_id: str, data: bytes) -> None:
        made = unpack_print(data)
        entry = build_entry(hashlib.sha256(data).hexdigest(), made.hash.hex(), made.quality, data)
        self.add(guild_id, generation, image_id, channel_id, entry)


class TestFeatureIndex(FeatureSearchSuite):
    @pytest.fixture
    def archive(self) -> FillableIndex:
        return FillableIndex()


class TestFeatureIndexInSegments(FeatureSearchSuite):
    """The same with a segment for every few images, all in files."""

    @pytest.fixture
    def archive(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FillableIndex:
        monkeypatch.setattr(shard_module, "MAX_UNSEALED_IMAGES", 4)
        monkeypatch.setattr(segment_module, "MIN_MAPPED_POSTINGS", 1)
        return FillableIndex(tmp_path)


class SavedIndex(FillableIndex):
    """An index that is saved and loaded after every few changes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.changes = 0

    def put(self, guild_id: str, generation: str, image_id: str, channel_id: str, data: bytes) -> None:
        super().put(guild_id, generation, image_id, channel_id, data)
        self._changed()

    def remove(self, image_id: str) -> None:
        super().remove(image_id)
        self._changed()

    def _changed(self) -> None:
        self.changes += 1
        if self.changes % 7 == 0:
            assert self._folder is not None
            save(self, self._folder)
            loaded = load(self._folder)
            assert loaded is not None
            self._shards, self._removed = loaded.shards, set(loaded.removed)


class TestFeatureIndexFromSnapshots(FeatureSearchSuite):
    @pytest.fixture
    def archive(self, tmp_path: Path) -> SavedIndex:
        return SavedIndex(tmp_path)
