"""Snapshots of the vector index: a restored index equals a rebuilt one, a crash loses nothing, and a damaged one is not loaded."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from structlog.testing import capture_logs

from contracts.ports import Neighbour
from infra.vectors import graph, snapshot
from infra.vectors.graph import Graph
from infra.vectors.index import EmbeddedIndex
from infra.vectors.shard import VectorShard
from infra.vectors.snapshot import load, save
from tests.support.vector_search import random_vectors

FORMS = pytest.mark.parametrize("graph_above", [10_000, 0, 270], ids=["flat", "graph", "half a graph"])
ROWS = random_vectors(600)


def play(index: EmbeddedIndex, start: int, stop: int) -> None:
    """Apply the facts of some log positions: each adds an image (every fourth in another guild), every tenth removes one.

    Every seventh hides the image before, and half of these are shown again.
    """
    for number in range(start, stop):
        guild = "8" if number % 4 == 0 else "7"
        index.add(guild, "g1", f"i{number}", f"c{number % 3}", ROWS[number].tobytes())
        if number % 10 == 9:
            index.remove(f"i{number - 5}")
        if number % 7 == 3:
            index.hide(f"i{number - 1}", 1)
        if number % 14 == 5:
            index.show(f"i{number - 3}", 1)
        if number % 50 == 0:
            index.add(guild, "g2", f"i{number}", "c1", ROWS[0].tobytes())
        index.advance(number)


def build_index(stop: int, graph_above: int = 10_000) -> EmbeddedIndex:
    index = EmbeddedIndex(graph_above=graph_above)
    play(index, 1, stop)
    return index


async def observe(index: EmbeddedIndex) -> tuple[Any, ...]:
    """Return all that can be observed from outside."""
    queries = [row.tobytes() for row in random_vectors(8, seed=3)]
    found: list[list[Neighbour]] = [
        list(await index.search(guild, generation, query, top=10, channels=channels))
        for guild in "78"
        for generation in ("g1", "g2")
        for channels in (None, ["c1"])
        for query in queries
    ]
    return index.position, index.removed, index.turns, {key: len(shard) for key, shard in index.shards.items()}, found


def load_index(folder: Path, graph_above: int = 10_000) -> EmbeddedIndex:
    index = load(folder, graph_above=graph_above)
    assert index is not None
    return index


@FORMS
async def test_a_restored_index_equals_a_rebuilt_one(tmp_path: Path, graph_above: int) -> None:
    save(build_index(400, graph_above), tmp_path)
    restored = load_index(tmp_path, graph_above)
    assert await observe(restored) == await observe(build_index(400, graph_above))
    shard = restored.shards["7", "g1"]
    assert shard.approximate == (graph_above == 0)
    assert shard._table.rows.values.dtype == (np.float16 if shard.approximate else np.float32)


@FORMS
async def test_a_restored_index_can_be_extended(tmp_path: Path, graph_above: int) -> None:
    save(build_index(300, graph_above), tmp_path)
    restored = load_index(tmp_path, graph_above)
    play(restored, restored.position + 1, 600)
    assert await observe(restored) == await observe(build_index(600, graph_above))


def test_equal_vectors_are_restored_after_the_first_was_removed(tmp_path: Path) -> None:
    index = EmbeddedIndex(graph_above=0)
    index.add("7", "g1", "i1", "c1", ROWS[0].tobytes())
    index.add("7", "g1", "i2", "c1", ROWS[0].tobytes())
    index.remove("i1")
    index.add("7", "g1", "i3", "c1", ROWS[0].tobytes())  # takes the slot of i1, while the node of the graph belongs to i2
    save(index, tmp_path)
    assert len(load_index(tmp_path, graph_above=0)) == 2


def test_new_shards_of_a_restored_index_become_graphs_at_the_same_size(tmp_path: Path) -> None:
    save(EmbeddedIndex(), tmp_path)
    restored = load_index(tmp_path, graph_above=0)
    play(restored, 1, 5)
    assert restored.shards["7", "g1"].approximate


@FORMS
def test_free_slots_are_reused_after_a_restart(tmp_path: Path, graph_above: int) -> None:
    index = build_index(300, graph_above)
    for number in range(1, 300):
        index.remove(f"i{number}")
    save(index, tmp_path)
    restored = load_index(tmp_path, graph_above)
    sizes = {key: shard._table.size for key, shard in restored.shards.items()}
    play(restored, 300, 500)
    assert {key: shard._table.size for key, shard in restored.shards.items()} == sizes


async def test_an_empty_index_is_restored_empty(tmp_path: Path) -> None:
    save(EmbeddedIndex(), tmp_path)
    assert await observe(load_index(tmp_path)) == await observe(EmbeddedIndex())


async def test_removed_images_stay_out_after_a_restart(tmp_path: Path) -> None:
    index = EmbeddedIndex()
    index.remove("i1")
    save(index, tmp_path)
    restored = load_index(tmp_path)
    restored.add("7", "g1", "i1", "c1", ROWS[1].tobytes())
    assert len(restored) == 0


def test_the_graph_searches_as_widely_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EXPANSION_SEARCH", 200)
    monkeypatch.setattr(graph, "EXPANSION_ADD", 300)
    save(build_index(50, graph_above=0), tmp_path)
    restored = load_index(tmp_path, graph_above=0).shards["7", "g1"]._graph
    assert restored is not None
    assert (restored._index.expansion_search, restored._index.expansion_add) == (200, 300)


def test_a_snapshot_of_an_earlier_version_is_loaded(tmp_path: Path) -> None:
    index = EmbeddedIndex()
    index.add("7", "g1", "i1", "c1", ROWS[1].tobytes())
    save(index, tmp_path)
    manifest = snapshot.read_manifest(tmp_path)
    assert manifest.pop("turns") is None
    snapshot.replace_manifest(tmp_path, manifest)
    restored = load_index(tmp_path)
    assert (len(restored), restored.turns) == (1, {})


def test_files_of_older_snapshots_and_crashes_are_deleted(tmp_path: Path) -> None:
    for stop in (100, 200, 300):
        save(build_index(stop, graph_above=0), tmp_path)
        (tmp_path / "graph.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not ours")
    save(build_index(300, graph_above=0), tmp_path)
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())["manifest"]
    named = {
        manifest["removed"],
        manifest["turns"],
        *(shard["table"] for shard in manifest["shards"]),
        *(shard["graph"] for shard in manifest["shards"]),
    }
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "notes.txt", *(f"{digest}.data" for digest in named)}


def test_an_unchanged_index_is_saved_to_the_same_bytes(tmp_path: Path) -> None:
    index = build_index(100)
    save(index, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save(index, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


async def test_what_is_added_during_a_save_is_replayed_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build_index(100)
    dump = VectorShard.dump

    def interrupted_dump(shard: VectorShard, path: Path) -> Any:
        dumped = dump(shard, path)
        if index.position == 99:
            play(index, 100, 200)
        return dumped

    monkeypatch.setattr(VectorShard, "dump", interrupted_dump)
    save(index, tmp_path)
    restored = load_index(tmp_path)
    assert restored.position == 99
    play(restored, 100, 200)
    assert await observe(restored) == await observe(build_index(200))


class Killed(BaseException):
    """The process is killed here."""


class DeadlyDisk:
    """Allows this many steps on the disk, and kills the process at the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        self.left = steps
        for owner, name in [
            (os, "replace"),
            (os, "fsync"),
            (np, "savez"),
            (Path, "unlink"),
            (Path, "write_bytes"),
            (Graph, "save"),
        ]:
            monkeypatch.setattr(owner, name, self.fail_at(getattr(owner, name)))

    def fail_at(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def count_down(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return step(*arguments, **options)

        return count_down


@pytest.mark.parametrize("graph_above", [10_000, 0], ids=["flat", "graph"])
async def test_a_crash_between_any_two_steps_leaves_the_old_snapshot_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph_above: int
) -> None:
    old, new = build_index(100, graph_above), build_index(200, graph_above)
    expected = {99: await observe(old), 199: await observe(new)}
    found: list[int] = []
    for steps in range(1000):
        folder = tmp_path / str(steps)
        save(old, folder)
        with monkeypatch.context() as patch:
            DeadlyDisk(patch, steps)
            try:
                save(new, folder)
                break
            except Killed:
                pass
        restored = load_index(folder, graph_above)
        assert await observe(restored) == expected[restored.position]
        found.append(restored.position)
        save(new, folder)
        assert await observe(load_index(folder, graph_above)) == expected[199]
        assert not list(folder.glob("*.tmp"))
    assert len(found) > 15
    assert found == sorted(found)
    assert set(found) == {99, 199}


def test_every_file_is_on_disk_before_it_gets_its_name_and_all_names_before_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync, replace, manifest_came_last = os.fsync, os.replace, False

    def record_fsync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def check_replace(source: Path, target: Path) -> None:
        nonlocal manifest_came_last
        assert source.stat().st_ino in synced
        manifest_came_last = target.name == "manifest.json"
        if manifest_came_last:
            assert tmp_path.stat().st_ino in synced
        replace(source, target)
        synced.discard(tmp_path.stat().st_ino)

    monkeypatch.setattr(snapshot.os, "fsync", record_fsync)
    monkeypatch.setattr(snapshot.os, "replace", check_replace)
    save(build_index(100, graph_above=0), tmp_path)
    assert manifest_came_last
    assert tmp_path.stat().st_ino in synced


def is_refused(folder: Path) -> bool:
    """Whether the snapshot is refused with a warning."""
    with capture_logs() as logs:
        index = load(folder, graph_above=0)
    return index is None and [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "vector_index_snapshot_unusable")
    ]


