"""The images of a shard: who may see each, and by what it is known besides its features."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.vision.colours import BINS

FREE = -1
"""The channel code of a number that holds no image any more."""

COLUMNS: dict[str, tuple[str, int]] = {
    "codes": ("<i4", 0),
    "blobs": ("u1", 32),
    "hashes": ("<u8", 4),
    "quality": ("u1", 0),
    "counts": ("<u2", 0),
    "colours": ("u1", BINS),
}
"""The type and the width (0: one number) of what is kept of each image."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What is put in for an image: the blob of its fingerprint, PDQ's hash (both in hex) and quality, its features and colours."""

    fingerprint: str
    hash: str
    quality: int
    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    poses: NDArray[np.uint16]
    colours: NDArray[np.uint8]


class Table:
    """Images by number; a number is never used again, as postings name it. Not thread-safe: its shard holds the lock."""

    def __init__(self, capacity: int = 64) -> None:
        self.size = 0
        self._ids: list[str] = []
        self._number_of: dict[str, int] = {}
        self._code_of: dict[str, int] = {}
        self._columns = {name: _rows(name, capacity) for name in COLUMNS}

    def __len__(self) -> int:
        return len(self._number_of)

    def column(self, name: str) -> NDArray[Any]:
        """What is kept of every image so far. Growth leaves it alone, a removal shows in it."""
        return self._columns[name][: self.size]

    def put(self, image_id: str, channel_id: str, entry: Entry) -> int | None:
        """Give an image the next number and return it; None, and only its channel is set, where it has this fingerprint already."""
        code = self._code_of.setdefault(channel_id, len(self._code_of))
        number = self._number_of.get(image_id)
        if number is not None and self.fingerprint(number) == entry.fingerprint:
            self._columns["codes"][number] = code
            return None
        self.drop(image_id)
        number = self._append()
        self._ids[number] = image_id
        self._number_of[image_id] = number
        blob, bits = (np.frombuffer(bytes.fromhex(digits), np.uint8) for digits in (entry.fingerprint, entry.hash))
        values = {"codes": code, "blobs": blob, "hashes": bits.view("<u8"), "quality": entry.quality, "counts": len(entry.words)}
        values["colours"] = entry.colours
        for name, value in values.items():
            self._columns[name][number] = value
        return number

    def drop(self, image_id: str) -> None:
        """Erase an image if it is here; only how many postings it left stays, until they are gone."""
        number = self._number_of.pop(image_id, None)
        if number is not None:
            self._ids[number] = ""
            self._columns["codes"][number] = FREE
            for name in ("blobs", "hashes", "quality", "colours"):
                self._columns[name][number] = 0

    def swept(self, first: int, alive: NDArray[np.bool_]) -> None:
        """Note that those from this number on that are not `alive` (by number) have no postings any more."""
        self._columns["counts"][first : len(alive)][~alive[first:]] = 0

    def id_of(self, number: int) -> str:
        return self._ids[number]

    def number_of(self, image_id: str) -> int | None:
        return self._number_of.get(image_id)

    def fingerprint(self, number: int) -> str:
        blob: NDArray[np.uint8] = self._columns["blobs"][number]
        return blob.tobytes().hex()

    def allowed(self, channels: Collection[str] | None) -> NDArray[np.bool_]:
        """Which numbers hold an image of one of these channels (None: of any)."""
        codes = self.column("codes")
        wanted = np.zeros(len(self._code_of) + 1, bool)  # the last entry is what FREE, -1, looks up
        wanted[[code for channel, code in self._code_of.items() if channels is None or channel in channels]] = True
        allowed: NDArray[np.bool_] = wanted[codes]
        return allowed

    def dump(self) -> dict[str, NDArray[Any]]:
        """The table as arrays; an erased image has an empty id."""
        texts = {"ids": np.array(self._ids, np.bytes_), "channels": np.array(list(self._code_of), np.bytes_)}
        return texts | {name: self.column(name).copy() for name in COLUMNS}

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]]) -> "Table":
        """The table that `dump` described. Raises ValueError when its arrays do not fit each other."""
        ids = arrays["ids"].astype(np.str_).tolist()
        table = cls(max(64, len(ids)))
        table.size, table._ids = len(ids), ids
        table._number_of = {image_id: number for number, image_id in enumerate(ids) if image_id}
        table._code_of = {channel: code for code, channel in enumerate(arrays["channels"].astype(np.str_).tolist())}
        for name, column in table._columns.items():
            column[: len(ids)] = arrays[name]
        return table

    def _append(self) -> int:
        if self.size == len(self._columns["codes"]):
            self._columns = {name: np.concatenate([column, _rows(name, self.size)]) for name, column in self._columns.items()}
        self._ids.append("")
        self.size += 1
        return self.size - 1


def _rows(name: str, count: int) -> NDArray[Any]:
    kind, width = COLUMNS[name]
    return np.zeros((count, width) if width else count, kind)
