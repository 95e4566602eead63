"""The index on disk: saved without a moment in which a crash loses it, and loaded only if every byte is as it was written.

Data files are named by their digest and never changed; the manifest, replaced in one step at the end, says which of them count. A
crash before that leaves the old snapshot, one after it the new, and what no manifest names is cleared away by the next save.
Vectors are float16 on disk as they already are in the index (see table.py), so a restored index gives the scores of a rebuilt one.

Which of the processes that share a folder of snapshots writes them.
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

from infra.vectors.index import EmbeddedIndex
from infra.vectors.shard import GRAPH_ABOVE, VectorShard

log = structlog.get_logger()

MANIFEST = "manifest.json"

LOCK_NAME = "snapshot.lock"
"""The file in the folder that the one who writes holds a lock on."""


class _Saved(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class SavedShard(_Saved):
    """One shard; `table` and `graph` are the digests that name its files, `covered` is how many slots the graph knows."""

    guild_id: str
    generation: str
    count: int
    dimensions: int
    table: str
    graph: str | None
    covered: int


class Manifest(_Saved):
    """What belongs to the snapshot, the last stream sequence that is in it, and the digest that names the removed ids' file."""

    format: Literal[1] = 1
    position: int
    removed: str
    dropped: list[str] = []
    shards: list[SavedShard]


def save(index: EmbeddedIndex, folder: Path) -> None:
    """Write the index to a folder in place of what was saved there. Raises OSError when the disk refuses.

    May run in a thread while the index is used; an add waits while its own shard is copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    position = index.position  # first: what is added from now on may be in the files as well, and is replayed without harm
    shards = [_save_shard(folder, *key, shard) for key, shard in sorted(index.shards.items())]
    temporary = folder / "removed.tmp"
    temporary.write_bytes(orjson.dumps(sorted(index.removed)))
    manifest = Manifest(position=position, removed=keep_file(temporary), dropped=sorted(index.dropped), shards=shards)
    replace_manifest(folder, manifest.model_dump())
    delete_unnamed_files(
        folder, {manifest.removed} | {digest for shard in shards for digest in (shard.table, shard.graph) if digest}
    )
    log.info("vector_index_saved", position=position, count=sum(shard.count for shard in shards))


def load(folder: Path, *, graph_above: int = GRAPH_ABOVE) -> EmbeddedIndex | None:
    """The index as it was saved, None when there is no snapshot or it is not whole: then the log must be played from its start."""
    if not (folder / MANIFEST).exists():
        log.info("vector_index_snapshot_missing", path=str(folder))
        return None
    try:
        manifest = Manifest.model_validate(read_manifest(folder))
        shards = {(saved.guild_id, saved.generation): _load_shard(folder, saved, graph_above) for saved in manifest.shards}
        removed = orjson.loads(verify_file(folder, manifest.removed).read_bytes())
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        log.warning("vector_index_snapshot_unusable", path=str(folder), error=str(error))
        return None
    return EmbeddedIndex(
        graph_above=graph_above, position=manifest.position, removed=removed, dropped=manifest.dropped, shards=shards
    )


def read_saved_images(folder: Path, generation: str, guild_id: str | None = None) -> tuple[int, set[str]] | None:
    """The position of a snapshot, and the images that it has of a generation, without the vectors; None as `load`."""
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
        raise ValueError(f"the shard of guild {saved.guild_id}, generation {saved.generation} is not the one that was saved")
    return shard


def keep_file(temporary: Path) -> str:
    """Make a written file last under the name of its digest, and return the digest."""
    digest = _digest(temporary)
    _sync(temporary)
    os.replace(temporary, _path(temporary.parent, digest))
    return digest


def replace_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest, sealed with the SHA-256 of its JSON, by which a change to it shows: from now on its files count."""
    temporary = folder / f"{MANIFEST}.tmp"
    temporary.write_bytes(orjson.dumps({"manifest": manifest, "sha256": _seal(manifest)}, option=orjson.OPT_INDENT_2))
    _sync(temporary)
    _sync(folder)  # the data files' names before the manifest that needs them
    os.replace(temporary, folder / MANIFEST)
    _sync(folder)


def read_manifest(folder: Path) -> Any:
    """The manifest as it was written. Raises ValueError when it was changed, OSError when it cannot be read."""
    sealed = orjson.loads((folder / MANIFEST).read_bytes())
    if not isinstance(sealed, dict) or _seal(sealed.get("manifest")) != sealed.get("sha256"):
        raise ValueError(f"{MANIFEST} was changed after it was written")
    return sealed["manifest"]


def delete_unnamed_files(folder: Path, named: Collection[str]) -> None:
    """Delete the data files that no manifest names, and what a crash left."""
    kept = {_path(folder, digest) for digest in named}
    for path in folder.iterdir():
        if path.suffix in {".data", ".tmp"} and path not in kept:
            path.unlink()


def _seal(manifest: Any) -> str:
    return hashlib.sha256(orjson.dumps(manifest)).hexdigest()


def verify_file(folder: Path, digest: str) -> Path:
    """Where a data file is. Raises ValueError when it is not as it was written, OSError when it cannot be read."""
    path = _path(folder, digest)
    if _digest(path) != digest:
        raise ValueError(f"{path.name} was changed after it was written")
    return path


def _path(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.data"


def _digest(path: Path) -> str:
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
    """Whether this process is the one that writes the snapshots in a folder, which it stays until the context ends."""
    lock = FileLock(folder / LOCK_NAME)
    with suppress(Timeout):
        lock.acquire(blocking=False)
    try:
        yield lock.is_locked
    finally:
        lock.release()