def test_a_missing_snapshot_gives_no_warning(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert load(tmp_path / "nowhere") is None
    assert [line["log_level"] for line in logs] == ["info"]


def test_a_missing_shortened_or_changed_file_is_never_loaded(tmp_path: Path) -> None:
    save(build_index(100, graph_above=0), tmp_path)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) >= 8
    for path in paths:
        whole = path.read_bytes()
        if path.name != "manifest.json":
            path.unlink()
            assert is_refused(tmp_path)
        for damaged in (
            whole[:-1],
            b"",
            whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :],
        ):
            path.write_bytes(damaged)
            assert is_refused(tmp_path)
        path.write_bytes(whole)
    assert load(tmp_path, graph_above=0) is not None


@pytest.mark.parametrize("content", [b"{}", b"[]", b"null", b"7", b"\xff", b'{"manifest": {}, "sha256": ""}'])
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    assert is_refused(tmp_path)


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and its checksum, as if it had been written like this."""
    content = orjson.loads((folder / "manifest.json").read_bytes())["manifest"]
    change(content)
    sealed = {"manifest": content, "sha256": hashlib.sha256(orjson.dumps(content)).hexdigest()}
    (folder / "manifest.json").write_bytes(orjson.dumps(sealed))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format=2),
        lambda content: content.update(position="99"),
        lambda content: content.pop("removed"),
        lambda content: content.update(unknown=1),
        lambda content: content["shards"][0].update(count=1),
        lambda content: content["shards"][0].update(dimensions=8),
        lambda content: content["shards"][0].update(covered=5),
        lambda content: content["shards"][0].update(table=content["removed"]),
        lambda content: content["shards"][0].update(graph=content["shards"][0]["table"]),
        lambda content: content["shards"][0].update(graph=content["shards"][2]["graph"]),
    ],
    ids=[
        "version",
        "type",
        "field missing",
        "field unknown",
        "count",
        "dimensions",
        "covered",
        "table",
        "no graph",
        "another graph",
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    save(build_index(100, graph_above=0), tmp_path)
    rewrite_manifest(tmp_path, lambda content: None)
    assert load(tmp_path, graph_above=0) is not None
    rewrite_manifest(tmp_path, change)
    assert is_refused(tmp_path)


def test_a_position_changed_by_hand_is_refused(tmp_path: Path) -> None:
    save(build_index(100, graph_above=0), tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"position": 99', b'"position": 98'))
    assert is_refused(tmp_path)
