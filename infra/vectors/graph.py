"""Approximate search: a usearch HNSW graph in float16 over the slots of a table.

Equal vectors share one node. In an HNSW graph many copies of one point crowd out everything else, but a picture that was posted
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
"""Keys from here on are noise: nodes that no slot uses. They overwrite dropped vectors."""


class Graph:
    """Proposes near slots. The caller computes exact scores and filters. Only one thread may use it at a time, since usearch
    reallocates.
    """

    def __init__(self, dimensions: int) -> None:
        self._index = Index(
            ndim=dimensions,
            metric="cos",
            dtype="f16",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )
        self._hash_by_slot: dict[int, int] = {}
        self._slots_by_hash: dict[int, list[int]] = {}  # the slots of equal vectors, by hash; the first slot is the key of the node
        self._noise_keys: list[int] = []

    def __len__(self) -> int:
        return len(self._hash_by_slot)

    def put(self, slot: int, vector: HalfVector) -> None:
        """Set the vector of a slot."""
        digest = hash(vector.tobytes())
        if self._hash_by_slot.get(slot) == digest:
            return
        self.drop(slot)
        slots = self._slots_by_hash.setdefault(digest, [])
        slots.append(slot)
        self._hash_by_slot[slot] = digest
        if len(slots) == 1:
            if self._noise_keys:
                self._index.remove(self._noise_keys.pop())
            self._index.add(slot, vector, threads=1)

    def drop(self, slot: int) -> None:
        """Remove a slot if it is there.

        usearch only unlinks a removed node and still saves its vector, even if the picture must be forgotten. So the node is
        overwritten with noise, which is near to nothing, and the next vector reuses it.
        """
        digest = self._hash_by_slot.pop(slot, None)
        if digest is None:
            return
        slots = self._slots_by_hash[digest]
        if slots[0] != slot:
            slots.remove(slot)
            return
        if len(slots) > 1:
            self._index.rename(slot, slots[1])
            slots.pop(0)
            return
        del self._slots_by_hash[digest]
        self._index.remove(slot)
        key = FIRST_NOISE_KEY + len(self._noise_keys)
        self._index.add(key, np.random.default_rng(key).normal(size=self._index.ndim).astype(np.float16), threads=1)
        self._noise_keys.append(key)

    def propose(self, query: HalfVector, count: int) -> SlotNumbers:
        """Return the slots of about the `count` nearest different vectors."""
        nodes = self._index.search(query, max(count, EXPANSION_SEARCH), threads=1).keys.tolist()
        return np.array(
            [slot for node in nodes if node < FIRST_NOISE_KEY for slot in self._slots_by_hash[self._hash_by_slot[node]]], np.int64
        )

    def save(self, path: Path) -> None:
        self._index.save(path)

    @classmethod
    def load(cls, path: Path, table: VectorTable, covered: int) -> "Graph":
        """Load a graph that was saved for the first `covered` slots of this table. Raises ValueError if it does not fit them."""
        graph = cls(table.dimensions)  # usearch does not save the expansions, so load into an index that has them
        graph._index.load(path)
        nodes = set(np.asarray(graph._index.keys).tolist())
        graph._noise_keys = sorted(node for node in nodes if node >= FIRST_NOISE_KEY)
        for slot in range(covered):
            vector = table.vector(slot)
            if vector is not None:
                digest = hash(vector.tobytes())
                graph._hash_by_slot[slot] = digest
                graph._slots_by_hash.setdefault(digest, []).insert(0 if slot in nodes else len(table), slot)
        if nodes != {slots[0] for slots in graph._slots_by_hash.values()} | set(graph._noise_keys):
            raise ValueError("the saved graph has other images than its table")
        return graph
