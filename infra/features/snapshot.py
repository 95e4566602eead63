"""The index of features on disk, kept as the vectors are (infra/vectors/snapshot.py): whole snapshots only, files by their digests.

A segment's file is written once and used from then on; a save writes the tables, what is new, and what was merged.
"""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import structlog
from pydantic import BaseModel, ConfigDict

from infra.features.index import FeatureIndex
from infra.features.segment import Segment, open_segment, write_segment
from infra.features.shard import FeatureShard, FeatureTable
from infra.vectors.snapshot import MANIFEST, delete_unnamed_files, keep_file, read_manifest, replace_manifest, verify_file

log = structlog.get_logger()


class _Saved(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class SavedSegment(_Saved):
    """The digest that names a segment's file, and the lowest and highest number of an image in it."""

    name: str
    first: int
    last: int


class SavedShard(_Saved):
    """One shard; `table` is the digest that names its file."""

    guild_id: str
    generation: str
    count: int
    table: str
    segments: list[SavedSegment]


class Manifest(_Saved):
    """What belongs to the snapshot, the last stream sequence that is in it, and the digest that names the removed ids' file."""

    format: Literal[2] = 2
    position: int
    removed: str
    dropped: list[str]
    shards: list[SavedShard]


def save(index: FeatureIndex, folder: Path) -> None:
    """Write the index to a folder in place of what was saved there. Raises OSError when the disk refuses.

    May run in a thread while the index is used; segments are merged on the way where that is due.
    """
    folder.mkdir(parents=True, exist_ok=True)
    position = index.position  # first: what is added from now on may be in the files as well, and is replayed without harm
    shards = [_save_shard(folder, *key, shard) for key, shard in sorted(index.shards.items())]
    temporary = folder / "removed.tmp"
    temporary.write_bytes(orjson.dumps(sorted(index.removed)))
    manifest = Manifest(position=position, removed=keep_file(temporary), dropped=sorted(index.dropped), shards=shards)
    replace_manifest(folder, manifest.model_dump())
    segments = {segment.name for shard in shards for segment in shard.segments}
    delete_unnamed_files(folder, {manifest.removed} | {shard.table for shard in shards} | segments)
    log.info("feature_index_saved", position=position, count=sum(shard.count for shard in shards))


def load(folder: Path) -> FeatureIndex | None:
    """The index as it was saved, None when there is no snapshot or it is not whole: then the log must be played from its start."""
    if not (folder / MANIFEST).exists():
        log.info("feature_index_snapshot_missing", path=str(folder))
        return None
    try:
        manifest = Manifest.model_validate(read_manifest(folder))
        shards = {(saved.guild_id, saved.generation): _load_shard(folder, saved) for saved in manifest.shards}
        removed = orjson.loads(verify_file(folder, manifest.removed).read_bytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("feature_index_snapshot_unusable", path=str(folder), error=str(error))
        return None
    return FeatureIndex(folder, position=manifest.position, removed=removed, dropped=manifest.dropped, shards=shards)


def read_saved_images(folder: Path, generation: str, guild_id: str | None = None) -> tuple[int, set[str]] | None:
    """The position of a snapshot, and the images that it has of a generation, without their features; None as `load`."""
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
    arrays, segments = shard.tidied()
    names = [segment.name or _keep_segment(folder, shard, segment) for segment in segments]
    temporary = folder / "table.tmp"
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    saved = [SavedSegment(name=name, first=each.first, last=each.last) for name, each in zip(names, segments, strict=True)]
    count = int(np.count_nonzero(arrays["codes"] >= 0))
    return SavedShard(guild_id=guild_id, generation=generation, count=count, table=keep_file(temporary), segments=saved)


def _keep_segment(folder: Path, shard: FeatureShard, segment: Segment) -> str:
    """Write a segment and have its shard use the file from now on."""
    temporary = folder / "segment.tmp"
    with temporary.open("wb") as file:
        write_segment(segment, file)
    name = keep_file(temporary)
    shard.kept(segment, open_segment(folder / f"{name}.data", name, segment.first, segment.last))
    return name


def _load_shard(folder: Path, saved: SavedShard) -> FeatureShard:
    with np.load(verify_file(folder, saved.table), allow_pickle=False) as file:
        table = FeatureTable.restore({name: file[name] for name in file.files})
    segments = [open_segment(verify_file(folder, each.name), each.name, each.first, each.last) for each in saved.segments]
    if len(table) != saved.count or any(each.last >= table.size for each in segments):
        raise ValueError(f"the shard of guild {saved.guild_id}, generation {saved.generation} is not the one that was saved")
    return FeatureShard(folder, table, segments)
