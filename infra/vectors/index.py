"""The vector index and its digest: the vectors of the archive in memory, with a shard for each guild and generation.

ShardedIndex has what both indexes share: their position in the log, the hidden and the removed images and the dropped generations.
"""

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.errors import MapSeekError
from contracts.ports import Neighbour
from infra.vectors.shard import GRAPH_ABOVE, VectorShard
from infra.vectors.table import VectorTable

MAX_INLINE_ROWS = 4_000
"""Shards up to this size are searched on the event loop. That takes less time than handing the work to a thread."""


Rank = tuple[int, bool]
"""The rank of a fact that hides an image (False) or shows it (True): see ImageTurn in contracts/events/image.py."""


class ImageShard(Protocol):
    """A shard: the images of one guild and generation."""

    def __len__(self) -> int: ...

    def set_shown(self, image_id: str, shown: bool) -> None: ...

    def remove(self, image_id: str) -> None: ...


S = TypeVar("S", bound=ImageShard)


class ShardedIndex(Generic[S]):
    """An index with a shard for each guild and generation.

    `removed` are the ids of removed images and `dropped` the dropped generations. A later add, in a replay or out of order, does
    not bring them back (see `accepts`). `turns` has the highest rank of every image that was ever hidden. A hidden image stays in
    the index and is counted, but no search finds it.
    """

    def __init__(
        self,
        position: int = 0,
        removed: Iterable[str] = (),
        dropped: Iterable[str] = (),
        shards: dict[tuple[str, str], S] | None = None,
        turns: Mapping[str, Rank] | None = None,
    ) -> None:
        self._position = position
        self._removed = set(removed)
        self._dropped = set(dropped)
        self._shards = shards if shards is not None else {}
        self._turns = dict(turns or {})
        for image_id, (_, shown) in self._turns.items():
            self._set_shown(image_id, shown)

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards.values())

    @property
    def position(self) -> int:
        """The log position up to which all facts are in the index, 0 before the first."""
        return self._position

    @property
    def removed(self) -> frozenset[str]:
        return frozenset(self._removed)

    @property
    def dropped(self) -> frozenset[str]:
        return frozenset(self._dropped)

    @property
    def turns(self) -> dict[str, Rank]:
        """A copy of the highest rank by image."""
        return dict(self._turns)

    @property
    def shards(self) -> dict[tuple[str, str], S]:
        """A copy of the shards, by guild and generation."""
        return dict(self._shards)

    def advance(self, position: int) -> None:
        """Record that all facts up to this log position are in the index. The position never goes back."""
        self._position = max(self._position, position)

    def accepts(self, generation: str, image_id: str) -> bool:
        """Whether an add would have an effect: the image is not removed and the generation not dropped."""
        return image_id not in self._removed and generation not in self._dropped

    def hide(self, image_id: str, turn: int) -> None:
        """Hide an image from every search, unless it was shown in this turn or a later one. It may be added later."""
        self._take_turn(image_id, (turn, False))

    def show(self, image_id: str, turn: int) -> None:
        """Let searches find an image again, unless it was hidden in a later turn."""
        self._take_turn(image_id, (turn, True))

    def is_shown(self, image_id: str) -> bool:
        """Whether searches find the image, if it is here."""
        return self._turns.get(image_id, (0, True))[1]

    def _take_turn(self, image_id: str, rank: Rank) -> None:
        if image_id not in self._removed and rank > self._turns.get(image_id, (0, True)):
            self._turns[image_id] = rank
            self._set_shown(image_id, rank[1])

    def _set_shown(self, image_id: str, shown: bool) -> None:
        for shard in self._shards.values():
            shard.set_shown(image_id, shown)

    def remove(self, image_id: str) -> None:
        """Erase an image from every shard. It cannot be added again."""
        self._removed.add(image_id)
        self._turns.pop(image_id, None)
        for shard in self._shards.values():
            shard.remove(image_id)

    def drop_generation(self, generation: str) -> None:
        """Erase all images of a generation. It cannot be added to again."""
        self._dropped.add(generation)
        self._shards = {key: shard for key, shard in self._shards.items() if key[1] != generation}


