"""The vector search suite on the embedded index: exact, as a graph, and on the way from the one to the other."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from contracts.ports import Neighbour
from infra.vectors import index as index_module
from infra.vectors import shard as shard_module
from infra.vectors.graph import Graph
from infra.vectors.index import EmbeddedIndex
from infra.vectors.shard import GRAPH_SLOTS_PER_ADD, VectorShard
from infra.vectors.table import Rows, SlotNumbers
from tests.support.vector_search import DIMENSIONS, GENERATION, GUILD, VectorSearchSuite, ids_of, random_vectors, vector_at_cosine


@pytest.mark.parametrize("graph_above", [10_000, 0, 900, 2500], ids=["flat", "graph", "mixed", "half a graph"])
class TestEmbeddedIndex(VectorSearchSuite):
    @pytest.fixture
    def archive(self, graph_above: int) -> EmbeddedIndex:
        return EmbeddedIndex(graph_above=graph_above)


@pytest.mark.parametrize("graph_above", [10_000, 0], ids=["flat", "graph"])
class TestEmbeddedIndexInThreads(VectorSearchSuite):
    """The same with every search in a thread, as in large shards."""

    @pytest.fixture
    def archive(self, graph_above: int, monkeypatch: pytest.MonkeyPatch) -> EmbeddedIndex:
        monkeypatch.setattr(index_module, "MAX_INLINE_ROWS", -1)
        return EmbeddedIndex(graph_above=graph_above)


def build_index(count: int, graph_above: int) -> EmbeddedIndex:
    index = EmbeddedIndex(graph_above=graph_above)
    for number, vector in enumerate(random_vectors(count)):
        index.add(GUILD, GENERATION, f"{number:05}", str(number % 3), vector.tobytes())
    return index


def get_shard(index: EmbeddedIndex) -> VectorShard:
    return index.shards[GUILD, GENERATION]


async def search_all(index: EmbeddedIndex, channels: list[str] | None = None) -> list[object]:
    queries = [vector.tobytes() for vector in random_vectors(10, seed=5)]
    return [await index.search(GUILD, GENERATION, query, top=5, channels=channels) for query in queries]


def test_counts_are_by_guild_and_generation() -> None:
    index = build_index(5, graph_above=10)
    index.add(GUILD, "g2", "00000", "1", vector_at_cosine(1))
    index.remove("00000")
    assert (len(index), index.count(GUILD, GENERATION), index.count(GUILD, "g2"), index.count("nobody", "g1")) == (4, 4, 0, 0)


def test_the_position_never_goes_back() -> None:
    index = EmbeddedIndex()
    seen = []
    for sequence in (3, 7, 5):
        index.advance(sequence)
        seen.append(index.position)
    assert seen == [3, 7, 7]


async def test_flat_and_graph_search_give_exactly_the_same_answers() -> None:
    for channels in (None, ["1"], ["0", "2"]):
        flat = await search_all(build_index(900, graph_above=10_000), channels)
        assert await search_all(build_index(900, graph_above=0), channels) == flat
        assert await search_all(build_index(900, graph_above=500), channels) == flat


async def test_a_shard_turns_into_a_graph_step_by_step() -> None:
    index = build_index(100, graph_above=100)
    assert get_shard(index)._graph is None
    flat = build_index(100, graph_above=10_000)
    covered = [0]
    for number, vector in enumerate(random_vectors(60, seed=9), start=100):
        for each in (index, flat):
            each.add(GUILD, GENERATION, f"{number:05}", "1", vector.tobytes())
        covered.append(get_shard(index)._covered)
        assert await search_all(index) == await search_all(flat)
        assert get_shard(index).approximate == (covered[-1] == number + 1)
    assert max(np.diff(covered)) == GRAPH_SLOTS_PER_ADD
    assert get_shard(index).approximate
    assert get_shard(index)._table.rows.values.dtype == np.float16  # half the memory from now on


async def test_removed_images_are_skipped_while_the_graph_is_built() -> None:
    index = build_index(101, graph_above=100)
    flat = build_index(101, graph_above=10_000)
    for each in (index, flat):
        for number in range(20, 80):
            each.remove(f"{number:05}")
        for number, vector in enumerate(random_vectors(30, seed=9), start=101):
            each.add(GUILD, GENERATION, f"{number:05}", "1", vector.tobytes())
    assert get_shard(index).approximate
    assert await search_all(index) == await search_all(flat)


def test_a_replay_does_not_change_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    index = build_index(50, graph_above=0)
    dropped: list[int] = []
    monkeypatch.setattr(Graph, "drop", lambda graph, slot: dropped.append(slot))
    for number, vector in enumerate(random_vectors(50)):
        index.add(GUILD, GENERATION, f"{number:05}", "1", vector.tobytes())
    assert (len(index), dropped) == (50, [])


@pytest.mark.parametrize("graph_above", [10_000, 0])
async def test_slots_are_reused(graph_above: int) -> None:
    index = build_index(300, graph_above=graph_above)
    for number in range(200):
        index.remove(f"{number:05}")
    for number, vector in enumerate(random_vectors(200, seed=3)):
        index.add(GUILD, GENERATION, f"new{number:05}", "1", vector.tobytes())
    shard = get_shard(index)
    assert (len(index), shard._table.size) == (300, 300)
    if shard._graph is not None:
        assert len(shard._graph) == len(shard._graph._index) == 300


@pytest.mark.parametrize("graph_above", [10_000, 0])
def test_no_byte_of_a_removed_vector_stays(graph_above: int, tmp_path: Path) -> None:
    index = build_index(300, graph_above=graph_above)
    halves = random_vectors(300).astype(np.float64)
    halves = (halves / np.linalg.norm(halves, axis=1, keepdims=True)).astype(np.float16)
    for number in range(0, 300, 2):
        index.remove(f"{number:05}")
    arrays, covered = get_shard(index).dump(tmp_path / "graph")
    kept = [arrays["values"].tobytes()] + ([(tmp_path / "graph").read_bytes()] if covered else [])
    for data in kept:
        assert [halves[number].tobytes() in data for number in range(300)] == [False, True] * 150


async def test_a_filter_that_few_neighbours_pass_is_answered_exactly() -> None:
    """A third of the shard is in the wanted channel, but far from the query: the graph's nearest are all in the other channel."""
    index = EmbeddedIndex(graph_above=0)
    rows = random_vectors(1200)
    for number, vector in enumerate(rows):
        near = number % 3 != 0
        vector[0] = 3 if near else -number / 1200
        index.add(GUILD, GENERATION, str(number), "near" if near else "far", vector.tobytes())
    found = await index.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=["far"])
    cosines = {number: rows[number][0] / np.linalg.norm(rows[number]) for number in range(0, 1200, 3)}
    assert ids_of(found) == [str(number) for number in sorted(cosines, key=lambda number: -cosines[number])[:3]]


