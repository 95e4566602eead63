"""The index of local features: the archive's fingerprints in this process, a shard for each guild and generation.

The digest of an index of features: two that hold the same have the same, whatever order it came in and however it is merged.
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import MapSeekError
from contracts.ports import Candidate
from infra.features.scoring import build_index_query
from infra.features.segment import WORD_COUNT, Segment
from infra.features.shard import FeatureEntry, FeatureShard
from infra.vectors.index import ShardedIndex
from infra.vision.colours import compute_histogram, quantise_shares
from infra.vision.features import encode_poses
from infra.vision.prints import Print, unpack_print

ShardSearch = Callable[[FeatureShard, bytes, int, frozenset[str] | None], list[Candidate]]

_MIX = np.uint64(0x9E3779B97F4A7C15)


class FeatureIndex(ShardedIndex[FeatureShard]):
    """A projection of the log, fed with `add`, `remove` and `advance`; every call may be repeated. Searched through FeatureSearch.

    Adds that are large go to files without names in `folder`, in memory without one.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        position: int = 0,
        removed: Iterable[str] = (),
        dropped: Iterable[str] = (),
        shards: dict[tuple[str, str], FeatureShard] | None = None,
    ) -> None:
        self._folder = folder
        super().__init__(position, removed, dropped, shards)

    def add(self, guild_id: str, generation: str, image_id: str, channel_id: str, entry: FeatureEntry) -> None:
        """Put an image in, or in place of what it was; `channel_id` is the channel whose readers may see it."""
        if self.accepts(generation, image_id):
            self._shards.setdefault((guild_id, generation), FeatureShard(self._folder)).add(image_id, channel_id, entry)

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """At most `top` images that may be what a fingerprint is of, best first, ties in order of arrival. See FeatureSearch.

        Raises MapSeekError for bytes that are no fingerprint.
        """
        return await self._asked(_candidates, guild_id, generation, fingerprint, top, channels)

    async def find_by_colour(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """At most `top` images that have the colours of what a fingerprint is of, best first. See FeatureSearch.

        Raises MapSeekError for bytes that are no fingerprint.
        """
        return await self._asked(_coloured, guild_id, generation, fingerprint, top, channels)

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        """Those of these images that have a fingerprint. See FeatureSearch."""
        shard = self._shards.get((guild_id, generation))
        return {} if shard is None else shard.fingerprints(image_ids)

    async def size(self, guild_id: str, generation: str) -> int:
        """How many images of a guild have a fingerprint of this generation."""
        shard = self._shards.get((guild_id, generation))
        return 0 if shard is None else len(shard)

    async def _asked(
        self, ask: ShardSearch, guild_id: str, generation: str, fingerprint: bytes, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """What a shard answers, in a thread. Raises MapSeekError for bytes that are no fingerprint."""
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            return []
        return await asyncio.to_thread(ask, shard, fingerprint, top, None if channels is None else frozenset(channels))


def build_entry(fingerprint: str, hash_: str, quality: int, data: bytes) -> FeatureEntry:
    """What is put in for an image whose fingerprint blob holds these bytes. Raises ValueError when they are none."""
    made = unpack_print(data)
    return FeatureEntry(
        fingerprint,
        hash_,
        quality,
        made.words,
        made.signatures,
        encode_poses(made.points),
        quantise_shares(compute_histogram(made.thumb)),
    )


def _candidates(shard: FeatureShard, fingerprint: bytes, top: int, channels: frozenset[str] | None) -> list[Candidate]:
    return shard.search(build_index_query(_question(fingerprint)), top, channels)


def _coloured(shard: FeatureShard, fingerprint: bytes, top: int, channels: frozenset[str] | None) -> list[Candidate]:
    return shard.find_by_colour(compute_histogram(_question(fingerprint).thumb), top, channels)


def _question(fingerprint: bytes) -> Print:
    try:
        return unpack_print(fingerprint)
    except ValueError as error:
        raise MapSeekError(f"The question's fingerprint cannot be read ({error}): ask again.") from None


def compute_digest(index: FeatureIndex) -> str:
    """SHA-256 over guild, generation, image, channel, fingerprint, hash, colours and a sum of the postings, and the removed ids.

    Nothing may change the index meanwhile. Takes about a second for a hundred thousand images: run it in a thread.
    """
    digest = hashlib.sha256()
    for (guild_id, generation), shard in sorted(index.shards.items()):
        table, segments = shard.contents()
        ids, codes, channels = table["ids"].astype(np.str_), table["codes"], table["channels"].astype(np.str_)
        sums = sum((_sums(segment, len(ids)) for segment in segments), np.zeros(len(ids), np.uint64))
        used = np.flatnonzero(codes >= 0)
        for number in used[np.argsort(ids[used])].tolist():
            digest.update(orjson.dumps([guild_id, generation, ids[number].item(), channels[codes[number]].item()]))
            for column in (table["blobs"], table["hashes"], table["quality"], table["counts"], table["colours"], sums):
                digest.update(np.atleast_1d(column[number]).tobytes())
    digest.update(orjson.dumps(sorted(index.removed)))
    return digest.hexdigest()


def _sums(segment: Segment, size: int) -> NDArray[np.uint64]:
    """A number for each image that is the same for the same words, signatures and poses."""
    words = np.repeat(np.arange(1, WORD_COUNT + 1, dtype=np.uint64), np.diff(segment.starts))
    mixed = (segment.signatures ^ ((words << np.uint64(16) | segment.poses) * _MIX)) * _MIX
    mixed ^= mixed >> np.uint64(29)
    sums = np.zeros(size, np.uint64)
    np.add.at(sums, segment.images, mixed * _MIX)
    return sums
