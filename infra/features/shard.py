"""A shard of the feature index: the features of one generation in one guild.

It consists of segments that never change, the newest images in memory, and a table with the rest of what is known of each image:
who may see it, its hash, its colours.
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
"""The channel code of a number whose image was removed."""

TABLE_COLUMNS: dict[str, tuple[str, int]] = {
    "codes": ("<i4", 0),
    "blobs": ("u1", 32),
    "hashes": ("<u8", 4),
    "quality": ("u1", 0),
    "counts": ("<u2", 0),
    "colours": ("u1", COLOUR_BINS),
}
"""The type and the width (0: one number) of each column of the table. The names are those in the snapshot."""

MERGE_RATIO = 3
"""After merging, each segment is at least this many times as large as the next. So there are few segments, and few are rewritten.
"""

MAX_UNSEALED_IMAGES = 256
"""At most this many images wait in memory before they become a segment. A search makes a segment of fewer."""

MAX_REMOVED_SHARE = 0.05
"""After a snapshot, at most this share of a segment's postings belongs to removed images."""

HASH_VOTES = 1000.0
"""The score of a near hash. It is greater than that of all features together, so that such images come first."""

MIN_EXPLAINED_SHARE = 0.8
"""A query may be a part of an image that explains at least this share of its colours."""

MIN_SCORED_FEATURES = 60
"""The score is divided by the square root of the image's number of features, but at least of this number."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureEntry:
    """What the index stores of an image: name of the fingerprint's blob, PDQ hash (both in hex), quality, features, colours."""

    fingerprint: str
    hash: str
    quality: int
    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    poses: NDArray[np.uint16]
    colours: NDArray[np.uint8]


class FeatureTable:
    """The images of a shard by number. A number is never reused, since postings refer to it. Not thread-safe: the shard holds the
    lock.
    """

    def __init__(self, capacity: int = 64) -> None:
        self.size = 0
        self._ids: list[str] = []
        self._number_of: dict[str, int] = {}
        self._code_of: dict[str, int] = {}
        self._columns = {name: _empty_column(name, capacity) for name in TABLE_COLUMNS}
        self._shown = np.zeros(capacity, bool)  # whether a number holds an image that is not hidden

    def __len__(self) -> int:
        return len(self._number_of)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column for all images so far. Later additions do not change it, removals do."""
        return self._columns[name][: self.size]

    def put(self, image_id: str, channel_id: str, entry: FeatureEntry, *, shown: bool = True) -> int | None:
        """Add an image and return its number. If it is there with the same fingerprint, set only its channel and return None.

        No search finds it unless `shown`.
        """
        code = self._code_of.setdefault(channel_id, len(self._code_of))
        number = self._number_of.get(image_id)
        if number is not None and self.fingerprint(number) == entry.fingerprint:
            self._columns["codes"][number] = code
            return None
        self.drop(image_id)
        number = self._append()
        self._shown[number] = shown
        self._ids[number] = image_id
        self._number_of[image_id] = number
        blob, bits = (np.frombuffer(bytes.fromhex(digits), np.uint8) for digits in (entry.fingerprint, entry.hash))
        values = {"codes": code, "blobs": blob, "hashes": bits.view("<u8"), "quality": entry.quality, "counts": len(entry.words)}
        values["colours"] = entry.colours
        for name, value in values.items():
            self._columns[name][number] = value
        return number

    def set_shown(self, image_id: str, shown: bool) -> None:
        """Show or hide an image, if it is here."""
        number = self._number_of.get(image_id)
        if number is not None:
            self._shown[number] = shown

    def drop(self, image_id: str) -> None:
        """Erase an image if it is here. The number of its postings remains until they are gone too."""
        number = self._number_of.pop(image_id, None)
        if number is not None:
            self._ids[number] = ""
            self._shown[number] = False
            self._columns["codes"][number] = NO_CHANNEL
            for name in ("blobs", "hashes", "quality", "colours"):
                self._columns[name][number] = 0

    def clear_counts(self, first: int, alive: NDArray[np.bool_]) -> None:
        """Record that the images from number `first` on that are not `alive` (a mask by number) have no postings any more."""
        self._columns["counts"][first : len(alive)][~alive[first:]] = 0

    def id_of(self, number: int) -> str:
        return self._ids[number]

    def number_of(self, image_id: str) -> int | None:
        return self._number_of.get(image_id)

    def fingerprint(self, number: int) -> str:
        blob: NDArray[np.uint8] = self._columns["blobs"][number]
        return blob.tobytes().hex()

    def alive(self) -> NDArray[np.bool_]:
        """Return a mask of the numbers that hold an image, hidden ones included."""
        alive: NDArray[np.bool_] = self.column("codes") != NO_CHANNEL
        return alive

    def allowed(self, channels: Collection[str] | None) -> NDArray[np.bool_]:
        """Return a mask of the numbers that hold an image of one of these channels (None: of any) that is not hidden."""
        shown = self._shown[: self.size]
        if channels is None:
            return shown.copy()
        wanted = np.zeros(len(self._code_of) + 1, bool)  # NO_CHANNEL, -1, looks up the last entry
        wanted[[code for channel, code in self._code_of.items() if channel in channels]] = True
        allowed: NDArray[np.bool_] = wanted[self.column("codes")] & shown
        return allowed

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the table as arrays. An erased image has an empty id."""
        texts = {"ids": np.array(self._ids, np.bytes_), "channels": np.array(list(self._code_of), np.bytes_)}
        return texts | {name: self.column(name).copy() for name in TABLE_COLUMNS}

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]]) -> "FeatureTable":
        """Build a table from the arrays of `dump`, with all images shown. Raises ValueError if they do not fit each other."""
        ids = arrays["ids"].astype(np.str_).tolist()
        table = cls(max(64, len(ids)))
        table.size, table._ids = len(ids), ids
        table._number_of = {image_id: number for number, image_id in enumerate(ids) if image_id}
        table._code_of = {channel: code for code, channel in enumerate(arrays["channels"].astype(np.str_).tolist())}
        for name, column in table._columns.items():
            column[: len(ids)] = arrays[name]
        table._shown[list(table._number_of.values())] = True
        return table

    def _append(self) -> int:
        if self.size == len(self._columns["codes"]):
            self._columns = {
                name: np.concatenate([column, _empty_column(name, self.size)]) for name, column in self._columns.items()
            }
            self._shown = np.concatenate([self._shown, np.zeros(self.size, bool)])
        self._ids.append("")
        self.size += 1
        return self.size - 1


