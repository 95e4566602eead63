"""Measure how much of the model's own speed the whole archive lane keeps.

There are four ways, in interleaved rounds, so that a change of the machine's load affects all of them: the vision tower alone on
prepared pictures in full batches; the same with CLIP's own preprocessing from PNG, in turn in one thread; the encoder with its
micro-batcher; and the whole pipeline, from posts on the log to the catalogue. All use the same pictures, batch size and threads.

On a CPU the model has no core of its own, and fingerprints need one too. So the share cannot exceed the model's part of all CPU
time, which is the last column.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from contracts.ports import Encoder
from contracts.stage import Stage
from infra.clip.calibration import choose_calibration
from infra.clip.encoder import OpenClipEncoder
from infra.clip.loading import Tower, load_tower
from pipeline.process import Process, open_log_server, open_process
from pipeline.settings import Settings
from stages import download, embed, fingerprint, persist, preprocess
from tests.benchmarks.archive import count_succeeded, draw_picture, make_settings, post_pictures, store_pictures, wait_until_done
from tests.benchmarks.cost import Cost, Meter

CHAIN: list[Stage[Any]] = [download.STAGE, preprocess.STAGE, fingerprint.STAGE, embed.STAGE, persist.STAGE]
FACTS_PERSISTED = 5
TARGET = 0.9

Way = Callable[[list[int]], Awaitable[None]]
"""A way to embed the pictures of these seeds."""


def open_loaded_encoder(tower: Tower, settings: Settings) -> OpenClipEncoder:
    """Return the encoder that a process opens with these settings, for a tower that is loaded already."""
    encoder = Encoder(tower.name, tower.digest, tower.dimensions, False, choose_calibration(settings.model, trained=False))
    return OpenClipEncoder(tower, encoder, settings.batch_size, settings.batch_wait_ms)


def run_tower(tower: Tower, batch: int) -> Way:
    """Run full batches of prepared pictures through the tower."""
    prepared = [tower.prepare(open_picture(seed)) for seed in range(batch)]

    async def way(seeds: list[int]) -> None:
        for start in range(0, len(seeds), batch):
            await asyncio.to_thread(tower.vectors, prepared[: len(seeds) - start])

    return way


def prepare_and_run(tower: Tower, batch: int) -> Way:
    """Decode, prepare and run, without overlap."""

    def run(seeds: list[int]) -> None:
        tower.vectors([tower.prepare(open_picture(seed)) for seed in seeds])

    async def way(seeds: list[int]) -> None:
        for start in range(0, len(seeds), batch):
            await asyncio.to_thread(run, seeds[start : start + batch])

    return way


def run_micro_batched(encoder: OpenClipEncoder) -> Way:
    """Encode all pictures concurrently, as the embed stage does."""

    async def way(seeds: list[int]) -> None:
        await asyncio.gather(*(encoder.encode(draw_picture(seed), urgent=False) for seed in seeds))

    return way


def run_pipeline(process: Process) -> Way:
    """Post the pictures and wait until they are in the catalogue."""

    async def way(seeds: list[int]) -> None:
        names = await store_pictures(await process.container.blobs(), seeds)
        before = count_succeeded(process.runtime, persist.STAGE.name)
        await post_pictures(process.container.journal, names, first=seeds[0])
        await wait_until_done(process.runtime, persist.STAGE.name, before + FACTS_PERSISTED * len(seeds))

    return way


def open_picture(seed: int) -> Image.Image:
    """Open the picture of a seed as the model's input."""
    return Image.open(BytesIO(draw_picture(seed))).convert("RGB")


async def measure(model: str, images: int, rounds: int) -> dict[str, list[Cost]]:
    """Return the cost of every way for this many images, one for each round."""
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(Path(folder), model=model)
        tower = await asyncio.to_thread(load_tower, model, None, device=settings.device, precision=settings.precision)
        encoder = open_loaded_encoder(tower, settings)
        costs: dict[str, list[Cost]] = {}
        async with open_log_server(settings) as address, open_process(settings, address, CHAIN, encoders=[encoder]) as process:
            ways = {
                "the bare model": run_tower(tower, settings.batch_size),
                "with preparing, in turn": prepare_and_run(tower, settings.batch_size),
                "the encoder": run_micro_batched(encoder),
                "the whole pipeline": run_pipeline(process),
            }
            seeds = iter(range(10**9))
            for number in range(rounds + 1):
                count = images if number else settings.batch_size
                chosen = [next(seeds) for _ in range(count)]
                for seed in chosen:
                    await asyncio.to_thread(draw_picture, seed)
                for name, way in ways.items():
                    meter = Meter(Path(folder, "nats"))
                    await way(chosen)
                    if number:  # the first round warms up
                        costs.setdefault(name, []).append(meter.read())
        await encoder.close()
    return costs


def main(quick: bool = False) -> None:
    """Measure and print."""
    model, images, rounds = ("mapseek-untrained", 64, 2) if quick else ("ViT-B-32", 192, 3)
    costs = asyncio.run(measure(model, images, rounds))
    (_, models), *_ = costs.items()
    table = Table(title=f"{model}, random weights, {torch.get_num_threads()} torch threads: {rounds} rounds of {images} images")
    for column in ("", "best images/s", "share of the model's speed", "rounds", "CPU ms/image", "the model's part"):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    for name, each in costs.items():
        shares = sorted(model.wall / cost.wall for model, cost in zip(models, each, strict=True))
        cpu = min(cost.ours + cost.servers for cost in each)
        table.add_row(
            name,
            f"{images / min(cost.wall for cost in each):.1f}",
            f"{statistics.median(shares):.0%}",
            " ".join(f"{share:.0%}" for share in shares),
            f"{cpu * 1000 / images:.1f}",
            f"{min(cost.ours for cost in models) / cpu:.0%}",
        )
    console = Console()
    console.print(table)
    console.print(f"Target: the whole pipeline keeps {TARGET:.0%} of the model's speed.")
