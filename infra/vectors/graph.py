"""Approximate search: a usearch HNSW graph in float16 over the slots of a table.

Equal vectors share one node: in such a graph many copies of one point crowd out everything else, and a picture that was posted
three hundred times must still show its first post.
"""

from pathlib import Path

import numpy as np
from usearch.index import Index

from infra.vectors.table import HalfVector, SlotNumbers, VectorTable

CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 64

FIRST_NOISE_KEY = 1 << 62
"""Keys from here on are nodes that no slot uses: what a dropped vector was overwritten with."""


class Graph:
    """Proposes near slots; exact scores and filters are its caller's. Used by one thread at a time, since usearch reallocates."""

    def __init__(self, dimensions: int) -> None:
        self._index = Index(
            ndim=dimensions,
            metric="cos",
            dtype="f16",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )
        self._hash_of: dict[int, int] = {}
        self._families: dict[int, list[int]] = {}  # the slots of one vector, by its hash; the node has the first one's number
        self._noise: list[int] = []

    def __len__(self) -> int:
        return len(self._hash_of)

    def put(self, slot: int, vector: HalfVector) -> None:
        """Set the vector of a slot."""
        digest = hash(vector.tobytes())
        if self._hash_of.get(slot) == digest:
            return
        self.drop(slot)
        family = self._families.setdefault(digest, [])
        family.append(slot)
        self._hash_of[slot] = digest
        if len(family) == 1:
            if self._noise:
                self._index.remove(self._noise.pop())
            self._index.add(slot, vector, threads=1)

    def drop(self, slot: int) -> None:
        """Forget a slot if it is there.

        usearch only unlinks what it removes and goes on saving it, forgotten picture or not. So the node is overwritten with noise,
        which is near to nothing, and used again by the next vector.
        """
        digest = self._hash_of.pop(slot, None)
        if digest is None:
            return
        family = self._families[digest]
        if family[0] != slot:
            family.remove(slot)
            return
        if len(family) > 1:
            self._index.rename(slot, family[1])
            family.pop(0)
            return
        del self._families[digest]
        self._index.remove(slot)
        key = FIRST_NOISE_KEY + len(self._noise)
        self._index.add(key, np.random.default_rng(key).normal(size=self._index.ndim).astype(np.float16), threads=1)
        self._noise.append(key)

    def propose(self, query: HalfVector, count: int) -> SlotNumbers:
        """The slots of about the `count` nearest different vectors."""
        nodes = self._index.search(query, max(count, EXPANSION_SEARCH), threads=1).keys.tolist()
        return np.array(
            [slot for node in nodes if node < FIRST_NOISE_KEY for slot in self._families[self._hash_of[node]]], np.int64
        )

    def save(self, path: Path) -> None:
        self._index.save(path)

    @classmethod
    def load(cls, path: Path, table: VectorTable, covered: int) -> "Graph":
        """The graph saved over the first `covered` slots of this table. Raises ValueError when it does not fit them."""
        graph = cls(table.dimensions)  # usearch saves no expansions: loading into a fresh index keeps its own
        graph._index.load(path)
        nodes = set(np.asarray(graph._index.keys).tolist())
        graph._noise = sorted(node for node in nodes if node >= FIRST_NOISE_KEY)
        for slot in range(covered):
            vector = table.vector(slot)
            if vector is not None:
                digest = hash(vector.tobytes())
                graph._hash_of[slot] = digest
                graph._families.setdefault(digest, []).insert(0 if slot in nodes else len(table), slot)
        if nodes != {family[0] for family in graph._families.values()} | set(graph._noise):
            raise ValueError("the saved graph holds other images than the table beside it")
        return graph