def _empty_column(name: str, count: int) -> NDArray[Any]:
    kind, width = TABLE_COLUMNS[name]
    return np.zeros((count, width) if width else count, kind)


def plan_merges(sizes: Sequence[int]) -> list[int]:
    """Return how many neighbouring segments of these sizes to merge into one, from the first on.

    Afterwards each segment is at least MERGE_RATIO times as large as the next.
    """
    merged: list[tuple[int, int]] = []  # size, number of segments
    for size in sizes:
        merged.append((size, 1))
        while len(merged) > 1 and merged[-2][0] < MERGE_RATIO * merged[-1][0]:
            last = merged.pop()
            merged[-1] = (merged[-1][0] + last[0], merged[-1][1] + last[1])
    return [count for _, count in merged]


class FeatureShard:
    """The features of one generation in one guild. Thread-safe.

    Votes are counted outside the lock, and the images found are checked again before they are returned.
    """

    def __init__(self, folder: Path | None = None, table: FeatureTable | None = None, segments: Sequence[Segment] = ()) -> None:
        self._folder = folder
        self._table = table or FeatureTable()
        self._segments = tuple(segments)
        self._settled = len(self._segments)
        self._unsealed: list[tuple[int, FeatureEntry]] = []
        self._lock = Lock()
        self._compacting = Lock()

    def __len__(self) -> int:
        return len(self._table)

    def add(self, image_id: str, channel_id: str, entry: FeatureEntry, *, shown: bool = True) -> None:
        """Add an image or replace it."""
        with self._lock:
            number = self._table.put(image_id, channel_id, entry, shown=shown)
            if number is not None:
                self._unsealed.append((number, entry))
            if len(self._unsealed) >= MAX_UNSEALED_IMAGES:
                self._seal()

    def set_shown(self, image_id: str, shown: bool) -> None:
        """Show an image if it is there, or hide it from every search."""
        with self._lock:
            self._table.set_shown(image_id, shown)

    def remove(self, image_id: str) -> None:
        """Erase an image if it is there. Its postings no longer count, and go when their segment is next merged."""
        with self._lock:
            self._table.drop(image_id)

    def search(self, query: IndexQuery, top: int, channels: frozenset[str] | None) -> list[Candidate]:
        """Return at most `top` images, best first: those with a near hash (at most half of them), then those with most votes."""
        with self._lock:
            self._seal()
            segments, size = self._segments, self._table.size
            hashes, quality, counts = (self._table.column(name) for name in ("hashes", "quality", "counts"))
            allowed = self._table.allowed(channels)
        bits = compute_hash_distances(hashes, quality, query.hashes)
        votes = [count_votes(segments, *each, size) for each in zip(query.words, query.signatures, query.poses, strict=True)]
        score = np.maximum(*votes) / np.sqrt(np.maximum(counts, MIN_SCORED_FEATURES))
        by_hash = _select_best(
            np.where(allowed & (bits < FAR_HASH_BITS), HASH_VOTES - bits + score / (1 + score), 0), (top + 1) // 2
        )
        score[by_hash] = 0
        by_votes = _select_best(np.where(allowed, score, 0), top - len(by_hash))
        ranked = [(number, HASH_VOTES - float(bits[number])) for number in by_hash] + [
            (each, float(score[each])) for each in by_votes
        ]
        with self._lock:
            allowed = self._table.allowed(channels)
            return [
                Candidate(self._table.id_of(each), self._table.fingerprint(each), vote_sum)
                for each, vote_sum in ranked
                if allowed[each]
            ]

    def find_by_colour(self, shares: NDArray[np.float32], top: int, channels: frozenset[str] | None) -> list[Candidate]:
        """Return at most `top` images that explain at least MIN_EXPLAINED_SHARE of a query's colours, best first."""
        with self._lock:
            allowed, colours = self._table.allowed(channels), self._table.column("colours")
        alike = compute_explained_share(shares, colours)
        best = _select_best(np.where(allowed & (alike >= MIN_EXPLAINED_SHARE), alike, 0), top)
        with self._lock:
            allowed = self._table.allowed(channels)
            return [Candidate(self._table.id_of(each), self._table.fingerprint(each)) for each in best if allowed[each]]

    def fingerprints(self, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        """Return the candidates of those of these images that are in the shard and not hidden, by id."""
        with self._lock:
            shown = self._table.allowed(None)
            numbers = {each: number for each in image_ids if (number := self._table.number_of(each)) is not None and shown[number]}
            return {each: Candidate(each, self._table.fingerprint(number)) for each, number in numbers.items()}

    def compact(self) -> tuple[dict[str, NDArray[Any]], Sequence[Segment]]:
        """Merge segments where that is due, and return the table's arrays and all segments. Images may be added while it runs."""
        with self._compacting:
            with self._lock:
                self._seal()
                segments, alive, counts = self._segments, self._table.alive(), self._table.column("counts").copy()
                self._settled = len(segments)  # sealing does not merge these segments from now on
            following = iter(segments)
            for count in plan_merges([len(segment) for segment in segments]):
                group = list(islice(following, count))
                if len(group) > 1 or _has_many_removed(group[0], alive, counts):
                    self._merge_settled(group, alive)
            return self.dump()

    def replace_segment(self, segment: Segment, saved: Segment) -> None:
        """Use the saved copy of a segment, mapped from its file, from now on."""
        with self._lock:
            self._segments = tuple(saved if each is segment else each for each in self._segments)

    def dump(self) -> tuple[dict[str, NDArray[Any]], Sequence[Segment]]:
        """Return the table's arrays and all segments as they are now."""
        with self._lock:
            self._seal()
            return self._table.dump(), self._segments

    def _merge_settled(self, group: Sequence[Segment], alive: NDArray[np.bool_]) -> None:
        """Merge some of the settled segments. New segments may be sealed behind them while this runs."""
        merged = merge_segments(group, alive, self._folder)
        with self._lock:
            at = self._segments.index(group[0])
            self._segments = (*self._segments[:at], merged, *self._segments[at + len(group) :])
            self._settled += 1 - len(group)
            self._table.clear_counts(merged.first, alive[: merged.last + 1])

    def _seal(self) -> None:
        """Make a segment of the new images, and merge the small segments before it. This is cheap: the others are left to
        `compact`.
        """
        counts = [len(entry.words) for _, entry in self._unsealed]
        if sum(counts):
            numbers = np.repeat(np.array([number for number, _ in self._unsealed], np.uint32), counts)
            features = ((entry.words, entry.signatures, entry.poses) for _, entry in self._unsealed)
            words, signatures, poses = (np.concatenate(part) for part in zip(*features, strict=True))
            fresh = seal_segment(words, signatures, numbers, poses)
            sizes = [*map(len, self._segments[self._settled :]), len(fresh)]
            count = plan_merges(sizes)[-1] - 1
            while count and sum(sizes[-count - 1 :]) >= MIN_MAPPED_POSTINGS:
                count -= 1
            if count:
                alive = self._table.alive()
                fresh = merge_segments([*self._segments[-count:], fresh], alive, self._folder)
                self._table.clear_counts(fresh.first, alive)
                self._segments = self._segments[:-count]
            self._segments = (*self._segments, fresh)
        self._unsealed = []


def _has_many_removed(segment: Segment, alive: NDArray[np.bool_], counts: NDArray[np.uint16]) -> bool:
    """Whether more than MAX_REMOVED_SHARE of a segment's postings belong to removed images."""
    part = slice(segment.first, segment.last + 1)
    removed = counts[part][~alive[part]].sum(dtype=np.int64)
    return bool(removed > MAX_REMOVED_SHARE * len(segment))


def _select_best(score: NDArray[np.floating], top: int) -> list[int]:
    """Return the numbers of the `top` highest scores above 0, highest first, ties by lowest number."""
    found = np.flatnonzero(score > 0)
    if len(found) > top:
        found = found[score[found] >= np.partition(score[found], len(found) - max(top, 1))[len(found) - max(top, 1)]]
    best: list[int] = found[np.argsort(-score[found], kind="stable")][:top].tolist()
    return best
