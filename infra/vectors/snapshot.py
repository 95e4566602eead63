"""Snapshots of the vector index on disk. A crash at any moment loses no snapshot, and a damaged one is never loaded.

Data files are named by their digest and never changed. The manifest says which of them belong to the snapshot; it is replaced in
one step at the end. A crash before this step leaves the old snapshot, a crash after it the new one. The next save deletes the files
that no manifest names. Vectors are float16 on disk as they are in the index (see table.py), so a restored index gives the same
scores as a rebuilt one.

A lock decides which of the processes that share a folder writes the snapshots.
"""

import hashlib
import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import structlog
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from infra.vectors.index import EmbeddedIndex, Rank, ShardedIndex
from infra.vectors.shard import GRAPH_ABOVE, VectorShard

log = structlog.get_logger()

MANIFEST = "manifest.json"

LOCK_NAME = "snapshot.lock"
"""The process that writes the snapshots holds a lock on this file in the folder."""


class _SavedModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class SavedShard(_SavedModel):
    """A shard in the manifest. `table` and `graph` are the digests that name its files. The graph has the first `covered` slots."""

    guild_id: str
    generation: str
    count: int
    dimensions: int
    table: str
    graph: str | None
    covered: int


class Manifest(_SavedModel):
    """The content of a snapshot. `position` is the log position that it reaches, `removed` the digest that names the file of the
    removed ids, `turns` that of the ranks, if there are any. A snapshot of an earlier version has none: they are in the log.
    """

    format: Literal[1] = 1
    position: int
    removed: str
    turns: str | None = None
    dropped: list[str] = []
    shards: list[SavedShard]


def save(index: EmbeddedIndex, folder: Path) -> None:
    """Save the index to a folder, in place of the snapshot that is there. Raises OSError if the disk fails.

    It may run in a thread while the index is used. An add waits while its shard is copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    position = index.position  # first: later additions may be in the files too, and replaying them does no harm
    shards = [_save_shard(folder, *key, shard) for key, shard in sorted(index.shards.items())]
    removed, turns = save_removed_and_turns(index, folder)
    manifest = Manifest(position=position, removed=removed, turns=turns, dropped=sorted(index.dropped), shards=shards)
    replace_manifest(folder, manifest.model_dump())
    named = {removed, turns} | {digest for shard in shards for digest in (shard.table, shard.graph)}
    delete_unnamed_files(folder, {digest for digest in named if digest})
    log.info("vector_index_saved", position=position, count=sum(shard.count for shard in shards))


def load(folder: Path, *, graph_above: int = GRAPH_ABOVE) -> EmbeddedIndex | None:
    """Load the saved index. Returns None if there is no snapshot or it is damaged: then the log must be replayed from its start."""
    if not (folder / MANIFEST).exists():
        log.info("vector_index_snapshot_missing", path=str(folder))
        return None
    try:
        manifest = Manifest.model_validate(read_manifest(folder))
        shards = {(saved.guild_id, saved.generation): _load_shard(folder, saved, graph_above) for saved in manifest.shards}
        removed, turns = load_removed_and_turns(folder, manifest.removed, manifest.turns)
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        log.warning("vector_index_snapshot_unusable", path=str(folder), error=str(error))
        return None
    return EmbeddedIndex(
        graph_above=graph_above, position=manifest.position, removed=removed, dropped=manifest.dropped, shards=shards, turns=turns
    )


def read_saved_images(folder: Path, generation: str, guild_id: str | None = None) -> tuple[int, set[str]] | None:
    """Return the position of a snapshot and the image ids that it has of a generation. Returns None in the same cases as `load`."""
    try:
        manifest = Manifest.model_validate(read_manifest(folder))
        images: set[str] = set()
        for saved in manifest.shards:
            if saved.generation == generation and guild_id in (None, saved.guild_id):
                with np.load(verify_file(folder, saved.table), allow_pickle=False) as file:
                    images.update(filter(None, file["ids"].astype(np.str_).tolist()))
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return manifest.position, images


def _save_shard(folder: Path, guild_id: str, generation: str, shard: VectorShard) -> SavedShard:
    table, graph = folder / "table.tmp", folder / "graph.tmp"
    arrays, covered = shard.dump(graph)
    with table.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return SavedShard(
        guild_id=guild_id,
        generation=generation,
        count=int(np.count_nonzero(arrays["codes"] >= 0)),
        dimensions=shard.dimensions,
        table=keep_file(table),
        graph=keep_file(graph) if covered else None,
        covered=covered,
    )


def _load_shard(folder: Path, saved: SavedShard, graph_above: int) -> VectorShard:
    with np.load(verify_file(folder, saved.table), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    graph = None if saved.graph is None else verify_file(folder, saved.graph)
    shard = VectorShard.restore(arrays, graph, saved.covered, graph_above)
    if (len(shard), shard.dimensions) != (saved.count, saved.dimensions):
        raise ValueError(f"the shard of guild {saved.guild_id}, generation {saved.generation} does not match its manifest")
    return shard


def save_removed_and_turns(index: ShardedIndex[Any], folder: Path) -> tuple[str, str | None]:
    """Write the removed ids and the turns of an index to a file each, and return the digests that name them; None for no turns."""
    turns = sorted(index.turns.items())
    return _keep_json(sorted(index.removed), folder), _keep_json(turns, folder) if turns else None


def _keep_json(content: object, folder: Path) -> str:
    temporary = folder / "json.tmp"
    temporary.write_bytes(orjson.dumps(content))
    return keep_file(temporary)


def load_removed_and_turns(folder: Path, removed: str, turns: str | None) -> tuple[list[str], dict[str, Rank]]:
    """Read what `save_removed_and_turns` wrote. Raises ValueError if it was changed, OSError if it cannot be read."""
    kept = [] if turns is None else orjson.loads(verify_file(folder, turns).read_bytes())
    ids = orjson.loads(verify_file(folder, removed).read_bytes())
    return ids, {image_id: (turn, shown) for image_id, (turn, shown) in kept}


def keep_file(temporary: Path) -> str:
    """Sync a written file to disk and rename it to its digest. Return the digest."""
    digest = _compute_file_digest(temporary)
    _sync(temporary)
    os.replace(temporary, _data_path(temporary.parent, digest))
    return digest


def replace_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest in place of the former one. It has the SHA-256 of its own JSON, so that a change to it is noticed."""
    temporary = folder / f"{MANIFEST}.tmp"
    temporary.write_bytes(orjson.dumps({"manifest": manifest, "sha256": _hash_manifest(manifest)}, option=orjson.OPT_INDENT_2))
    _sync(temporary)
    _sync(folder)  # the names of the data files must be on disk before the manifest that needs them
    os.replace(temporary, folder / MANIFEST)
    _sync(folder)


