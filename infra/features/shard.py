"""A shard: the features of one generation in one guild. Segments that never change, and the newest images in memory behind them.

The images of a shard: who may see each, and by what it is known besides its features.

Which segments of a shard are merged: each is to be a few times as large as the next, so that few are there and few rewritten.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.ports import Candidate
from infra.features.scoring import FAR_HASH_BITS, IndexQuery, compute_hash_distances, count_votes
from infra.features.segment import MIN_MAPPED_POSTINGS, Segment, merge_segments, seal_segment
from infra.vision.colours import COLOUR_BINS, compute_explained_share

NO_CHANNEL = -1
"""The channel code of a number that holds no image any more."""

TABLE_COLUMNS: dict[str, tuple[str, int]] = {
    "codes": ("<i4", 0),
    "blobs": ("u1", 32),
    "hashes": ("<u8", 4),
    "quality": ("u1", 0),
    "counts": ("<u2", 0),
    "colours": ("u1", COLOUR_BINS),
}
"""The type and the width (0: one number) of what is kept of each image."""

MERGE_RATIO = 3

MAX_UNSEALED_IMAGES = 256
"""Images that wait in memory, at most, until they become a segment; a search makes one of fewer."""

MAX_REMOVED_SHARE = 0.05
"""The share of a segment's postings that removed images may keep after a snapshot."""

HASH_VOTES = 1000.0
"""What a near hash is worth: more than all features, so that such images come first."""

MIN_EXPLAINED_SHARE = 0.8
"""The share of a question's colours that an image accounts for, from which on the question may be a part of it."""

MIN_SCORED_FEATURES = 60
"""Images with fewer features are not preferred for that."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureEntry:
    """What is put in for an image: the blob of its fingerprint, PDQ's hash (both in hex) and quality, its features and colours."""

    fingerprint: str
    hash: str
    quality: int
    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    poses: NDArray[np.uint16]
    colours: NDArray[np.uint8]


class FeatureTable:
    """Images by number; a number is never used again, as postings name it. Not thread-safe: its shard holds the lock."""

    def __init__(self, capacity: int = 64) -> None:
        self.size = 0
        self._ids: list[str] = []
        self._number_of: dict[str, int] = {}
        self._code_of: dict[str, int] = {}
        self._columns = {name: _rows(name, capacity) for name in TABLE_COLUMNS}

    def __len__(self) -> int:
        return len(self._number_of)

    def column(self, name: str) -> NDArray[Any]:
        """What is kept of every image so far. Growth leaves it alone, a removal shows in it."""
        return self._columns[name][: self.size]

    def put(self, image_id: str, channel_id: str, entry: FeatureEntry) -> int | None:
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
            self._columns["codes"][number] = NO_CHANNEL
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
        return texts | {name: self.column(name).copy() for name in TABLE_COLUMNS}

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]]) -> "FeatureTable":
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
    kind, width = TABLE_COLUMNS[name]
    return np.zeros((count, width) if width else count, kind)


def plan_merges(sizes: Sequence[int]) -> list[int]:
    """How many segments after each other become one, from the first on: afterwards each is RATIO times as large as the next."""
    merged: list[tuple[int, int]] = []  # how large, of how many
    for size in sizes:
        merged.append((size, 1))
        while len(merged) > 1 and merged[-2][0] < MERGE_RATIO * merged[-1][0]:
            last = merged.pop()
            merged[-1] = (merged[-1][0] + last[0], merged[-1][1] + last[1])
    return [count for _, count in merged]


