"""Snapshots of the feature index: a restored index equals the saved one, a crash loses nothing, and a damaged one is not loaded."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from structlog.testing import capture_logs

from infra.features import segment as segment_module
from infra.features import shard as shard_module
from infra.features.index import FeatureIndex, compute_digest
from infra.features.segment import WORD_COUNT
from infra.features.shard import FeatureEntry
from infra.features.snapshot import load, save
from infra.vectors.snapshot import read_manifest, replace_manifest
from infra.vision.colours import COLOUR_BINS


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make segments of a few images, in files."""
    monkeypatch.setattr(shard_module, "MAX_UNSEALED_IMAGES", 8)
    monkeypatch.setattr(segment_module, "MIN_MAPPED_POSTINGS", 500)


def make_entry(number: int) -> FeatureEntry:
    random = np.random.default_rng(number)
    name = random.bytes(32).hex()
    words = random.integers(0, WORD_COUNT, 30).astype(np.uint16)
    signatures = random.integers(0, 2**63, 30, dtype=np.uint64)
    poses, colours = random.integers(0, 2**16, 30).astype(np.uint16), random.integers(0, 256, COLOUR_BINS).astype(np.uint8)
    return FeatureEntry(name, name, 80, words, signatures, poses, colours)


def play(index: FeatureIndex, start: int, stop: int) -> None:
    """Apply the facts of some log positions: each adds an image (every fourth in another guild), every tenth removes one.

    Every seventh hides the image before, and half of these are shown again.
    """
    for position in range(start, stop):
        index.add("8" if position % 4 == 0 else "7", "g1", f"i{position}", f"c{position % 3}", make_entry(position))
        if position % 10 == 9:
            index.remove(f"i{position - 5}")
        if position % 7 == 3:
            index.hide(f"i{position - 1}", 1)
        if position % 14 == 5:
            index.show(f"i{position - 3}", 1)
        index.advance(position)


def build_index(stop: int, folder: Path | None = None) -> FeatureIndex:
    index = FeatureIndex(folder)
    play(index, 1, stop)
    return index


def load_index(folder: Path) -> FeatureIndex:
    index = load(folder)
    assert index is not None
    return index


def test_a_restored_index_equals_the_saved_one_and_can_be_extended(tmp_path: Path) -> None:
    save(build_index(200, tmp_path), tmp_path)
    restored = load_index(tmp_path)
    assert (restored.position, len(restored)) == (199, len(build_index(200)))
    assert compute_digest(restored) == compute_digest(build_index(200))
    play(restored, 200, 400)
    save(restored, tmp_path)
    assert compute_digest(load_index(tmp_path)) == compute_digest(restored) == compute_digest(build_index(400))


def test_any_difference_changes_the_digest() -> None:
    whole = compute_digest(build_index(50))
    for change in (
        lambda index: index.remove("i49"),
        lambda index: index.add("7", "g1", "i50", "c1", make_entry(50)),
        lambda index: index.hide("i49", 1),
        lambda index: index.show("i49", 1),
        lambda index: index.add("7", "g1", "i49", "other channel", make_entry(49)),
        lambda index: index.add("7", "g1", "i49", "c1", make_entry(50)),
    ):
        index = build_index(50)
        change(index)
        assert compute_digest(index) != whole


def test_a_saved_segment_is_not_written_again(tmp_path: Path) -> None:
    index = build_index(400, tmp_path)
    save(index, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.data")}
    play(index, 400, 404)
    save(index, tmp_path)
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())["manifest"]
    largest = [shard["segments"][0]["name"] for shard in manifest["shards"]]
    assert {f"{name}.data" for name in largest} <= before.keys()
    assert all((tmp_path / f"{name}.data").stat().st_mtime_ns == before[f"{name}.data"] for name in largest)


