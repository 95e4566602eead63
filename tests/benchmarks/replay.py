"""Measure how fast a generation is built: as a share of the encoder's own batch rate, and against a raw nats-py loop.

The replay is the one that `mapseek replay` runs: the same concurrency, the same runner, facts recorded once. The raw loop fetches
batches of the same events with the same concurrency, publishes a vector for each event on a subject that must be empty, all of a
batch at once, and acknowledges them. No bulk reader can do less. Rounds are interleaved, so that a change of the machine's load
affects all of them.
"""

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header
from rich.console import Console
from rich.table import Table

from contracts.envelope import Origin
from contracts.events import ImageEmbedded, ImagePreprocessed
from contracts.generations import Generation
from contracts.ports import BlobStore, ImageEncoder, Journal
from contracts.subjects import IMAGES, build_subject, variant_filter
from infra.blobs.files import open_blob_store
from infra.clip.encoder import OpenClipEncoder
from infra.clip.loading import load_tower
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import encode_body
from pipeline.engine.bulk_consumer import Concurrency, Limits, ReplaySpan, replay_span
from pipeline.engine.consumers import ensure_consumer, plan_build_consumer
from pipeline.engine.job import Job, Runtime
from pipeline.engine.metrics import Metrics
from pipeline.replay.build import MODEL_BATCHES
from stages import embed
from stages.fingerprint import DEFAULT_METHOD
from tests.benchmarks.archive import CONCURRENCY, draw_picture, make_settings, store_pictures
from tests.benchmarks.pipeline_clip import open_loaded_encoder
from tests.benchmarks.pipeline_noop import NO_MODEL, open_log
from tests.support.bench_stage import count_messages

BULK = Concurrency(4, 64)
PREPROCESSING = "p1"
SHARE_TARGET, RAW_TARGET = 0.95, 0.5


@dataclass(frozen=True, slots=True)
class NoBlobs:
    """A blob store without a disk, so that only the replay itself is measured."""

    async def get(self, name: str) -> bytes:
        return b""


@dataclass(slots=True)
class Bench:
    """A log with pictures that are ready to be embedded. `generations` counts the generations built so far."""

    client: Client
    journal: JetStreamJournal
    blobs: BlobStore
    names: Sequence[str]
    generations: int = 0

    @property
    def events(self) -> int:
        return len(self.names)

    async def replay(self, encoder: ImageEncoder, concurrency: Concurrency, blobs: object = None) -> float:
        """Run a whole build and return the pictures a second."""
        self.generations += 1
        name = f"g{self.generations}"
        durable = plan_build_consumer(embed.STAGE, "image", self._generation(name))
        await ensure_consumer(self.client, durable)
        hosted = embed.HostedEncoder(name, encoder)
        deps = embed.Deps(blobs or self.blobs, lambda _: hosted)  # type: ignore[arg-type]
        job = Job(embed.STAGE, "image", deps, name, replay=durable.name)
        span = ReplaySpan(durable.stream, durable.name, self.events)
        began = perf_counter()
        await replay_span(self.client, span, job, Runtime(self.journal, Metrics()), Limits(), concurrency)
        took = perf_counter() - began
        if (found := await count_messages(self.client, IMAGES, variant_filter(ImageEmbedded, name))) != self.events:
            raise RuntimeError(f"only {found} of {self.events} pictures were embedded: the figures mean nothing")
        return self.events / took

    def _generation(self, name: str) -> Generation:
        return Generation(name, "", "", PREPROCESSING, 1, self.events, "", None, "fp32", DEFAULT_METHOD)

    async def raw(self, concurrency: Concurrency) -> float:
        """Run a loop that only fetches, publishes and acknowledges, and return the events a second."""
        self.generations += 1
        name = f"g{self.generations}"
        durable = plan_build_consumer(embed.STAGE, "image", self._generation(name))
        await ensure_consumer(self.client, durable)
        js, left = self.client.jetstream(), self.events
        body = encode_body(ImageEmbedded(guild_id="7", channel_id="8", image_id="bench-0", generation=name, vector=NO_MODEL.vector))

        async def settle(message: Msg) -> None:
            headers = {**(message.headers or {}), Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0"}
            subject = build_subject(ImageEmbedded, "7", f"bench-{message.metadata.sequence.stream}", name)
            await js.publish(subject, body, stream=IMAGES, headers=headers)
            await message.ack()

        async def work() -> None:
            nonlocal left
            subscription = await js.pull_subscribe_bind(durable.name, stream=IMAGES)
            while left > 0:
                wanted = min(concurrency.batch, left)
                left -= wanted
                while wanted:
                    messages = await subscription.fetch(wanted, timeout=5)
                    wanted -= len(messages)
                    await asyncio.gather(*map(settle, messages))

        began = perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency.number)))
        return self.events / (perf_counter() - began)

    async def encode(self, encoder: ImageEncoder) -> float:
        """Encode all pictures at once and return the pictures a second of the encoder alone."""
        pictures = [await self.blobs.get(name) for name in self.names]
        began = perf_counter()
        await asyncio.gather(*(encoder.encode(each, urgent=False) for each in pictures))
        return self.events / (perf_counter() - began)


