"""A shard of the vector index: the vectors of one generation in one guild.

A small shard compares every allowed vector, so filters and removals cost no recall. In a larger one a graph proposes the vectors to
compare. Scores are exact in both.
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
"""If at most this share of the rows is allowed, they are copied together first. Otherwise it is faster to compare all rows."""

CHUNK_ROWS = 256
"""Rows are copied or converted in chunks of this many, which stay in the CPU cache and keep memory use constant."""

COSINE_DIGITS = 6
"""Scores are rounded to this many digits, so that a picture posted twice gives a tie, and the smaller id wins."""

SCORE_SLACK = 1e-5
"""More than float32 sums and the rounding can change a score. Vectors this near to the k-th best are compared again exactly."""

GRAPH_ABOVE = 50_000
"""A shard of up to this many vectors compares all of them. Scanning 50,000 takes about 5 ms."""

GRAPH_SLOTS_PER_ADD = 4
"""While the graph does not cover the table yet, each add puts this many slots into it. That costs a few ms each time, instead of
half a minute at once.
"""

OVERFETCH_FACTOR = 20
"""The graph proposes this many times as many slots as are wanted. With 12, a filter of 50 % lost 2 of 100 neighbours among 100,000.
"""

FIRST_WIDTH = 16
"""Similar images are searched for among this many neighbours first, then among more. Most pieces are posted less often than this.
"""


def select_nearest_slots(rows: Rows, allowed: SlotNumbers, query: NDArray[np.float64], top: int) -> SlotNumbers:
    """Return the allowed slots that may be among the `top` nearest, unordered: also those about as near as the last of them."""
    if len(allowed) <= top:
        return allowed
    scores = _compute_scores(rows, allowed, query.astype(np.float32))
    last = np.partition(scores, len(scores) - top)[len(scores) - top]
    near: SlotNumbers = allowed[scores >= last - SCORE_SLACK]
    return near


def rank_exactly(ids: Sequence[str], values: AnyFloats, query: NDArray[np.float64], top: int) -> list[Neighbour]:
    """Return the `top` best by exact cosine, ties by image id.

    Each row is summed separately, so that a score does not depend on which other rows are compared.
    """
    scores = np.empty(len(ids))
    for start in range(0, len(ids), CHUNK_ROWS):
        part = values[start : start + CHUNK_ROWS].astype(np.float64)
        scores[start : start + CHUNK_ROWS] = (part * query).sum(axis=1) / np.sqrt((part * part).sum(axis=1))
    cosines = scores.round(COSINE_DIGITS).tolist()
    best = sorted(zip(cosines, ids, strict=True), key=lambda scored: (-scored[0], scored[1]))[:top]
    return [Neighbour(image_id, cosine) for cosine, image_id in best]


def _compute_scores(rows: Rows, allowed: SlotNumbers, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each allowed slot with a query of length 1, in float32 precision."""
    if rows.values.dtype == np.float32 and len(allowed) > MAX_GATHERED_SHARE * rows.size:
        all_scores: NDArray[np.float32] = np.multiply(rows.values[: rows.size] @ query, rows.scale[: rows.size], dtype=np.float32)
        return all_scores[allowed]
    scores = np.empty(len(allowed), np.float32)
    for start in range(0, len(allowed), CHUNK_ROWS):
        part = allowed[start : start + CHUNK_ROWS]
        scores[start : start + CHUNK_ROWS] = rows.values[part].astype(np.float32, copy=False) @ query * rows.scale[part]
    return scores


class VectorShard:
    """The vectors of one generation in one guild. Thread-safe.

    Scans run outside the lock, so that no add waits for one. The images found are checked again before they are returned.
    """

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

    def add(self, image_id: str, channel_id: str, vector: HalfVector, *, shown: bool = True) -> None:
        """Add an image or replace it."""
        with self._lock:
            slot = self._table.put(image_id, channel_id, vector, shown=shown)
            if self._graph is not None and slot < self._covered:
                self._graph.put(slot, vector)
            self._extend_graph()

    def set_shown(self, image_id: str, shown: bool) -> None:
        """Show an image if it is there, or hide it from every search."""
        with self._lock:
            self._table.set_shown(image_id, shown)

    def remove(self, image_id: str) -> None:
        """Erase an image if it is there."""
        with self._lock:
            slot = self._table.drop(image_id)
            if slot is not None and self._graph is not None:
                self._graph.drop(slot)

    def search(self, query: NDArray[np.float64], top: int, channels: frozenset[str] | None) -> list[Neighbour]:
        """Return at most `top` neighbours of a vector of length 1, best first.

        An image that is added, removed, hidden or shown while the search runs may be among them or not.
        """
        with self._lock:
            rows = self._table.rows
            compared = self._choose_slots(self._table.allowed(channels), query, top)
        near = select_nearest_slots(rows, compared, query, top)
        with self._lock:
            ids, values = self._table.select_current(near, channels)
        return rank_exactly(ids, values, query, top)

    def find_similar(self, image_id: str, at_least: float, top: int, channels: frozenset[str] | None) -> list[Neighbour]:
        """Return at most `top` other images with a cosine of `at_least` or more to an image, best first; none if it is not here
        or hidden.
        """
        with self._lock:
            half = self._table.find_vector(image_id)
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

    def dump_table(self) -> dict[str, NDArray[Any]]:
        """Return the table's arrays as they are now (see VectorTable.dump)."""
        with self._lock:
            return self._table.dump()

    def dump(self, graph_path: Path) -> tuple[dict[str, NDArray[Any]], int]:
        """Save the graph to `graph_path`. Return the table's arrays and how many slots the graph covers (0: no graph)."""
        with self._lock:
            if self._graph is not None:
                self._graph.save(graph_path)
            return self._table.dump(), self._covered

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], graph_path: Path | None, covered: int, graph_above: int) -> "VectorShard":
        """Build a shard from the result of `dump`. Raises ValueError if its graph does not fit its table."""
        shard = cls(VectorTable.restore(arrays), graph_above)
        if graph_path is not None:
            shard._graph = Graph.load(graph_path, shard._table, covered)
            shard._covered = covered
            if shard.approximate:
                shard._table.convert_to_float16()
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
            self._table.convert_to_float16()

    def _choose_slots(self, allowed: SlotNumbers, query: NDArray[np.float64], top: int) -> SlotNumbers:
        """Return the slots to compare: those that the graph proposes, or all allowed ones where the graph may find too few."""
        if self._graph is None or not self.approximate or len(allowed) <= MAX_GATHERED_SHARE * self._table.size:
            return allowed
        count = OVERFETCH_FACTOR * top * self._table.size // len(allowed)
        proposed = self._graph.propose(query.astype(np.float16), count)
        is_allowed = np.zeros(self._table.size, bool)
        is_allowed[allowed] = True
        kept = proposed[is_allowed[proposed]]
        return kept if len(kept) >= min(top, len(allowed)) else allowed