def test_the_next_snapshot_drops_the_postings_of_removed_images(tmp_path: Path) -> None:
    index = build_index(100, tmp_path)
    save(index, tmp_path)
    for position in range(1, 90):
        index.remove(f"i{position}")
    save(index, tmp_path)
    restored = load_index(tmp_path)
    for shard in restored.shards.values():
        table, segments = shard.dump()
        numbers = {number for segment in segments for number in segment.images.tolist()}
        assert numbers == set(np.flatnonzero(table["codes"] >= 0).tolist())
    assert len(restored) == 9


def test_only_the_files_of_the_snapshot_remain(tmp_path: Path) -> None:
    for stop in (100, 200, 300):
        save(build_index(stop, tmp_path), tmp_path)
        (tmp_path / "segment.tmp").write_bytes(b"half")
    save(build_index(300, tmp_path), tmp_path)
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())["manifest"]
    names = {manifest["removed"], manifest["turns"]} | {shard["table"] for shard in manifest["shards"]}
    names |= {segment["name"] for shard in manifest["shards"] for segment in shard["segments"]}
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json"} | {f"{name}.data" for name in names}


def test_a_snapshot_of_an_earlier_version_is_loaded(tmp_path: Path) -> None:
    index = FeatureIndex(tmp_path)
    index.add("7", "g1", "i1", "c1", make_entry(1))
    save(index, tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest.pop("turns") is None
    replace_manifest(tmp_path, manifest)
    restored = load_index(tmp_path)
    assert (len(restored), restored.turns) == (1, {})


def test_a_hidden_image_keeps_its_postings(tmp_path: Path) -> None:
    index = build_index(100, tmp_path)
    for position in range(1, 90):
        index.hide(f"i{position}", 9)
    save(index, tmp_path)
    for position in range(1, 90):
        index.show(f"i{position}", 9)
    again = build_index(100)
    for position in range(1, 90):
        again.show(f"i{position}", 9)
    assert compute_digest(index) == compute_digest(again)


def test_removed_images_and_dropped_generations_stay_out_after_a_restart(tmp_path: Path) -> None:
    index = build_index(20, tmp_path)
    index.remove("i1")
    index.drop_generation("g2")
    save(index, tmp_path)
    restored = load_index(tmp_path)
    before = len(restored)
    restored.add("7", "g1", "i1", "c1", make_entry(1))
    restored.add("7", "g2", "i2", "c1", make_entry(2))
    assert len(restored) == before


class Killed(BaseException):
    """The process is killed here."""


def test_a_crash_between_any_two_steps_leaves_the_old_snapshot_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {99: compute_digest(build_index(100)), 149: compute_digest(build_index(150))}
    found = []
    for steps in range(1000):
        folder = tmp_path / str(steps)
        index = build_index(100, folder.parent)
        save(index, folder)
        play(index, 100, 150)
        left = steps

        def fail_at(step: Callable[..., Any]) -> Callable[..., Any]:
            def count_down(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return step(*arguments, **options)

            return count_down

        with monkeypatch.context() as patch:
            for owner, name in [(os, "replace"), (os, "fsync"), (np, "savez"), (Path, "unlink"), (Path, "write_bytes")]:
                patch.setattr(owner, name, fail_at(getattr(owner, name)))
            try:
                save(index, folder)
                break
            except Killed:
                pass
        restored = load_index(folder)
        assert compute_digest(restored) == expected[restored.position]
        found.append(restored.position)
    assert found == sorted(found)
    assert set(found) == {99, 149}


def test_a_shortened_or_changed_file_is_never_loaded(tmp_path: Path) -> None:
    save(build_index(100), tmp_path)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        middle = len(whole) // 2
        for damaged in (whole[:-1], b"", whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
            path.write_bytes(damaged)
            with capture_logs() as logs:
                assert load(tmp_path) is None
            assert [line["log_level"] for line in logs] == ["warning"]
        path.write_bytes(whole)
    assert load(tmp_path) is not None


def test_a_missing_snapshot_gives_no_warning(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert load(tmp_path / "nowhere") is None
    assert [line["log_level"] for line in logs] == ["info"]
