"""The embedded index: the archive's vectors in this process, a shard for each guild and generation.

What an index that is a projection of the log keeps besides its content: its place in the log, and what was given up for good.

The digest of an index: two that hold the same vectors have the same, whatever order they were put in.
"""

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import MapSeekError
from contracts.ports import Neighbour
from infra.vectors.shard import GRAPH_ABOVE, VectorShard
from infra.vectors.table import VectorTable

MAX_INLINE_ROWS = 4_000
"""Shards up to this size are searched on the event loop, where it takes less than handing the work to a thread and back."""


class ImageShard(Protocol):
    """A shard: the images of one guild and generation."""

    def __len__(self) -> int: ...

    def remove(self, image_id: str) -> None: ...


S = TypeVar("S", bound=ImageShard)


class ShardedIndex(Generic[S]):
    """A shard for each guild and generation.

    `removed` are the ids that were removed, `dropped` the generations that were given up: an add that comes later, in a replay or
    out of order, does not bring them back (`awaits`).
    """

    def __init__(
        self,
        position: int = 0,
        removed: Iterable[str] = (),
        dropped: Iterable[str] = (),
        shards: dict[tuple[str, str], S] | None = None,
    ) -> None:
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
    def shards(self) -> dict[tuple[str, str], S]:
        """The shards at this moment, by guild and generation."""
        return dict(self._shards)

    def advance(self, sequence: int) -> None:
        """Note that the fact with this stream sequence, and all before it, are in the index. It never goes back."""
        self._position = max(self._position, sequence)

    def accepts(self, generation: str, image_id: str) -> bool:
        """Whether an add would do anything: neither the image nor the generation is given up."""
        return image_id not in self._removed and generation not in self._dropped

    def remove(self, image_id: str) -> None:
        """Erase an image from every shard, for ever."""
        self._removed.add(image_id)
        for shard in self._shards.values():
            shard.remove(image_id)

    def drop_generation(self, generation: str) -> None:
        """Erase all that there is of a generation, for ever."""
        self._dropped.add(generation)
        self._shards = {key: shard for key, shard in self._shards.items() if key[1] != generation}


class EmbeddedIndex(ShardedIndex[VectorShard]):
    """A projection of the log, fed with `add`, `remove` and `advance`; every call may be repeated. See VectorSearch."""

    def __init__(
        self,
        *,
        graph_above: int = GRAPH_ABOVE,
        position: int = 0,
        removed: Iterable[str] = (),
        dropped: Iterable[str] = (),
        shards: dict[tuple[str, str], VectorShard] | None = None,
    ) -> None:
        self._graph_above = graph_above
        super().__init__(position, removed, dropped, shards)

    def count(self, guild_id: str, generation: str) -> int:
        """How many images of a guild have a vector of this generation."""
        shard = self._shards.get((guild_id, generation))
        return 0 if shard is None else len(shard)

    def add(self, guild_id: str, generation: str, image_id: str, channel_id: str, vector: bytes) -> None:
        """Put an image in, or in place of what it was; `channel_id` is the channel whose readers may see it.

        Raises MapSeekError when the vector does not fit its generation.
        """
        unit = _unit(vector)
        if not self.accepts(generation, image_id):
            return
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            shard = self._shards[guild_id, generation] = VectorShard(VectorTable(len(unit)), self._graph_above)
        _check_dimensions(shard, unit, guild_id, generation)
        shard.add(image_id, channel_id, unit.astype(np.float16))

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """At most `top` neighbours by cosine (to 6 digits), best first, ties in order of image id. See VectorSearch."""
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            return []
        query, readable = _unit(vector), None if channels is None else frozenset(channels)
        _check_dimensions(shard, query, guild_id, generation)
        if len(shard) <= MAX_INLINE_ROWS:
            return shard.search(query, top, readable)
        return await asyncio.to_thread(shard.search, query, top, readable)

    async def find_similar(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """At most `top` neighbours of an image in the index with a cosine of `at_least`, best first. See VectorSearch."""
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            return []
        readable = None if channels is None else frozenset(channels)
        if len(shard) <= MAX_INLINE_ROWS:
            return shard.find_similar(image_id, at_least, top, readable)
        return await asyncio.to_thread(shard.find_similar, image_id, at_least, top, readable)


def _unit(vector: bytes) -> NDArray[np.float64]:
    """Little-endian float32 components as a vector of length 1."""
    if not vector or len(vector) % 4:
        raise MapSeekError(f"A vector of {len(vector)} bytes is not a row of float32 numbers; embed the image again.")
    components = np.frombuffer(vector, "<f4").astype(np.float64)
    norm = np.linalg.norm(components)
    if not 0 < norm < np.inf:
        raise MapSeekError("A vector that is zero or not finite cannot be compared; check the model and embed the image again.")
    return components / norm


def _check_dimensions(shard: VectorShard, vector: NDArray[np.float64], guild_id: str, generation: str) -> None:
    if len(vector) != shard.dimensions:
        raise MapSeekError(
            f"Generation {generation} of guild {guild_id} holds vectors of {shard.dimensions} dimensions, not {len(vector)}: "
            "a generation belongs to one model, so start a new one for another."
        )


def compute_digest(index: EmbeddedIndex) -> str:
    """SHA-256 over guild, generation, image, channel and float16 vector of everything in it, and over the removed ids.

    Nothing may change the index meanwhile. Takes about a second for a million vectors' bytes: run it in a thread.
    """
    digest = hashlib.sha256()
    for (guild_id, generation), shard in sorted(index.shards.items()):
        table = shard.table()
        ids, codes, channels = table["ids"].astype(np.str_), table["codes"], table["channels"].astype(np.str_)
        used = np.flatnonzero(codes >= 0)
        for slot in used[np.argsort(ids[used])].tolist():
            digest.update(orjson.dumps([guild_id, generation, ids[slot].item(), channels[codes[slot]].item()]))
            digest.update(table["values"][slot].astype("<f2").tobytes())
    digest.update(orjson.dumps(sorted(index.removed)))
    return digest.hexdigest()
