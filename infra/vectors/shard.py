"""A shard: the vectors of one generation in one guild. Exact while it is small, a graph proposes what to compare above.

Exact search: every allowed vector is compared, so that filters and removals cost no recall.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.ports import Neighbour
from infra.vectors.graph import Graph
from infra.vectors.table import AnyFloats, HalfVector, Rows, SlotNumbers, VectorTable

MAX_GATHERED_SHARE = 0.1
"""Up to this share of the rows it is quicker to copy the allowed ones together than to compare all."""

CHUNK_ROWS = 256
"""Rows that are copied or widened at once: they stay in the processor's cache, and memory stays flat."""

COSINE_DIGITS = 6
"""Scores are rounded to this, so that one picture posted twice ties, and the earlier id wins."""

SCORE_SLACK = 1e-5
"""More than float32 sums and the rounding can move a score: what lies this near to the k-th best is compared again exactly."""

GRAPH_ABOVE = 50_000
"""Vectors up to which a shard compares all of them; scanning that many takes about 5 ms."""

GRAPH_SLOTS_PER_ADD = 4
"""Slots that each add brings into a graph that does not cover the table yet: a few ms an add, instead of half a minute at once."""

OVERFETCH_FACTOR = 20
"""The graph is asked for this many times what would do: at 12, a filter of 50 % lost two of a hundred neighbours among 100,000."""

FIRST_WIDTH = 16
"""Most pieces are posted less often than this, so the images like one are first sought among so many, then among more."""


def select_nearest_slots(rows: Rows, allowed: SlotNumbers, query: NDArray[np.float64], top: int) -> SlotNumbers:
    """The allowed slots that can be among the `top` nearest, in no order: those, and all that are as near as the last of them."""
    if len(allowed) <= top:
        return allowed
    scores = _scores(rows, allowed, query.astype(np.float32))
    last = np.partition(scores, len(scores) - top)[len(scores) - top]
    near: SlotNumbers = allowed[scores >= last - SCORE_SLACK]
    return near


def rank_exactly(ids: Sequence[str], values: AnyFloats, query: NDArray[np.float64], top: int) -> list[Neighbour]:
    """The `top` best by exact cosine, ties in order of image id. Summed row by row, so a score does not depend on the company."""
    scores = np.empty(len(ids))
    for start in range(0, len(ids), CHUNK_ROWS):
        part = values[start : start + CHUNK_ROWS].astype(np.float64)
        scores[start : start + CHUNK_ROWS] = (part * query).sum(axis=1) / np.sqrt((part * part).sum(axis=1))
    cosines = scores.round(COSINE_DIGITS).tolist()
    best = sorted(zip(cosines, ids, strict=True), key=lambda scored: (-scored[0], scored[1]))[:top]
    return [Neighbour(image_id, cosine) for cosine, image_id in best]


