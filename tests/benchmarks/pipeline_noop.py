"""Measure the cost of the pipeline itself, without a model: images a second from download to persist, and CPU time by stage.

The stages run alone, one after the other, each on a log that the one before has filled. So the CPU time of the process is that of
the stage. For comparison the same run measures the runner with a stage that does no work, and a raw nats-py loop. The loop fetches,
publishes and acknowledges as many facts with the same care: one at a time in each worker, every publication awaited, each fact
once.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, Header, StorageType, StreamConfig
from rich.console import Console
from rich.table import Table

from contracts.events import Calibration, Fact, ImageIndexed, ImagePosted
from contracts.ports import Encoder
from contracts.stage import Stage
from contracts.subjects import IMAGES, kind_filter
from infra.blobs.files import open_blob_store
from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.server import embedded_server
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.job import Runtime
from pipeline.engine.registry import STAGES
from pipeline.process import open_process
from stages import download, embed, fingerprint, persist, preprocess
from tests.benchmarks.archive import count_succeeded, make_settings, post_pictures, store_pictures, wait_until_done
from tests.benchmarks.cost import Cost, Meter
from tests.support.bench_stage import count_messages, downloaded, run_stage

WORKERS = 8
DIMENSIONS = 512
CHAIN: dict[Stage[Any], int] = {download.STAGE: 1, preprocess.STAGE: 1, embed.STAGE: 1, fingerprint.STAGE: 1, persist.STAGE: 5}
"""The stages of the archive lane, and how many messages each gets for an image. Embed starts the generation that is fingerprinted.
"""


@dataclass(frozen=True, slots=True)
class NoModel:
    """An encoder that returns the same vector for every picture at once."""

    encoder: Encoder
    vector: bytes

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        return self.vector

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


NO_MODEL = NoModel(
    Encoder(
        "open_clip/none/untrained/fp32", "0" * 64, DIMENSIONS, trained=False, calibration=Calibration(match_at=1, possible_at=1)
    ),
    np.full(DIMENSIONS, DIMENSIONS**-0.5, "<f4").tobytes(),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: what ran, for how many images, how many messages an image, and at what cost."""

    what: str
    images: float
    messages: int
    cost: Cost

    @property
    def cpu_ms(self) -> float:
        """Return the CPU time of this process for one message."""
        return self.cost.ours * 1000 / self.images / self.messages


@asynccontextmanager
async def open_log(folder: Path) -> AsyncIterator[tuple[str, Client, JetStreamJournal]]:
    """A new log on a server of its own, with all streams and durables."""
    async with embedded_server(folder / "nats") as address:
        client = await connect(address, "benchmark")
        try:
            await topology.ensure_topology(client, STAGES)
            yield address, client, JetStreamJournal(client, source="benchmark", now=utc_now)
        finally:
            await client.close()


async def measure_baseline(folder: Path, facts: int) -> list[Line]:
    """Measure the raw loop before and after the runner, and the runner with a stage that does no work, all on one log."""

    async def work(event: Fact) -> Sequence[Fact]:
        return [downloaded(event)]

    async with open_log(folder) as (address, client, journal):
        await post_pictures(journal, ["ab" * 32] * facts)
        before = await run_raw_loop(client, facts, "RAW1", Meter(folder / "nats"))
        async with run_stage(address, client, journal, work, number=WORKERS) as runtime:
            idle = await measure_until_done("the runner, without work", folder, runtime, [download.STAGE], facts)
        after = await run_raw_loop(client, facts, "RAW2", Meter(folder / "nats"))
    return [Line("raw nats-py loop", facts, 1, Cost.mean(before, after)), idle]


async def run_raw_loop(client: Client, facts: int, stream: str, meter: Meter) -> Cost:
    """Fetch every post on the log, publish its bytes once on its own subject in another stream, and acknowledge it."""
    js = client.jetstream()
    await js.add_stream(StreamConfig(name=stream, subjects=[f"{stream}.>"], storage=StorageType.FILE))
    durable = ConsumerConfig(durable_name=stream, filter_subject=kind_filter(ImagePosted), ack_policy=AckPolicy.EXPLICIT)
    await js.add_consumer(IMAGES, durable)
    left = facts

    async def work() -> None:
        nonlocal left
        subscription = await js.pull_subscribe_bind(stream, stream=IMAGES)
        while left > 0:
            left -= 1
            [message] = await subscription.fetch(1, timeout=5)
            headers = {**(message.headers or {}), Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0"}
            await js.publish(f"{stream}.{message.metadata.sequence.stream}", message.data, stream=stream, headers=headers)
            await message.ack()

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return meter.read()


async def measure_archiving(folder: Path, images: int, runs: Sequence[tuple[str, Sequence[Stage[Any]]]]) -> list[Line]:
    """Fill a log with posts, then let these stages handle them, one run after the other, each in one process."""
    settings = make_settings(folder, workers=WORKERS)
    lines = []
    async with open_log(folder) as (address, client, journal):
        await post_pictures(journal, await store_pictures(open_blob_store(folder / "blobs"), range(images)))
        for what, stages in runs:
            async with open_process(settings, address, stages, encoders=[NO_MODEL]) as process:
                lines.append(await measure_until_done(what, folder, process.runtime, stages, images))
        if (indexed := await count_messages(client, IMAGES, kind_filter(ImageIndexed))) != images:
            raise RuntimeError(f"only {indexed} of {images} images were indexed: the figures mean nothing")
    return lines


async def measure_until_done(what: str, folder: Path, runtime: Runtime, stages: Sequence[Stage[Any]], images: int) -> Line:
    """Measure until the last of these stages has handled every image, not counting images that were done before the start."""
    last = stages[-1]
    before = count_succeeded(runtime, last.name) / CHAIN[last]
    if before >= images:
        raise RuntimeError(f"{images} images are too few: they were done before the measurement started")
    meter = Meter(folder / "nats")
    await wait_until_done(runtime, last.name, images * CHAIN[last])
    return Line(what, images - before, sum(CHAIN[stage] for stage in stages), meter.read())


async def measure(images: int) -> list[Line]:
    """Measure all lines, the baseline first."""
    with tempfile.TemporaryDirectory() as folder:
        lines = await measure_baseline(Path(folder, "baseline"), images)
        lines += await measure_archiving(Path(folder, "alone"), images, [(f"{stage.name}, alone", [stage]) for stage in CHAIN])
        lines += await measure_archiving(Path(folder, "together"), images, [("all five together", list(CHAIN))])
    return lines


def main(quick: bool = False) -> None:
    """Measure and print."""
    images = 300 if quick else 600
    lines = asyncio.run(measure(images))
    table = Table(title=f"Download to persist without a model: {images:,} images, {WORKERS} workers a stage, one process")
    for column in ("", "images/s", "messages", "CPU ms/image", "CPU ms/message", "to raw", "nats-server ms/image"):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    for line in lines:
        table.add_row(
            line.what,
            f"{line.images / line.cost.wall:,.0f}",
            str(line.messages),
            f"{line.cost.ours * 1000 / line.images:.2f}",
            f"{line.cpu_ms:.2f}",
            f"{line.cpu_ms / lines[0].cpu_ms:.1f}",
            f"{line.cost.servers * 1000 / line.images:.2f}",
        )
    Console().print(table)