async def test_the_nearest_of_thousands_of_similar_vectors_are_found() -> None:
    """The cosines differ in the sixth digit, which is less than the error of float16 norms and float32 sums."""
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 4000)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    index = EmbeddedIndex()
    for number, row in enumerate(rows):
        index.add(GUILD, GENERATION, f"{number:04}", "1", row.astype("<f4").tobytes())
    halves = rows.astype("<f4").astype(np.float16).astype(float)
    halves /= np.linalg.norm(halves, axis=1, keepdims=True)
    for query in rows[:20].astype("<f4"):
        cosines = (halves @ (query.astype(float) / np.linalg.norm(query.astype(float)))).round(6)
        expected = sorted(range(4000), key=lambda number: (-cosines[number], number))[:10]
        found = await index.search(GUILD, GENERATION, query.tobytes(), top=10, channels=None)
        assert ids_of(found) == [f"{number:04}" for number in expected]


async def test_cosines_that_round_to_the_same_score_are_equally_near() -> None:
    index = EmbeddedIndex()
    asked, beside = (np.array([np.cos(angle), np.sin(angle)], "<f4").tobytes() for angle in (0.3, 0.3007))
    index.add(GUILD, GENERATION, "12", "1", asked)
    index.add(GUILD, GENERATION, "11", "1", beside)
    assert await index.search(GUILD, GENERATION, asked, top=1, channels=None) == [Neighbour("11", 1.0)]


