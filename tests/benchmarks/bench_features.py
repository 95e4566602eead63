"""Measure the feature index: bytes and milliseconds by size, and how often the true image is among the candidates.

Run `python -m tests.benchmarks --only features`, or `python -m tests.benchmarks.bench_features [--quick] [FOLDER]` with a folder of
pictures to archive in addition to the procedural ones. The queries are screenshots that show real pieces small, turned, at an angle
and some mirrored, in front of another picture. All other images of an archive are fake: they have altered features of the real
ones. Use one core (OMP_NUM_THREADS=1) to get the figures in the documentation.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from infra.features.index import FeatureIndex, build_entry
from infra.features.scoring import IndexQuery, build_index_query
from infra.features.shard import FeatureEntry, FeatureShard
from infra.features.snapshot import load, save
from infra.sandbox.art.canvas import quantise
from infra.sandbox.art.generate import MAP_PX, draw_piece
from infra.vision.features import MAX_FEATURES_ONE_MAP, MAX_QUERY_FEATURES, assign_words, extract_features
from infra.vision.prints import Print, pack_print

TOP = 16
FRAME = (640, 360)
ALTERED = 0.38
"""The share of bits that differ between a feature of a fake image and the real feature that it was made from."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    images: int
    bytes_on_disk: float
    adds: float
    p50: float
    p95: float
    words_ms: float
    recall_first: float
    recall: float


def make_pictures(count: int, folder: Path | None, random: np.random.Generator) -> list[Pixels]:
    """Return pieces to archive: procedural ones, and the pictures of a folder in map colours."""
    paths = sorted(folder.glob("*.[jp][pn]g"))[: count // 2] if folder else []
    made = [np.asarray(draw_piece(9_000_000 + seed)) for seed in range(count - len(paths))]
    for path in paths:
        maps = int(random.integers(1, 4))
        with Image.open(path) as opened:
            small = opened.convert("RGB").resize((maps * MAP_PX, max(1, round(maps * 0.75)) * MAP_PX), Image.Resampling.LANCZOS)
        made.append(np.asarray(quantise(small, "staircase", dither=bool(random.random() < 0.5))))
    return made


def make_screenshot(picture: Pixels, behind: Pixels, random: np.random.Generator) -> Pixels:
    """Draw a frame that shows a picture on 1/8 to 1/2 of its area. One in five is mirrored, one in five turned by 90 degrees."""
    lot = random.random()
    shown = picture[:, ::-1] if lot < 0.2 else np.rot90(picture) if lot < 0.4 else picture
    height, width = shown.shape[:2]
    side = np.sqrt(random.uniform(0.12, 0.5) * FRAME[0] * FRAME[1] / (width * height))
    side = min(side, 0.95 * FRAME[0] / width, 0.95 * FRAME[1] / height)
    box = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (width, height)
    corners = box * side + random.uniform(-0.12, 0.12, (4, 2)) * side * min(width, height)
    corners += random.uniform(0, 1, 2) * np.maximum(np.array(FRAME) - side * np.array([width, height]), 0)
    turn = cv2.getPerspectiveTransform(box.astype(np.float32), corners.astype(np.float32))
    frame = cv2.GaussianBlur(cv2.resize(np.ascontiguousarray(behind), FRAME), (0, 0), 1.0)
    cv2.warpPerspective(np.ascontiguousarray(shown), turn, FRAME, frame, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    frame = cv2.GaussianBlur(frame, (0, 0), random.uniform(0.3, 1.2)) * random.uniform(0.55, 1.1) + random.normal(0, 3, frame.shape)
    coded = cv2.imencode(".jpg", frame.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(50, 90))])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def make_print(picture: Pixels, most: int, seed: int) -> Print:
    """Make a print with only what this benchmark needs, and with a random hash."""
    points, descriptors = extract_features(picture, most)
    digest = np.random.default_rng(seed).bytes(32)
    thumb = np.zeros((64, 64, 3), np.uint8)
    return Print(picture.shape[1::-1], points, descriptors, *assign_words(descriptors), digest, 100, thumb)


def make_entry(made: Print) -> FeatureEntry:
    return build_entry(made.hash.hex(), made.hash.hex(), made.quality, pack_print(made))