def read_manifest(folder: Path) -> Any:
    """Return the manifest. Raises ValueError if it was changed after it was written, OSError if it cannot be read."""
    sealed = orjson.loads((folder / MANIFEST).read_bytes())
    if not isinstance(sealed, dict) or _hash_manifest(sealed.get("manifest")) != sealed.get("sha256"):
        raise ValueError(f"{MANIFEST} was changed after it was written")
    return sealed["manifest"]


def delete_unnamed_files(folder: Path, named: Collection[str]) -> None:
    """Delete the data files that are not in `named`, and temporary files that a crash left."""
    kept = {_data_path(folder, digest) for digest in named}
    for path in folder.iterdir():
        if path.suffix in {".data", ".tmp"} and path not in kept:
            path.unlink()


def _hash_manifest(manifest: Any) -> str:
    return hashlib.sha256(orjson.dumps(manifest)).hexdigest()


def verify_file(folder: Path, digest: str) -> Path:
    """Return the path of a data file. Raises ValueError if it was changed after it was written, OSError if it cannot be read."""
    path = _data_path(folder, digest)
    if _compute_file_digest(path) != digest:
        raise ValueError(f"{path.name} was changed after it was written")
    return path


def _data_path(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.data"


def _compute_file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def lock_snapshots(folder: Path) -> Iterator[bool]:
    """Try to lock the snapshots in a folder, and yield whether this process may write them. It may until the context ends."""
    lock = FileLock(folder / LOCK_NAME, mode=0o600)
    with suppress(Timeout):
        lock.acquire(blocking=False)
    try:
        yield lock.is_locked
    finally:
        lock.release()
