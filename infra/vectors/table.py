"""The table of a vector shard: vectors with their image and channel ids, in numbered slots. Free slots are reused.

Values are rounded to float16 when they are added, and divided by their norm when they are compared. So a vector has the same
numbers in RAM (float32 or float16), on disk (float16), in an exact shard, in a graph, restored or rebuilt, and a score never
depends on where the vector is stored. The rounding changes a cosine by about 2e-5.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SlotNumbers = NDArray[np.int64]
HalfVector = NDArray[np.float16]
AnyFloats = NDArray[np.floating[Any]]

NO_CHANNEL = -1
"""The channel code of a slot that holds no image."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A view of the slots below `size`: `values` is (capacity, dimensions), `scale` is 1 / norm of each row.

    When the table grows it gets new arrays, and these stay as they are. A slot that is reused in the meantime changes here too.
    """

    values: AnyFloats
    scale: NDArray[np.float32]
    size: int


class VectorTable:
    """Vectors with their image and channel ids, by slot. Not thread-safe: the shard holds the lock."""

    def __init__(self, dimensions: int, capacity: int = 64) -> None:
        self.dimensions = dimensions
        self.size = 0
        self._ids: list[str] = []
        self._slot_of: dict[str, int] = {}
        self._free: list[int] = []
        self._code_of: dict[str, int] = {}
        self._codes = np.full(capacity, NO_CHANNEL, np.int32)
        self._shown = np.zeros(capacity, bool)  # whether a slot holds an image that is not hidden
        self._values: AnyFloats = np.zeros((capacity, dimensions), np.float32)
        self._scale = np.zeros(capacity, np.float32)

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def rows(self) -> Rows:
        return Rows(self._values, self._scale, self.size)

    def put(self, image_id: str, channel_id: str, vector: HalfVector, *, shown: bool = True) -> int:
        """Store a vector in the slot of its image, or in a free one, and return the slot. No search finds it unless `shown`."""
        slot = self._slot_of.get(image_id)
        if slot is None:
            slot = self._free.pop() if self._free else self._append()
            self._slot_of[image_id] = slot
            self._ids[slot] = image_id
        self._codes[slot] = self._code_of.setdefault(channel_id, len(self._code_of))
        self._shown[slot] = shown
        self._values[slot] = vector
        self._scale[slot] = 1 / np.linalg.norm(vector.astype(np.float64))
        return slot

    def set_shown(self, image_id: str, shown: bool) -> None:
        """Show or hide an image, if it is here."""
        slot = self._slot_of.get(image_id)
        if slot is not None:
            self._shown[slot] = shown

    def drop(self, image_id: str) -> int | None:
        """Erase an image and return the slot that it had, or None."""
        slot = self._slot_of.pop(image_id, None)
        if slot is None:
            return None
        self._ids[slot] = ""
        self._codes[slot] = NO_CHANNEL
        self._shown[slot] = False
        self._values[slot] = 0
        self._scale[slot] = 0
        self._free.append(slot)
        return slot

    def vector(self, slot: int) -> HalfVector | None:
        """Return the vector in a slot, or None if the slot is free."""
        if self._codes[slot] == NO_CHANNEL:
            return None
        half: HalfVector = self._values[slot].astype(np.float16)
        return half

    def find_vector(self, image_id: str) -> HalfVector | None:
        """Return the vector of an image, or None if it is not here or hidden."""
        slot = self._slot_of.get(image_id)
        return None if slot is None or not self._shown[slot] else self.vector(slot)

    def allowed(self, channels: Collection[str] | None) -> SlotNumbers:
        """Return the slots whose image is not hidden, and in one of these channels (None: in any)."""
        codes, shown = self._codes[: self.size], self._shown[: self.size]
        if channels is None:
            return np.flatnonzero(shown)
        wanted = np.zeros(len(self._code_of) + 1, bool)  # NO_CHANNEL, -1, looks up the last entry
        wanted[[self._code_of[channel] for channel in channels if channel in self._code_of]] = True
        return np.flatnonzero(wanted[codes] & shown)

    def select_current(self, slots: SlotNumbers, allowed: frozenset[str] | None) -> tuple[Sequence[str], AnyFloats]:
        """Return the ids and vectors (a copy) of those slots that hold an image of an allowed channel now that is not hidden."""
        codes = None if allowed is None else {self._code_of[channel] for channel in allowed if channel in self._code_of}
        kept = [slot for slot in slots.tolist() if self._shown[slot] and (codes is None or self._codes[slot] in codes)]
        return [self._ids[slot] for slot in kept], self._values[kept]

    def convert_to_float16(self) -> None:
        """Store float16 from now on: half the memory, but slower to scan."""
        self._values = self._values.astype(np.float16, copy=False)

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the table as arrays of length `size`. A free slot has an empty id and the channel code -1."""
        return {
            "ids": np.array(self._ids, np.bytes_),
            "codes": self._codes[: self.size].copy(),
            "channels": np.array(list(self._code_of), np.bytes_),
            "values": self._values[: self.size].astype(np.float16),
        }

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]]) -> "VectorTable":
        """Build a table from the arrays of `dump`, with the same slots. All its images are shown."""
        ids, values = arrays["ids"].astype(np.str_).tolist(), arrays["values"]
        table = cls(values.shape[1], capacity=max(64, len(ids)))
        table.size = len(ids)
        table._ids = ids
        table._slot_of = {image_id: slot for slot, image_id in enumerate(ids) if image_id}
        table._free = [slot for slot, image_id in enumerate(ids) if not image_id]
        table._code_of = {channel: code for code, channel in enumerate(arrays["channels"].astype(np.str_).tolist())}
        table._codes[: len(ids)] = arrays["codes"]
        table._values[: len(ids)] = values
        used = list(table._slot_of.values())
        table._shown[used] = True
        table._scale[used] = 1 / np.linalg.norm(values[used].astype(np.float64), axis=1)
        return table

    def _append(self) -> int:
        if self.size == len(self._codes):
            more = len(self._codes)
            self._codes = np.concatenate([self._codes, np.full(more, NO_CHANNEL, np.int32)])
            self._shown = np.concatenate([self._shown, np.zeros(more, bool)])
            self._values = np.concatenate([self._values, np.zeros((more, self.dimensions), self._values.dtype)])
            self._scale = np.concatenate([self._scale, np.zeros(more, np.float32)])
        self._ids.append("")
        self.size += 1
        return self.size - 1