class FeatureShard:
    """Thread-safe. Votes are counted outside the lock, and what they found is checked again before it is told."""

    def __init__(self, folder: Path | None = None, table: FeatureTable | None = None, segments: Sequence[Segment] = ()) -> None:
        self._folder = folder
        self._table = table or FeatureTable()
        self._segments = tuple(segments)
        self._settled = len(self._segments)
        self._new: list[tuple[int, FeatureEntry]] = []
        self._lock = Lock()
        self._tidying = Lock()

    def __len__(self) -> int:
        return len(self._table)

    def add(self, image_id: str, channel_id: str, entry: FeatureEntry) -> None:
        """Put an image in, or in place of what it was."""
        with self._lock:
            number = self._table.put(image_id, channel_id, entry)
            if number is not None:
                self._new.append((number, entry))
            if len(self._new) >= MAX_UNSEALED_IMAGES:
                self._seal()

    def remove(self, image_id: str) -> None:
        """Erase an image if it is there. Its postings answer no more, and are gone when their segment is next merged."""
        with self._lock:
            self._table.drop(image_id)

    def search(self, asked: IndexQuery, top: int, channels: frozenset[str] | None) -> list[Candidate]:
        """At most `top` images, best first: those of a near hash, no more than half of them, then those that features speak for."""
        with self._lock:
            self._seal()
            segments, size = self._segments, self._table.size
            hashes, quality, counts = (self._table.column(name) for name in ("hashes", "quality", "counts"))
            allowed = self._table.allowed(channels)
        bits = compute_hash_distances(hashes, quality, asked.hashes)
        spoken = [count_votes(segments, *each, size) for each in zip(asked.words, asked.signatures, asked.poses, strict=True)]
        score = np.maximum(*spoken) / np.sqrt(np.maximum(counts, MIN_SCORED_FEATURES))
        by_hash = _best(np.where(allowed & (bits < FAR_HASH_BITS), HASH_VOTES - bits + score / (1 + score), 0), (top + 1) // 2)
        score[by_hash] = 0
        by_votes = _best(np.where(allowed, score, 0), top - len(by_hash))
        ranked = [(number, HASH_VOTES - float(bits[number])) for number in by_hash] + [
            (each, float(score[each])) for each in by_votes
        ]
        with self._lock:
            allowed = self._table.allowed(channels)
            return [
                Candidate(self._table.id_of(each), self._table.fingerprint(each), said) for each, said in ranked if allowed[each]
            ]

    def find_by_colour(self, shares: NDArray[np.float32], top: int, channels: frozenset[str] | None) -> list[Candidate]:
        """At most `top` images that may account for LEAST_EXPLAINED of a question's colours, best first."""
        with self._lock:
            allowed, colours = self._table.allowed(channels), self._table.column("colours")
        alike = compute_explained_share(shares, colours)
        best = _best(np.where(allowed & (alike >= MIN_EXPLAINED_SHARE), alike, 0), top)
        with self._lock:
            allowed = self._table.allowed(channels)
            return [Candidate(self._table.id_of(each), self._table.fingerprint(each)) for each in best if allowed[each]]

    def fingerprints(self, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        """Those of these images that are here, by id."""
        with self._lock:
            numbers = {each: number for each in image_ids if (number := self._table.number_of(each)) is not None}
            return {each: Candidate(each, self._table.fingerprint(number)) for each, number in numbers.items()}

    def tidied(self) -> tuple[dict[str, NDArray[Any]], Sequence[Segment]]:
        """The table's arrays and all segments as they are, after those were merged that are better one. Adds go on meanwhile."""
        with self._tidying:
            with self._lock:
                self._seal()
                segments, alive, counts = self._segments, self._table.allowed(None), self._table.column("counts").copy()
                self._settled = len(segments)  # what is sealed from now on leaves them alone
            following = iter(segments)
            for count in plan_merges([len(segment) for segment in segments]):
                group = list(islice(following, count))
                if len(group) > 1 or _swept_out(group[0], alive, counts):
                    self._replace(group, alive)
            return self.contents()

    def kept(self, segment: Segment, named: Segment) -> None:
        """Use a segment from the file that keeps it from now on."""
        with self._lock:
            self._segments = tuple(named if each is segment else each for each in self._segments)

    def contents(self) -> tuple[dict[str, NDArray[Any]], Sequence[Segment]]:
        """The table's arrays and all segments as they are now."""
        with self._lock:
            self._seal()
            return self._table.dump(), self._segments

    def _replace(self, group: Sequence[Segment], alive: NDArray[np.bool_]) -> None:
        """Merge some of the settled segments, while others may be sealed behind them."""
        by = merge_segments(group, alive, self._folder)
        with self._lock:
            at = self._segments.index(group[0])
            self._segments = (*self._segments[:at], by, *self._segments[at + len(group) :])
            self._settled += 1 - len(group)
            self._table.swept(by.first, alive[: by.last + 1])

    def _seal(self) -> None:
        """Make a segment of what is new, and of the small ones before it: cheap, as all others are left to `tidied`."""
        counts = [len(entry.words) for _, entry in self._new]
        if sum(counts):
            numbers = np.repeat(np.array([number for number, _ in self._new], np.uint32), counts)
            features = ((entry.words, entry.signatures, entry.poses) for _, entry in self._new)
            words, signatures, poses = (np.concatenate(part) for part in zip(*features, strict=True))
            fresh = seal_segment(words, signatures, numbers, poses)
            sizes = [*map(len, self._segments[self._settled :]), len(fresh)]
            count = plan_merges(sizes)[-1] - 1
            while count and sum(sizes[-count - 1 :]) >= MIN_MAPPED_POSTINGS:
                count -= 1
            if count:
                alive = self._table.allowed(None)
                fresh = merge_segments([*self._segments[-count:], fresh], alive, self._folder)
                self._table.swept(fresh.first, alive)
                self._segments = self._segments[:-count]
            self._segments = (*self._segments, fresh)
        self._new = []


def _swept_out(segment: Segment, alive: NDArray[np.bool_], counts: NDArray[np.uint16]) -> bool:
    """Whether more of a segment's postings than SWEPT_AT are of removed images."""
    part = slice(segment.first, segment.last + 1)
    gone = counts[part][~alive[part]].sum(dtype=np.int64)
    return bool(gone > MAX_REMOVED_SHARE * len(segment))


def _best(score: NDArray[np.floating], top: int) -> list[int]:
    """The numbers of the `top` highest scores above 0, the highest first, then the lowest number."""
    found = np.flatnonzero(score > 0)
    if len(found) > top:
        found = found[score[found] >= np.partition(score[found], len(found) - max(top, 1))[len(found) - max(top, 1)]]
    best: list[int] = found[np.argsort(-score[found], kind="stable")][:top].tolist()
    return best
