"""Measure vector search, time and recall: exact, with a graph, and one document after the other, as a bot without an index does it.

Run `python tests/benchmarks/bench_vectors.py [--quick]`. Vectors are 512 numbers, spread over 32 directions with some noise, like
those of an encoder (uniformly random ones have no near neighbours). Queries are archived vectors with noise. The times are those of
`EmbeddedIndex.search`, as the match stage calls it.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from infra.vectors.index import EmbeddedIndex

DIMENSIONS = 512
TOP = 10
FILTERS = {"none": 1.0, "50 %": 0.5, "10 %": 0.1, "1 %": 0.01}
NEVER = sys.maxsize

Search = Callable[[bytes, Sequence[str] | None], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Data:
    """`rows` (n, 512) and `queries` (m, 512) are unit float32 vectors; a channel holds one hundredth of the rows."""

    rows: np.ndarray
    channels: np.ndarray
    queries: np.ndarray


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; times in milliseconds."""

    way: str
    size: int
    kept: str
    p50: float
    p99: float
    recall: float
    adds: float | None = None


def make_data(size: int, query_count: int) -> Data:
    """Make seeded data, so that every run searches for the same."""
    random = np.random.default_rng(size)
    plane = random.normal(size=(32, DIMENSIONS)).astype(np.float32)

    def noisy(rows: np.ndarray, share: float) -> np.ndarray:
        rows = rows + share * rows.std() * random.normal(size=rows.shape).astype(np.float32)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")

    rows = noisy(random.normal(size=(size, 32)).astype(np.float32) @ plane, 0.3)
    queries = noisy(rows[random.choice(size, query_count, replace=False)], 0.5)
    return Data(rows, random.integers(0, 100, size), queries)


def index_vectors(data: Data, graph_above: int) -> tuple[Search, float]:
    """Return a search of our index, and how many vectors a second were added to it."""
    index = EmbeddedIndex(graph_above=graph_above)
    started = time.perf_counter()
    for number, row in enumerate(data.rows):
        index.add("7", "g1", str(number), str(data.channels[number]), row.tobytes())
    adds = len(data.rows) / (time.perf_counter() - started)

    async def search(query: bytes, channels: Sequence[str] | None) -> list[str]:
        return [found.image_id for found in await index.search("7", "g1", query, top=TOP, channels=channels)]

    return search, adds


def scan_documents(data: Data) -> Search:
    """Return a search that reads one document after the other, with its vector as a list of numbers, as a database returns it."""
    documents = [
        {"_id": str(number), "channel_id": str(data.channels[number]), "embedding": row.tolist()}
        for number, row in enumerate(data.rows)
    ]

    async def search(query: bytes, channels: Sequence[str] | None) -> list[str]:
        asked = np.frombuffer(query, "<f4")
        scored = []
        for document in documents:
            if channels is None or document["channel_id"] in channels:
                vector = np.array(document["embedding"])
                scored.append((float(np.dot(asked, vector) / (np.linalg.norm(asked) * np.linalg.norm(vector))), document["_id"]))
        return [image_id for _, image_id in sorted(scored, reverse=True)[:TOP]]

    return search


def measure(way: str, search: Search, data: Data, kept: str, query_count: int, adds: float | None = None) -> Result:
    """Search for one query after the other, and compare the result with the exact one."""
    share = FILTERS[kept]
    channels = None if share == 1 else [str(channel) for channel in range(round(share * 100))]
    allowed = np.flatnonzero(data.channels < share * 100)
    queries = data.queries[:query_count]
    exact = allowed[np.argpartition(-(queries @ data.rows[allowed].T), TOP, axis=1)[:, :TOP]]

    async def ask() -> tuple[list[float], int]:
        times, hits = [], 0
        await search(queries[0].tobytes(), channels)
        for query, expected in zip(queries, exact, strict=True):
            started = time.perf_counter()
            found = await search(query.tobytes(), channels)
            times.append((time.perf_counter() - started) * 1000)
            hits += len({int(image_id) for image_id in found} & set(expected.tolist()))
        return times, hits

    times, hits = asyncio.run(ask())
    p50, p99 = np.percentile(times, [50, 99]).tolist()
    return Result(way, len(data.rows), kept, p50, p99, hits / (TOP * len(queries)), adds)


def run(quick: bool) -> list[Result]:
    """Measure all ways with 2,000 vectors, and the two ways of the index with more vectors and each filter."""
    results = []
    query_count = 50 if quick else 200
    small = make_data(2_000, query_count)
    results.append(measure("one by one", scan_documents(small), small, "none", query_count // 10))
    for size in (2_000, 5_000) if quick else (2_000, 20_000, 100_000):
        data = make_data(size, query_count)
        for way, graph_above in (("numpy exact", NEVER), ("usearch graph", 0)):
            search, adds = index_vectors(data, graph_above)
            filters = FILTERS if size > 2_000 else ("none",)
            results += [measure(way, search, data, kept, query_count, adds) for kept in filters]
    return results


def main(quick: bool = False) -> None:
    """Measure and print. Quick takes a few seconds; the whole takes two to three minutes on two cores."""
    started = time.perf_counter()
    table = Table(title=f"Search for the {TOP} nearest of {DIMENSIONS}-d vectors, one at a time")
    for column in ("way", "vectors", "kept", "p50 ms", "p99 ms", f"recall@{TOP}", "adds/s"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for result in run(quick):
        adds = "" if result.adds is None or result.kept != "none" else f"{result.adds:,.0f}"
        kept = "all" if result.kept == "none" else result.kept
        table.add_row(result.way, f"{result.size:,}", kept, f"{result.p50:.2f}", f"{result.p99:.2f}", f"{result.recall:.4f}", adds)
    console = Console()
    console.print(table)
    console.print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