def _scores(rows: Rows, allowed: SlotNumbers, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of each allowed slot to a unit query, within float32."""
    if rows.values.dtype == np.float32 and len(allowed) > MAX_GATHERED_SHARE * rows.size:
        everything: NDArray[np.float32] = np.multiply(rows.values[: rows.size] @ query, rows.scale[: rows.size], dtype=np.float32)
        return everything[allowed]
    scores = np.empty(len(allowed), np.float32)
    for start in range(0, len(allowed), CHUNK_ROWS):
        part = allowed[start : start + CHUNK_ROWS]
        scores[start : start + CHUNK_ROWS] = rows.values[part].astype(np.float32, copy=False) @ query * rows.scale[part]
    return scores


class VectorShard:
    """Thread-safe. Scans run outside the lock, so that no add waits for one; what they found is checked again before it is told."""

    def __init__(self, table: VectorTable, graph_above: int = GRAPH_ABOVE) -> None:
        self._table = table
        self._graph: Graph | None = None
        self._covered = 0  # slots below it are in the graph
        self._graph_above = graph_above
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._table)

    @property
    def dimensions(self) -> int:
        return self._table.dimensions

    @property
    def approximate(self) -> bool:
        """Whether the graph covers every vector and is used."""
        return self._graph is not None and self._covered == self._table.size

    def add(self, image_id: str, channel_id: str, vector: HalfVector) -> None:
        """Put an image in, or in place of what it was."""
        with self._lock:
            slot = self._table.put(image_id, channel_id, vector)
            if self._graph is not None and slot < self._covered:
                self._graph.put(slot, vector)
            self._extend_graph()

    def remove(self, image_id: str) -> None:
        """Erase an image if it is there."""
        with self._lock:
            slot = self._table.drop(image_id)
            if slot is not None and self._graph is not None:
                self._graph.drop(slot)

    def search(self, query: NDArray[np.float64], top: int, channels: frozenset[str] | None) -> list[Neighbour]:
        """At most `top` neighbours of a unit vector, best first. An image added or removed meanwhile may be in it or not."""
        with self._lock:
            rows = self._table.rows
            compared = self._worth_comparing(self._table.allowed(channels), query, top)
        near = select_nearest_slots(rows, compared, query, top)
        with self._lock:
            ids, values = self._table.still(near, channels)
        return rank_exactly(ids, values, query, top)

    def find_similar(self, image_id: str, at_least: float, top: int, channels: frozenset[str] | None) -> list[Neighbour]:
        """At most `top` neighbours of an image as similar as `at_least`, best first, itself left out; none if it is not here."""
        with self._lock:
            half = self._table.vector_of(image_id)
        if half is None:
            return []
        query = half.astype(np.float64)
        query /= np.linalg.norm(query)
        width = min(FIRST_WIDTH, top)
        while True:
            nearest = self.search(query, width + 1, channels)
            alike = [found for found in nearest if found.score >= at_least and found.image_id != image_id]
            if width == top or len(nearest) <= width or nearest[-1].score < at_least:
                return alike[:top]
            width = min(4 * width, top)

    def table(self) -> dict[str, NDArray[Any]]:
        """The table's arrays (see Table.dump) as they are now."""
        with self._lock:
            return self._table.dump()

    def dump(self, graph_path: Path) -> tuple[dict[str, NDArray[Any]], int]:
        """The table's arrays, and how many slots the graph written to `graph_path` covers: 0 when there is none."""
        with self._lock:
            if self._graph is not None:
                self._graph.save(graph_path)
            return self._table.dump(), self._covered

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], graph_path: Path | None, covered: int, graph_above: int) -> "VectorShard":
        """The shard that `dump` described. Raises ValueError when its graph does not fit its table."""
        shard = cls(VectorTable.restore(arrays), graph_above)
        if graph_path is not None:
            shard._graph = Graph.load(graph_path, shard._table, covered)
            shard._covered = covered
            if shard.approximate:
                shard._table.narrow()
        return shard

    def _extend_graph(self) -> None:
        if self._graph is None:
            if len(self._table) <= self._graph_above:
                return
            self._graph = Graph(self._table.dimensions)
        for slot in range(self._covered, min(self._covered + GRAPH_SLOTS_PER_ADD, self._table.size)):
            vector = self._table.vector(slot)
            if vector is not None:
                self._graph.put(slot, vector)
            self._covered = slot + 1
        if self.approximate:
            self._table.narrow()

    def _worth_comparing(self, allowed: SlotNumbers, query: NDArray[np.float64], top: int) -> SlotNumbers:
        """All allowed slots, or those that the graph proposes where it can be trusted to find enough of them."""
        if self._graph is None or not self.approximate or len(allowed) <= MAX_GATHERED_SHARE * self._table.size:
            return allowed
        count = OVERFETCH_FACTOR * top * self._table.size // len(allowed)
        proposed = self._graph.propose(query.astype(np.float16), count)
        may_be_shown = np.zeros(self._table.size, bool)
        may_be_shown[allowed] = True
        kept = proposed[may_be_shown[proposed]]
        return kept if len(kept) >= min(top, len(allowed)) else allowed
