"""The feature index and its digest: the fingerprints of the archive in memory, with a shard for each guild and generation."""

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
from infra.vectors.index import Rank, ShardedIndex
from infra.vision.colours import compute_histogram, quantise_shares
from infra.vision.features import encode_poses
from infra.vision.prints import Print, unpack_print

ShardSearch = Callable[[FeatureShard, bytes, int, frozenset[str] | None], list[Candidate]]

_MIX = np.uint64(0x9E3779B97F4A7C15)


class FeatureIndex(ShardedIndex[FeatureShard]):
    """A projection of the log, filled with `add`, `hide`, `show`, `remove` and `advance`, in any order. Each call may be repeated.

    Implements FeatureSearch. Large segments are kept in unnamed files in `folder`, or in memory if there is no folder.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        position: int = 0,
        removed: Iterable[str] = (),
        dropped: Iterable[str] = (),
        shards: dict[tuple[str, str], FeatureShard] | None = None,
        turns: Mapping[str, Rank] | None = None,
    ) -> None:
        self._folder = folder
        super().__init__(position, removed, dropped, shards, turns)

    def add(self, guild_id: str, generation: str, image_id: str, channel_id: str, entry: FeatureEntry) -> None:
        """Add an image or replace it. `channel_id` is the channel whose readers may see it."""
        if self.accepts(generation, image_id):
            shard = self._shards.setdefault((guild_id, generation), FeatureShard(self._folder))
            shard.add(image_id, channel_id, entry, shown=self.is_shown(image_id))

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """Return at most `top` images that may show the same piece as the fingerprint, best first. See FeatureSearch.

        Ties are in order of arrival. Raises MapSeekError for bytes that are not a fingerprint.
        """
        return await self._search(_search_features, guild_id, generation, fingerprint, top, channels)

    async def find_by_colour(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """Return at most `top` images that have the colours of the fingerprint's picture, best first. See FeatureSearch.

        Raises MapSeekError for bytes that are not a fingerprint.
        """
        return await self._search(_search_colours, guild_id, generation, fingerprint, top, channels)

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        """Return the candidates of those of these images that have a fingerprint, by image id. See FeatureSearch."""
        shard = self._shards.get((guild_id, generation))
        return {} if shard is None else shard.fingerprints(image_ids)

    async def size(self, guild_id: str, generation: str) -> int:
        """Return how many images of a guild have a fingerprint of this generation, hidden ones included."""
        shard = self._shards.get((guild_id, generation))
        return 0 if shard is None else len(shard)

    async def _search(
        self, search: ShardSearch, guild_id: str, generation: str, fingerprint: bytes, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """Search a shard in a thread. Raises MapSeekError for bytes that are not a fingerprint."""
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            return []
        return await asyncio.to_thread(search, shard, fingerprint, top, None if channels is None else frozenset(channels))


def build_entry(fingerprint: str, hash_: str, quality: int, data: bytes) -> FeatureEntry:
    """Build the entry of an image from the bytes of its fingerprint blob. Raises ValueError if they are not a fingerprint."""
    archived_print = unpack_print(data)
    return FeatureEntry(
        fingerprint,
        hash_,
        quality,
        archived_print.words,
        archived_print.signatures,
        encode_poses(archived_print.keypoints),
        quantise_shares(compute_histogram(archived_print.thumb)),
    )


def _search_features(shard: FeatureShard, fingerprint: bytes, top: int, channels: frozenset[str] | None) -> list[Candidate]:
    return shard.search(build_index_query(_unpack_query(fingerprint)), top, channels)


def _search_colours(shard: FeatureShard, fingerprint: bytes, top: int, channels: frozenset[str] | None) -> list[Candidate]:
    return shard.find_by_colour(compute_histogram(_unpack_query(fingerprint).thumb), top, channels)


def _unpack_query(fingerprint: bytes) -> Print:
    try:
        return unpack_print(fingerprint)
    except ValueError as error:
        raise MapSeekError(f"The fingerprint of the query cannot be read ({error}): search again.") from None


def compute_digest(index: FeatureIndex) -> str:
    """Return the digest of an index. Two indexes with the same content have the same digest, whatever the order of adds and merges.

    It is SHA-256 over guild, generation, image, channel, fingerprint, hash, colours and a sum of the postings of each image, over
    the removed ids and over the turns. The index must not change while it runs. It takes about a second for 100,000 images: run it
    in a thread.
    """
    digest = hashlib.sha256()
    for (guild_id, generation), shard in sorted(index.shards.items()):
        table, segments = shard.dump()
        ids, codes, channels = table["ids"].astype(np.str_), table["codes"], table["channels"].astype(np.str_)
        sums = sum((_sum_postings(segment, len(ids)) for segment in segments), np.zeros(len(ids), np.uint64))
        used = np.flatnonzero(codes >= 0)
        for number in used[np.argsort(ids[used])].tolist():
            digest.update(orjson.dumps([guild_id, generation, ids[number].item(), channels[codes[number]].item()]))
            for column in (table["blobs"], table["hashes"], table["quality"], table["counts"], table["colours"], sums):
                digest.update(np.atleast_1d(column[number]).tobytes())
    digest.update(orjson.dumps(sorted(index.removed)))
    digest.update(orjson.dumps(sorted(index.turns.items())))
    return digest.hexdigest()


def _sum_postings(segment: Segment, size: int) -> NDArray[np.uint64]:
    """Return a number for each image that depends on its words, signatures and poses, but not on their order."""
    words = np.repeat(np.arange(1, WORD_COUNT + 1, dtype=np.uint64), np.diff(segment.starts))
    mixed = (segment.signatures ^ ((words << np.uint64(16) | segment.poses) * _MIX)) * _MIX
    mixed ^= mixed >> np.uint64(29)
    sums = np.zeros(size, np.uint64)
    np.add.at(sums, segment.images, mixed * _MIX)
    return sums
