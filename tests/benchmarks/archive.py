"""Shared by the benchmarks: draw pictures, record posts of them, and wait until a process has handled them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from contracts.envelope import Origin
from contracts.events import ImagePosted, Person, StoredFile
from contracts.ports import BlobStore, Journal
from infra.sandbox.art.canvas import quantise
from infra.sandbox.art.generate import ART_KINDS, MAP_PX
from infra.vision.distortions import encode_png
from pipeline.engine.job import Runtime
from pipeline.settings import Settings

POSTED_AT = datetime(2026, 1, 4, 15, 30, tzinfo=UTC)
CONCURRENCY = 64
DONE_TIMEOUT_S = 900.0


@cache
def draw_picture(seed: int) -> bytes:
    """Draw a piece of map art on one map, with a side of 128 pixels, as PNG."""
    drawn = ART_KINDS[seed % len(ART_KINDS)](np.random.default_rng(seed), MAP_PX, MAP_PX)
    return encode_png(quantise(drawn, "flat", dither=bool(seed % 2)))


def make_settings(folder: Path, **values: object) -> Settings:
    """Make settings for a folder of the benchmark. They do not read the developer's `.env`."""
    return Settings(**{"data_dir": folder, "http_port": 0, "nats_url": None, "_env_file": None, **values})  # type: ignore[arg-type]


async def store_pictures(blobs: BlobStore, seeds: Sequence[int]) -> list[str]:
    """Store the pictures of these seeds as blobs. Returns their names in order."""

    async def put(seed: int) -> str:
        return await blobs.put(await asyncio.to_thread(draw_picture, seed))

    return [
        name for start in range(0, len(seeds), CONCURRENCY) for name in await asyncio.gather(*map(put, seeds[start:][:CONCURRENCY]))
    ]


async def post_pictures(
    journal: Journal, names: Sequence[str], *, first: int = 0, guild_id: str = "7", channel_id: str = "8"
) -> None:
    """Record a post of each blob, with image ids from `first` on. They wait in the archive lane."""

    async def record(number: int, blob: str) -> None:
        image_id = f"bench-{number}"
        fact = ImagePosted(
            guild_id=guild_id,
            channel_id=channel_id,
            image_id=image_id,
            message_id=image_id,
            author=Person(id="5", name="Alex"),
            posted_at=POSTED_AT,
            filename=f"{image_id}.png",
            message_link=f"https://discord.com/channels/{guild_id}/{channel_id}/{number}",
            source=StoredFile(blob=blob),
        )
        await journal.record(fact, Origin(image_id))

    for start in range(0, len(names), CONCURRENCY):
        await asyncio.gather(*(record(first + start + place, name) for place, name in enumerate(names[start:][:CONCURRENCY])))


def count_succeeded(runtime: Runtime, stage: str, lane: str = "image") -> int:
    """Return how many messages a stage of this process has handled."""
    samples = (sample for family in runtime.metrics.succeeded.collect() for sample in family.samples)
    wanted = {"stage": stage, "lane": lane}
    return sum(int(sample.value) for sample in samples if sample.labels == wanted and sample.name.endswith("_total"))


async def wait_until_done(runtime: Runtime, stage: str, messages: int) -> None:
    """Wait until a stage has handled this many messages in the archive lane. Raises TimeoutError."""
    async with asyncio.timeout(DONE_TIMEOUT_S):
        while count_succeeded(runtime, stage) < messages:  # noqa: ASYNC110  (a counter sends no event)
            await asyncio.sleep(0.02)