class EmbeddedIndex(ShardedIndex[VectorShard]):
    """A projection of the log, filled with `add`, `hide`, `show`, `remove` and `advance`, in any order. Each call may be repeated.

    Implements VectorSearch.
    """

    def __init__(
        self,
        *,
        graph_above: int = GRAPH_ABOVE,
        position: int = 0,
        removed: Iterable[str] = (),
        dropped: Iterable[str] = (),
        shards: dict[tuple[str, str], VectorShard] | None = None,
        turns: Mapping[str, Rank] | None = None,
    ) -> None:
        self._graph_above = graph_above
        super().__init__(position, removed, dropped, shards, turns)

    def count(self, guild_id: str, generation: str) -> int:
        """Return how many images of a guild have a vector of this generation, hidden ones included."""
        shard = self._shards.get((guild_id, generation))
        return 0 if shard is None else len(shard)

    def add(self, guild_id: str, generation: str, image_id: str, channel_id: str, vector: bytes) -> None:
        """Add an image or replace it. `channel_id` is the channel whose readers may see it.

        Raises MapSeekError if the vector does not fit its generation.
        """
        unit = _to_unit_vector(vector)
        if not self.accepts(generation, image_id):
            return
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            shard = self._shards[guild_id, generation] = VectorShard(VectorTable(len(unit)), self._graph_above)
        _check_dimensions(shard, unit, guild_id, generation)
        shard.add(image_id, channel_id, unit.astype(np.float16), shown=self.is_shown(image_id))

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """Return at most `top` neighbours by cosine (rounded to 6 digits), best first, ties by image id. See VectorSearch."""
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            return []
        query, readable = _to_unit_vector(vector), None if channels is None else frozenset(channels)
        _check_dimensions(shard, query, guild_id, generation)
        if len(shard) <= MAX_INLINE_ROWS:
            return shard.search(query, top, readable)
        return await asyncio.to_thread(shard.search, query, top, readable)

    async def find_similar(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """Return at most `top` neighbours of an indexed image with a cosine of `at_least` or more, best first. See VectorSearch."""
        shard = self._shards.get((guild_id, generation))
        if shard is None:
            return []
        readable = None if channels is None else frozenset(channels)
        if len(shard) <= MAX_INLINE_ROWS:
            return shard.find_similar(image_id, at_least, top, readable)
        return await asyncio.to_thread(shard.find_similar, image_id, at_least, top, readable)


def _to_unit_vector(vector: bytes) -> NDArray[np.float64]:
    """Return a vector of length 1 from little-endian float32 components. Raises MapSeekError if they are not a vector."""
    if not vector or len(vector) % 4:
        raise MapSeekError(f"A vector of {len(vector)} bytes is not a row of float32 numbers: embed the image again.")
    components = np.frombuffer(vector, "<f4").astype(np.float64)
    norm = np.linalg.norm(components)
    if not 0 < norm < np.inf:
        raise MapSeekError("A vector that is zero or not finite cannot be compared: check the model and embed the image again.")
    return components / norm


def _check_dimensions(shard: VectorShard, vector: NDArray[np.float64], guild_id: str, generation: str) -> None:
    if len(vector) != shard.dimensions:
        raise MapSeekError(
            f"Generation {generation} of guild {guild_id} holds vectors of {shard.dimensions} dimensions, not {len(vector)}: "
            "a generation belongs to one model, so start a new one for another."
        )


def compute_digest(index: EmbeddedIndex) -> str:
    """Return the digest of an index. Two indexes with the same vectors have the same digest, whatever the order of adds.

    It is SHA-256 over guild, generation, image, channel and float16 vector of each image, over the removed ids and over the turns.
    The index must not change while it runs. It takes about a second for the bytes of a million vectors: run it in a thread.
    """
    digest = hashlib.sha256()
    for (guild_id, generation), shard in sorted(index.shards.items()):
        table = shard.dump_table()
        ids, codes, channels = table["ids"].astype(np.str_), table["codes"], table["channels"].astype(np.str_)
        used = np.flatnonzero(codes >= 0)
        for slot in used[np.argsort(ids[used])].tolist():
            digest.update(orjson.dumps([guild_id, generation, ids[slot].item(), channels[codes[slot]].item()]))
            digest.update(table["values"][slot].astype("<f2").tobytes())
    digest.update(orjson.dumps(sorted(index.removed)))
    digest.update(orjson.dumps(sorted(index.turns.items())))
    return digest.hexdigest()