@asynccontextmanager
async def open_bench(events: int) -> AsyncIterator[Bench]:
    """Open a log with this many preprocessed pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with open_log(folder) as (_, client, journal):
            blobs = open_blob_store(folder / "blobs")
            pictures = await store_pictures(blobs, range(min(events, 400)))
            names = [pictures[number % len(pictures)] for number in range(events)]
            for start in range(0, events, CONCURRENCY):
                await asyncio.gather(
                    *(record_preprocessed(journal, start + place, each) for place, each in enumerate(names[start:][:CONCURRENCY]))
                )
            yield Bench(client, journal, blobs, names)


async def record_preprocessed(journal: Journal, number: int, blob: str) -> None:
    """Record a picture that is ready to be embedded."""
    image_id = f"bench-{number}"
    fact = ImagePreprocessed(
        guild_id="7",
        channel_id="8",
        image_id=image_id,
        pixels=blob,
        thumbnail=blob,
        width=128,
        height=128,
        format="PNG",
        preprocessing=PREPROCESSING,
    )
    await journal.record(fact, Origin(image_id))


async def measure_without_model(events: int, rounds: int) -> dict[str, list[float]]:
    """Return events a second, one for each round: of the raw loop, and of the replay with an encoder that does nothing."""
    rates: dict[str, list[float]] = {"raw nats-py loop": [], "replay, no-op encoder": [], "the same, blobs read from disk": []}
    async with open_bench(events) as log:
        for _ in range(rounds):
            for name, running in zip(
                rates, (log.raw(BULK), log.replay(NO_MODEL, BULK, NoBlobs()), log.replay(NO_MODEL, BULK)), strict=True
            ):
                rates[name].append(await running)
    return rates


async def measure_with_model(model: str, pictures: int, rounds: int) -> dict[str, list[float]]:
    """Return pictures a second, one for each round: of the encoder alone, and of the replay with it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(Path(folder), model=model)
    tower = await asyncio.to_thread(load_tower, model, None, device=settings.device, precision=settings.precision)
    encoder: OpenClipEncoder = open_loaded_encoder(tower, settings)
    rates: dict[str, list[float]] = {"the encoder alone": [], f"replay, {model}": []}
    try:
        await asyncio.gather(*(encoder.encode(draw_picture(seed), urgent=False) for seed in range(2 * settings.batch_size)))
        async with open_bench(pictures) as log:
            for _ in range(rounds):
                for name, running in zip(
                    rates, (log.encode(encoder), log.replay(encoder, Concurrency(MODEL_BATCHES, settings.batch_size))), strict=True
                ):
                    rates[name].append(await running)
    finally:
        await encoder.close()
    return rates


def render_rates(title: str, rates: dict[str, list[float]]) -> Table:
    """Render the medians, and the share of the first line in each round."""
    (_, first), *_ = rates.items()
    table = Table(title=title)
    for column in ("", "median /s", "share of the first", "rounds"):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    for name, each in rates.items():
        shares = [rate / whole for rate, whole in zip(each, first, strict=True)]
        rounds = " ".join(f"{share:.0%}" for share in shares)
        table.add_row(name, f"{statistics.median(each):,.1f}", f"{statistics.median(shares):.0%}", rounds)
    return table


def main(quick: bool = False) -> None:
    """Measure and print."""
    console = Console()
    events, rounds = (500, 2) if quick else (4_000, 5)
    rates = asyncio.run(measure_without_model(events, rounds))
    console.print(render_rates(f"A replay without a model: {events:,} events, {BULK.number} hands of {BULK.batch}", rates))
    models = [("mapseek-untrained", 128, 2)] if quick else [("mapseek-untrained", 1_000, 3), ("ViT-B-32", 192, 3)]
    for model, pictures, times in models:
        rates = asyncio.run(measure_with_model(model, pictures, times))
        console.print(render_rates(f"A replay with {model}, random weights: {times} rounds of {pictures} pictures", rates))
    console.print(f"Targets: {RAW_TARGET:.0%} of the raw loop, {SHARE_TARGET:.0%} of the encoder's own rate.")
