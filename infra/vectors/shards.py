"""What an index that is a projection of the log keeps besides its content: its place in the log, and what was given up for good."""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar


class Removing(Protocol):
    """A shard: the images of one guild and generation."""

    def __len__(self) -> int: ...

    def remove(self, image_id: str) -> None: ...


S = TypeVar("S", bound=Removing)


class Sharded(Generic[S]):
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

    def awaits(self, generation: str, image_id: str) -> bool:
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
