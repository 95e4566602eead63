"""The vector index agrees with a simple model after any sequence of adds, removals, turns, searches, saves and restores."""

import asyncio
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from infra.vectors.index import EmbeddedIndex
from infra.vectors.snapshot import load, save

GUILDS = st.sampled_from(["7", "8"])
GENERATIONS = st.sampled_from(["g1", "g2"])
IMAGES = st.integers(0, 40).map(str)
CHANNELS = st.sampled_from(["1", "2", "3"])
FILTERS = st.none() | st.sets(st.sampled_from(["1", "2", "3", "4"]))
VECTORS = st.lists(st.integers(-2, 2), min_size=4, max_size=4).filter(any)  # few enough that pictures repeat and tie
Key = tuple[str, str]


def to_bytes(vector: list[int]) -> bytes:
    return np.array(vector, "<f4").tobytes()


def to_stored(vector: list[int]) -> np.ndarray:
    """Return what the index stores: the vector of length 1 in float16."""
    exact = np.array(vector, float)
    return (exact / np.linalg.norm(exact)).astype(np.float16).astype(float)


class IndexAndModel(RuleBasedStateMachine):
    @initialize(graph_above=st.sampled_from([0, 6, 1000]))
    def begin(self, graph_above: int) -> None:
        self.graph_above = graph_above
        self.index = EmbeddedIndex(graph_above=graph_above)
        self.model: dict[Key, dict[str, tuple[str, np.ndarray]]] = {}
        self.removed: set[str] = set()
        self.turns: dict[str, tuple[int, bool]] = {}

    @rule(guild=GUILDS, generation=GENERATIONS, image=IMAGES, channel=CHANNELS, vector=VECTORS)
    def add(self, guild: str, generation: str, image: str, channel: str, vector: list[int]) -> None:
        self.index.add(guild, generation, image, channel, to_bytes(vector))
        if image not in self.removed:
            self.model.setdefault((guild, generation), {})[image] = (channel, to_stored(vector))

    @rule(vectors=st.lists(st.tuples(IMAGES, CHANNELS, VECTORS), min_size=5, max_size=20))
    def add_many(self, vectors: list[tuple[str, str, list[int]]]) -> None:
        for image, channel, vector in vectors:
            self.add("7", "g1", image, channel, vector)

    @rule(image=IMAGES)
    def remove(self, image: str) -> None:
        self.index.remove(image)
        self.removed.add(image)
        for images in self.model.values():
            images.pop(image, None)

    @rule(image=IMAGES, turn=st.integers(1, 3), shown=st.booleans())
    def hide_or_show(self, image: str, turn: int, shown: bool) -> None:
        (self.index.show if shown else self.index.hide)(image, turn)
        self.turns[image] = max(self.turns.get(image, (0, True)), (turn, shown))

    def is_shown(self, image: str) -> bool:
        return self.turns.get(image, (0, True))[1]

    @rule()
    def restart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save(self.index, Path(folder))
            restored = load(Path(folder), graph_above=self.graph_above)
        assert restored is not None
        self.index = restored

    @rule(guild=GUILDS, generation=GENERATIONS, vector=VECTORS, top=st.integers(1, 10), channels=FILTERS)
    def search(self, guild: str, generation: str, vector: list[int], top: int, channels: set[str] | None) -> None:
        query = np.array(vector) / np.linalg.norm(vector)
        images = self.model.get((guild, generation), {})
        cosines = {
            image: float(min(1.0, np.round(row @ query / np.linalg.norm(row), 6)))
            for image, (channel, row) in images.items()
            if (channels is None or channel in channels) and self.is_shown(image)
        }
        expected = sorted(cosines.items(), key=lambda item: (-item[1], item[0]))[:top]
        found = asyncio.run(self.index.search(guild, generation, to_bytes(vector), top=top, channels=channels))
        assert [(neighbour.image_id, neighbour.score) for neighbour in found] == expected

    @rule(guild=GUILDS, image=IMAGES, at_least=st.sampled_from([-1.0, 0.5, 1.0]), top=st.integers(1, 30), channels=FILTERS)
    def find_similar(self, guild: str, image: str, at_least: float, top: int, channels: set[str] | None) -> None:
        images = self.model.get((guild, "g1"), {})
        own = images[image][1] if image in images and self.is_shown(image) else None
        cosines = {
            other: float(np.round(row @ own / np.linalg.norm(row) / np.linalg.norm(own), 6))
            for other, (channel, row) in images.items()
            if own is not None and other != image and (channels is None or channel in channels) and self.is_shown(other)
        }
        alike = [(other, cosine) for other, cosine in cosines.items() if cosine >= at_least]
        found = asyncio.run(self.index.find_similar(guild, "g1", image, at_least=at_least, top=top, channels=channels))
        assert [(neighbour.image_id, neighbour.score) for neighbour in found] == sorted(
            alike, key=lambda each: (-each[1], each[0])
        )[:top]

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "index"):
            assert len(self.index) == sum(map(len, self.model.values()))


IndexAndModel.TestCase.settings = settings(max_examples=40, stateful_step_count=30, derandomize=True)
TestIndexAndModel = IndexAndModel.TestCase
