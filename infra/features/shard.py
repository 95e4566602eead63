"""A shard: the features of one generation in one guild. Segments that never change, and the newest images in memory behind them."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.ports import Candidate
from infra.features.asked import Asked
from infra.features.hashes import FAR, distances
from infra.features.segment import MAPPED_FROM, Segment, merged, sealed
from infra.features.table import Entry, Table
from infra.features.tiers import groups
from infra.features.voting import votes
from infra.vision.colours import explained

SEALED_AT = 256
"""Images that wait in memory, at most, until they become a segment; a search makes one of fewer."""

SWEPT_AT = 0.05
"""The share of a segment's postings that removed images may keep after a snapshot."""

HASH_VOTES = 1000.0
"""What a near hash is worth: more than all features, so that such images come first."""

LEAST_EXPLAINED = 0.8
"""The share of a question's colours that an image accounts for, from which on the question may be a part of it."""

FEW_FEATURES = 60
"""Images with fewer features are not preferred for that."""


class Shard:
    """Thread-safe. Votes are counted outside the lock, and what they found is checked again before it is told."""

    def __init__(self, folder: Path | None = None, table: Table | None = None, segments: Sequence[Segment] = ()) -> None:
        self._folder = folder
        self._table = table or Table()
        self._segments = tuple(segments)
        self._settled = len(self._segments)
        self._new: list[tuple[int, Entry]] = []
        self._lock = Lock()
        self._tidying = Lock()

    def __len__(self) -> int:
        return len(self._table)

    def add(self, image_id: str, channel_id: str, entry: Entry) -> None:
        """Put an image in, or in place of what it was."""
        with self._lock:
            number = self._table.put(image_id, channel_id, entry)
            if number is not None:
                self._new.append((number, entry))
            if len(self._new) >= SEALED_AT:
                self._seal()

    def remove(self, image_id: str) -> None:
        """Erase an image if it is there. Its postings answer no more, and are gone when their segment is next merged."""
        with self._lock:
            self._table.drop(image_id)

    def search(self, asked: Asked, top: int, channels: frozenset[str] | None) -> list[Candidate]:
        """At most `top` images, best first: those of a near hash, no more than half of them, then those that features speak for."""
        with self._lock:
            self._seal()
            segments, size = self._segments, self._table.size
            hashes, quality, counts = (self._table.column(name) for name in ("hashes", "quality", "counts"))
            allowed = self._table.allowed(channels)
        bits = distances(hashes, quality, asked.hashes)
        spoken = [votes(segments, *each, size) for each in zip(asked.words, asked.signatures, asked.poses, strict=True)]
        score = np.maximum(*spoken) / np.sqrt(np.maximum(counts, FEW_FEATURES))
        by_hash = _best(np.where(allowed & (bits < FAR), HASH_VOTES - bits + score / (1 + score), 0), (top + 1) // 2)
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

    def coloured(self, shares: NDArray[np.float32], top: int, channels: frozenset[str] | None) -> list[Candidate]:
        """At most `top` images that may account for LEAST_EXPLAINED of a question's colours, best first."""
        with self._lock:
            allowed, colours = self._table.allowed(channels), self._table.column("colours")
        alike = explained(shares, colours)
        best = _best(np.where(allowed & (alike >= LEAST_EXPLAINED), alike, 0), top)
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
            for count in groups([len(segment) for segment in segments]):
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
        by = merged(group, alive, self._folder)
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
            fresh = sealed(words, signatures, numbers, poses)
            sizes = [*map(len, self._segments[self._settled :]), len(fresh)]
            count = groups(sizes)[-1] - 1
            while count and sum(sizes[-count - 1 :]) >= MAPPED_FROM:
                count -= 1
            if count:
                alive = self._table.allowed(None)
                fresh = merged([*self._segments[-count:], fresh], alive, self._folder)
                self._table.swept(fresh.first, alive)
                self._segments = self._segments[:-count]
            self._segments = (*self._segments, fresh)
        self._new = []


def _swept_out(segment: Segment, alive: NDArray[np.bool_], counts: NDArray[np.uint16]) -> bool:
    """Whether more of a segment's postings than SWEPT_AT are of removed images."""
    part = slice(segment.first, segment.last + 1)
    gone = counts[part][~alive[part]].sum(dtype=np.int64)
    return bool(gone > SWEPT_AT * len(segment))


def _best(score: NDArray[np.floating], top: int) -> list[int]:
    """The numbers of the `top` highest scores above 0, the highest first, then the lowest number."""
    found = np.flatnonzero(score > 0)
    if len(found) > top:
        found = found[score[found] >= np.partition(score[found], len(found) - max(top, 1))[len(found) - max(top, 1)]]
    best: list[int] = found[np.argsort(-score[found], kind="stable")][:top].tolist()
    return best
