"""Snapshots of the feature index on disk. They work like those of the vector index (infra/vectors/snapshot.py).

The file of a segment is written once, and the index uses it from then on. So a save only writes the tables and the new and merged
segments.
"""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import structlog
from pydantic import BaseModel, ConfigDict

from infra.features.index import FeatureIndex
from infra.features.segment import Segment, open_segment, write_segment
from infra.features.shard import FeatureShard, FeatureTable
from infra.vectors.snapshot import (
    MANIFEST,
    delete_unnamed_files,
    keep_file,
    load_removed_and_turns,
    read_manifest,
    replace_manifest,
    save_removed_and_turns,
    verify_file,
)

log = structlog.get_logger()


class _SavedModel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class SavedSegment(_SavedModel):
    """A segment in the manifest: the digest that names its file, and its lowest and highest image number."""

    name: str
    first: int
    last: int


class SavedShard(_SavedModel):
    """A shard in the manifest. `table` is the digest that names the file of its table."""

    guild_id: str
    generation: str
    count: int
    table: str
    segments: list[SavedSegment]


class Manifest(_SavedModel):
    """The content of a snapshot. `position` is the log position that it reaches, `removed` the digest that names the file of the
    removed ids, `turns` that of the ranks, if there are any. A snapshot of an earlier version has none: they are in the log.
    """

    format: Literal[2] = 2
    position: int
    removed: str
    turns: str | None = None
    dropped: list[str]
    shards: list[SavedShard]


def save(index: FeatureIndex, folder: Path) -> None:
    """Save the index to a folder, in place of the snapshot that is there. Raises OSError if the disk fails.

    It may run in a thread while the index is used. It merges segments first, where that is due.
    """
    folder.mkdir(parents=True, exist_ok=True)
    position = index.position  # first: later additions may be in the files too, and replaying them does no harm
    shards = [_save_shard(folder, *key, shard) for key, shard in sorted(index.shards.items())]
    removed, turns = save_removed_and_turns(index, folder)
    manifest = Manifest(position=position, removed=removed, turns=turns, dropped=sorted(index.dropped), shards=shards)
    replace_manifest(folder, manifest.model_dump())
    segments = {segment.name for shard in shards for segment in shard.segments}
    delete_unnamed_files(folder, {removed, *([turns] if turns else [])} | {shard.table for shard in shards} | segments)
    log.info("feature_index_saved", position=position, count=sum(shard.count for shard in shards))


def load(folder: Path) -> FeatureIndex | None:
    """Load the saved index. Returns None if there is no snapshot or it is damaged: then the log must be replayed from its start."""
    if not (folder / MANIFEST).exists():
        log.info("feature_index_snapshot_missing", path=str(folder))
        return None
    try:
        manifest = Manifest.model_validate(read_manifest(folder))
        shards = {(saved.guild_id, saved.generation): _load_shard(folder, saved) for saved in manifest.shards}
        removed, turns = load_removed_and_turns(folder, manifest.removed, manifest.turns)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("feature_index_snapshot_unusable", path=str(folder), error=str(error))
        return None
    return FeatureIndex(folder, position=manifest.position, removed=removed, dropped=manifest.dropped, shards=shards, turns=turns)


def read_saved_images(folder: Path, generation: str, guild_id: str | None = None) -> tuple[int, set[str]] | None:
    """Return the position of a snapshot and the image ids that it has of a generation. Returns None in the same cases as `load`."""
    try:
        manifest = Manifest.model_validate(read_manifest(folder))
        images: set[str] = set()
        for saved in manifest.shards:
            if saved.generation == generation and guild_id in (None, saved.guild_id):
                with np.load(verify_file(folder, saved.table), allow_pickle=False) as file:
                    images.update(filter(None, file["ids"].astype(np.str_).tolist()))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return manifest.position, images


def _save_shard(folder: Path, guild_id: str, generation: str, shard: FeatureShard) -> SavedShard:
    arrays, segments = shard.compact()
    names = [segment.name or _save_segment(folder, shard, segment) for segment in segments]
    temporary = folder / "table.tmp"
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    saved = [SavedSegment(name=name, first=each.first, last=each.last) for name, each in zip(names, segments, strict=True)]
    count = int(np.count_nonzero(arrays["codes"] >= 0))
    return SavedShard(guild_id=guild_id, generation=generation, count=count, table=keep_file(temporary), segments=saved)


def _save_segment(folder: Path, shard: FeatureShard, segment: Segment) -> str:
    """Write a segment to its file, and make its shard use the file from now on."""
    temporary = folder / "segment.tmp"
    with temporary.open("wb") as file:
        write_segment(segment, file)
    name = keep_file(temporary)
    shard.replace_segment(segment, open_segment(folder / f"{name}.data", name, segment.first, segment.last))
    return name


def _load_shard(folder: Path, saved: SavedShard) -> FeatureShard:
    with np.load(verify_file(folder, saved.table), allow_pickle=False) as file:
        table = FeatureTable.restore({name: file[name] for name in file.files})
    segments = [open_segment(verify_file(folder, each.name), each.name, each.first, each.last) for each in saved.segments]
    if len(table) != saved.count or any(each.last >= table.size for each in segments):
        raise ValueError(f"the shard of guild {saved.guild_id}, generation {saved.generation} does not match its manifest")
    return FeatureShard(folder, table, segments)
