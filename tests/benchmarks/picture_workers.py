"""Measure what it costs to work on pictures in worker processes instead of threads, and what a bomb costs the questions beside it.

Threads and processes take turns with the same pictures in one run. The CPU time is that of this process and of all workers.
"""

import asyncio
import io
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from contracts.ports import PictureWorkers
from infra.vision.fingerprint import fingerprint_archived, fingerprint_query
from pipeline.container import start_workers
from pipeline.settings import Settings
from stages.preprocess import _make_archived, _make_query
from tests.benchmarks.archive import draw_picture, make_settings
from tests.benchmarks.cost import read_cpu_s
from tests.support.workers import ThreadWorkers

MAX_PIXELS = 50_000_000
Work = Callable[[PictureWorkers, bytes], Awaitable[object]]


async def archive(workers: PictureWorkers, file: bytes) -> None:
    """Do the work on an archived image: its canonical picture, thumbnail and fingerprint."""
    made = await workers.run(_make_archived, file, "p1", MAX_PIXELS)
    await workers.run(fingerprint_archived, made.png)


async def ask(workers: PictureWorkers, file: bytes) -> None:
    """Do the work on a query: its reduced picture and its fingerprint."""
    made = await workers.run(_make_query, file, "p1", MAX_PIXELS)
    await workers.run(fingerprint_query, made.png)


def draw_grid(seed: int) -> bytes:
    """Draw a piece of four by four maps as PNG."""
    sheet = Image.new("RGB", (512, 512))
    for place in range(16):
        sheet.paste(Image.open(io.BytesIO(draw_picture(seed * 16 + place))), (place % 4 * 128, place // 4 * 128))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def draw_screenshot(seed: int) -> bytes:
    """Draw a screenshot of 1920x1080 pixels that shows a map, as JPEG."""
    noise = np.random.default_rng(seed).integers(60, 90, (1080, 1920, 3), dtype=np.uint8)
    shot = Image.fromarray(noise)
    shot.paste(Image.open(io.BytesIO(draw_picture(seed))).resize((512, 512), Image.Resampling.NEAREST), (600, 250))
    buffer = io.BytesIO()
    shot.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


CASES: dict[str, tuple[Callable[[int], bytes], Work]] = {
    "archive a map of 128x128": (draw_picture, archive),
    "archive a piece of 4x4 maps": (draw_grid, archive),
    "ask with a screenshot of 1920x1080": (draw_screenshot, ask),
}


@dataclass(frozen=True, slots=True)
class PictureCost:
    """Milliseconds for one picture: on the clock, and of CPU time in all processes."""

    wall_ms: float
    cpu_ms: float


async def measure(workers: PictureWorkers, work: Work, files: Sequence[bytes]) -> PictureCost:
    """Work on all files, one after the other."""
    began, cpu = time.perf_counter(), read_cpu_s()
    for file in files:
        await work(workers, file)
    return PictureCost((time.perf_counter() - began) * 1000 / len(files), (read_cpu_s() - cpu) * 1000 / len(files))


async def compare(settings: Settings, rounds: int, files_each: int) -> dict[str, list[PictureCost]]:
    """Return for each case the cost in threads and in processes, each the median over the rounds."""
    threads, processes = ThreadWorkers(), start_workers(settings, 2)
    found: dict[str, list[PictureCost]] = {}
    try:
        for name, (draw, work) in CASES.items():
            files = [draw(seed) for seed in range(files_each)]
            for workers in (threads, processes):
                await measure(workers, work, files[:3])
            costs = [[await measure(workers, work, files) for workers in (threads, processes)] for _ in range(rounds)]
            found[name] = [
                PictureCost(float(np.median([each.wall_ms for each in of])), float(np.median([each.cpu_ms for each in of])))
                for of in zip(*costs, strict=True)
            ]
    finally:
        await processes.close()
    return found


def main(quick: bool = False) -> None:
    """Measure and print."""
    rounds, files_each = (1, 3) if quick else (5, 30)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        found = asyncio.run(compare(make_settings(Path(folder)), rounds, files_each))
    table = Table("for one picture", "threads: ms", "CPU ms", "processes: ms", "CPU ms", "more CPU ms")
    for name, (before, after) in found.items():
        figures = (before.wall_ms, before.cpu_ms, after.wall_ms, after.cpu_ms, after.cpu_ms - before.cpu_ms)
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    Console().print(table)
