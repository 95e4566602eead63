"""The index of local features: the archive's fingerprints in this process, a shard for each guild and generation."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from contracts.errors import MapSeekError
from contracts.ports import Candidate
from infra.features.asked import asked_of
from infra.features.shard import Shard
from infra.features.table import Entry
from infra.vision.prints import unpacked


class FeatureIndex:
    """A projection of the log, fed with `add`, `remove` and `advance`; every call may be repeated. Searched through FeatureSearch.

    Adds that are large go to files without names in `folder`, in memory without one. `removed` are the ids that were removed,
    `dropped` the generations that were given up: an add that comes later does not bring them back.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        position: int = 0,
        removed: Iterable[str] = (),
        dropped: Iterable[str] = (),
        shards: dict[tuple[str, str], Shard] | None = None,
    ) -> None:
        self._folder = folder
        self._position = position
        self._removed = set(removed)
        self._dropped = set(dropped)
        self._shards = shards if shards is not None else {}

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards.values())

    @property
    def position(self) -> int:
        """The last stream sequence whose fact is in the index, 0 before the first."""
        return self._position

    @property
    def removed(self) -> frozenset[str]:
        return frozenset(self._removed)

    @property
    def dropped(self) -> frozenset[str]:
        return frozenset(self._dropped)

    @property
    def shards(self) -> dict[tuple[str, str], Shard]:
        """The shards at this moment, by guild and generation."""
        return dict(self._shards)

    def advance(self, sequence: int) -> None:
        """Note that the fact with this stream sequence, and all before it, are in the index. It never goes back."""
        self._position = max(self._position, sequence)

    def awaits(self, generation: str, image_id: str) -> bool:
        """Whether an add would do anything: neither the image nor the generation is given up."""
        return image_id not in self._removed and generation not in self._dropped

    def add(self, guild_id: str, generation: str, image_id: str, channel_id: str, entry: Entry) -> None:
        """Put an image in, or in place of what it was; `channel_id` is the channel whose readers may see it."""
        if self.awaits(generation, image_id):
            self._shards.setdefault((guild_id, generation), Shard(self._folder)).add(image_id, channel_id, entry)

    def remove(self, image_id: str) -> None:
        """Erase an image from every shard, for ever."""
        self._removed.add(image_id)
        for shard in self._shards.values():
            shard.remove(image_id)

    def drop_generation(self, generation: str) -> None:
        """Erase a generation's features, for ever."""
        self._dropped.add(generation)
        self._shards = {key: shard for key, shard in self._shards.items() if key[1] != generation}

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """At most `top` images that may be what a fingerprint is of, best first, ties in order of arrival. See FeatureSearch.

        Raises MapSeekError for bytes that are no fingerprint.
        """
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            return []
        return await asyncio.to_thread(_candidates, shard, fingerprint, top, None if channels is None else frozenset(channels))

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        """Those of these images that have a fingerprint. See FeatureSearch."""
        shard = self._shards.get((guild_id, generation))
        return {} if shard is None else shard.fingerprints(image_ids)

    async def size(self, guild_id: str, generation: str) -> int:
        """How many images of a guild have a fingerprint of this generation."""
        shard = self._shards.get((guild_id, generation))
        return 0 if shard is None else len(shard)


def entry_of(fingerprint: str, hash_: str, quality: int, data: bytes) -> Entry:
    """What is put in for an image whose fingerprint blob holds these bytes. Raises ValueError when they are none."""
    made = unpacked(data)
    return Entry(fingerprint, hash_, quality, made.words, made.signatures)


def _candidates(shard: Shard, fingerprint: bytes, top: int, channels: frozenset[str] | None) -> list[Candidate]:
    try:
        question = unpacked(fingerprint)
    except ValueError as error:
        raise MapSeekError(f"The question's fingerprint cannot be read ({error}): ask again.") from None
    return shard.search(asked_of(question), top, channels)