def make_fake_entries(real: list[FeatureEntry], count: int, random: np.random.Generator) -> Iterator[FeatureEntry]:
    """Make entries of images whose features are similar to real ones, but not equal."""
    features = ((each.words, each.signatures, each.poses) for each in real)
    words, signatures, poses = (np.concatenate(part) for part in zip(*features, strict=True))
    for _ in range(count):
        some = random.integers(0, len(words), MAX_FEATURES_ONE_MAP)
        noise = np.packbits(random.random((MAX_FEATURES_ONE_MAP, 64)) < ALTERED, axis=1).view("<u8")[:, 0]
        name = random.bytes(32).hex()
        yield FeatureEntry(name, name, 100, words[some], signatures[some] ^ noise, poses[some], real[0].colours)


def measure(size: int, real: list[FeatureEntry], queries: list[IndexQuery], words_ms: float, folder: Path) -> Result:
    """Fill an index with the real images among fake ones, save and load it, and search it."""
    random = np.random.default_rng(size)
    index = FeatureIndex(folder)
    started = time.perf_counter()
    places = set(random.choice(size, len(real), replace=False).tolist())
    mine, others = iter(enumerate(real)), make_fake_entries(real, size - len(real), random)
    taken = 0.0
    for number in range(size):
        name, each = next(mine) if number in places else (f"other{number}", next(others))
        before = time.perf_counter()
        index.add("7", "g1", str(name), str(number % 5), each)
        taken += time.perf_counter() - before
    started = time.perf_counter()
    save(index, folder)
    taken += time.perf_counter() - started
    on_disk = sum(path.stat().st_size for path in folder.iterdir())
    restored = load(folder)
    assert restored is not None
    shard: FeatureShard = restored.shards["7", "g1"]
    ranks, times = [], []
    shard.search(queries[0], TOP, None)
    for number, query in enumerate(queries):
        before = time.perf_counter()
        found = [candidate.image_id for candidate in shard.search(query, TOP, None)]
        times.append((time.perf_counter() - before) * 1000)
        ranks.append(found.index(str(number)) if str(number) in found else TOP)
    p50, p95 = np.percentile(times, [50, 95]).tolist()
    recall = [float(np.mean(np.array(ranks) < rank)) for rank in (1, TOP)]
    return Result(size, on_disk / size, size / taken, p50, p95, words_ms, *recall)


def main(quick: bool = False, folder: Path | None = None) -> None:
    """Measure and print. Quick takes half a minute; the whole takes about five minutes and 600 MB of temporary files."""
    cv2.setNumThreads(1)
    random = np.random.default_rng(11)
    archived = make_pictures(60 if quick else 300, folder, random)
    real = [make_entry(make_print(picture, MAX_FEATURES_ONE_MAP, seed)) for seed, picture in enumerate(archived)]
    queries, spent = [], 0.0
    for number, picture in enumerate(archived):
        seen = make_print(
            make_screenshot(picture, archived[(number * 7 + 3) % len(archived)], random), MAX_QUERY_FEATURES, 10**6 + number
        )
        before = time.perf_counter()
        queries.append(build_index_query(seen))
        spent += time.perf_counter() - before
    table = Table(title=f"Candidates of a screenshot, {np.mean([each.words[0].size for each in queries]):.0f} words looked up each")
    for column in ("images", "bytes/image", "adds/s", "vote p50 ms", "p95 ms", "words ms", "recall@1", f"recall@{TOP}"):
        table.add_column(column, justify="right", no_wrap=True)
    for size in (2_000,) if quick else (2_000, 20_000, 100_000):
        with tempfile.TemporaryDirectory() as temporary:
            got = measure(size, real, queries, spent * 1000 / len(queries), Path(temporary))
        figures = (f"{got.images:,}", f"{got.bytes_on_disk:,.0f}", f"{got.adds:,.0f}", f"{got.p50:.0f}", f"{got.p95:.0f}")
        table.add_row(*figures, f"{got.words_ms:.0f}", f"{got.recall_first:.3f}", f"{got.recall:.3f}")
    console = Console()
    console.print(table)
    console.print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB of memory at most")


if __name__ == "__main__":
    rest = [each for each in sys.argv[1:] if each != "--quick"]
    main(quick="--quick" in sys.argv[1:], folder=Path(rest[0]) if rest else None)