@pytest.mark.parametrize("channels", [None, ["public"]])
@pytest.mark.parametrize("graph_above", [10_000, 0], ids=["flat", "graph"])
async def test_an_image_removed_during_a_search_is_not_shown(
    graph_above: int, channels: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = EmbeddedIndex(graph_above=graph_above)
    index.add(GUILD, GENERATION, "10", "public", vector_at_cosine(1))
    index.add(GUILD, GENERATION, "11", "public", vector_at_cosine(0.5))
    scan = shard_module.select_nearest_slots

    def interrupted(rows: Rows, allowed: SlotNumbers, query: np.ndarray, top: int) -> SlotNumbers:
        near = scan(rows, allowed, query, top)
        index.remove("10")
        return near

    monkeypatch.setattr(shard_module, "select_nearest_slots", interrupted)
    assert ids_of(await index.search(GUILD, GENERATION, vector_at_cosine(1), top=2, channels=channels)) == ["11"]


@pytest.mark.parametrize("graph_above", [10_000, 0], ids=["flat", "graph"])
async def test_an_image_that_reuses_a_slot_during_a_search_is_not_shown(graph_above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    index = EmbeddedIndex(graph_above=graph_above)
    index.add(GUILD, GENERATION, "10", "public", vector_at_cosine(1))
    index.add(GUILD, GENERATION, "11", "public", vector_at_cosine(0.5))
    scan = shard_module.select_nearest_slots

    def interrupted(rows: Rows, allowed: SlotNumbers, query: np.ndarray, top: int) -> SlotNumbers:
        near = scan(rows, allowed, query, top)
        index.remove("10")
        index.add(GUILD, GENERATION, "12", "secret", vector_at_cosine(1))  # a channel that did not exist when the search began
        return near

    monkeypatch.setattr(shard_module, "select_nearest_slots", interrupted)
    assert ids_of(await index.search(GUILD, GENERATION, vector_at_cosine(1), top=2, channels=["public"])) == ["11"]


async def test_a_long_search_blocks_neither_the_event_loop_nor_an_add(monkeypatch: pytest.MonkeyPatch) -> None:
    index = build_index(50, graph_above=10_000)
    scan, begun, go_on = shard_module.select_nearest_slots, threading.Event(), threading.Event()

    def slow(rows: Rows, allowed: SlotNumbers, query: np.ndarray, top: int) -> SlotNumbers:
        begun.set()
        assert go_on.wait(20)
        return scan(rows, allowed, query, top)

    monkeypatch.setattr(index_module, "MAX_INLINE_ROWS", 49)
    monkeypatch.setattr(shard_module, "select_nearest_slots", slow)
    search = asyncio.create_task(index.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None))
    assert await asyncio.to_thread(begun.wait, 20)
    index.add(GUILD, GENERATION, "99999", "1", vector_at_cosine(0.999))
    for number, vector in enumerate(random_vectors(200, seed=4)):
        index.add(GUILD, GENERATION, f"grown{number:05}", "1", vector.tobytes())  # beyond the capacity at the start of the scan
    assert not search.done()
    go_on.set()
    assert len(await search) == 3
    assert ids_of(await index.search(GUILD, GENERATION, vector_at_cosine(1), top=1, channels=None)) == ["99999"]


def test_many_threads_can_search_while_the_index_changes() -> None:
    """Four threads search while the shard grows, shrinks and turns into a graph."""
    index = build_index(600, graph_above=700)
    shard = get_shard(index)
    queries = random_vectors(50, seed=5).astype(np.float64)
    done = threading.Event()

    def search() -> int:
        turn = 0
        while not done.is_set():
            found = shard.search(queries[turn % 50], 5, frozenset({"0", "1", "2"}))
            assert len(found) == 5
            assert not any(neighbour.image_id.startswith("secret") for neighbour in found)
            turn += 1
        return turn

    with ThreadPoolExecutor(4) as threads:
        searching = [threads.submit(search) for _ in range(4)]
        try:
            for number, vector in enumerate(random_vectors(900, seed=6)):
                index.add(GUILD, GENERATION, f"secret{number}", "secret", vector.tobytes())
                if number % 2:
                    index.remove(f"secret{number - 1}")
                if number % 10 == 0:
                    index.add(GUILD, GENERATION, f"more{number}", "1", vector.tobytes())
        finally:
            done.set()
        assert all(turns.result(20) for turns in searching)
    assert shard.approximate


def test_only_the_direction_of_a_vector_counts() -> None:
    index = EmbeddedIndex()
    index.add(GUILD, GENERATION, "10", "1", np.full(DIMENSIONS, 1000, "<f4").tobytes())
    found = asyncio.run(index.search(GUILD, GENERATION, np.full(DIMENSIONS, 1e-3, "<f4").tobytes(), top=1, channels=None))
    assert found[0].score == 1.0
