"""An archive in which a second generation is built: its pictures, and models whose vectors are digests."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import Calibration, ImageFact, ImagePreprocessed
from contracts.generations import Generation
from contracts.ports import Encoder
from contracts.subjects import IMAGES, variant_filter
from infra.blobs.files import open_blob_store
from pipeline.process import Process, running
from pipeline.replay.build import begin
from pipeline.settings import Settings
from stages import embed, fingerprint, persist
from tests.suites.archives import tiny
from tests.suites.bench_stage import count
from tests.suites.facts import posted
from tests.suites.waiting import eventually
from tests.suites.world import IMPATIENT as SOON

IMAGES_THERE = 40
LIVE = (fingerprint.STAGE, embed.STAGE, persist.STAGE)


@dataclass
class Model:
    """An encoder whose vectors are digests; it waits while it is closed, and knows what it was given and what it cannot do."""

    name: str
    given: list[bytes] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    cannot: bytes | None = None

    def __post_init__(self) -> None:
        self.open.set()

    @property
    def encoder(self) -> Encoder:
        return Encoder(f"open_clip/{self.name}/untrained/fp32", self.name, 8, False, Calibration(match_at=1, possible_at=1))

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        self.given.append(image)
        if image == self.cannot:
            raise Retry("out of memory")
        await self.open.wait()
        values = np.frombuffer(hashlib.sha256(self.name.encode() + image).digest(), "u1")[:8].astype("<f4") + 1
        return (values / np.linalg.norm(values)).astype("<f4").tobytes()

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Archive:
    """An archive with g1, in which some processes may build another generation."""

    url: str
    folder: Path
    make: Callable[..., Settings]

    def settings(self) -> Settings:
        return self.make(data_dir=self.folder, batch_size=4)

    @asynccontextmanager
    async def process(self, model: Model) -> AsyncIterator[Process]:
        async with running(self.settings(), self.url, (), encoders=[model], policy=SOON) as process:
            yield process

    @asynccontextmanager
    async def live(self, *models: Model) -> AsyncIterator[Process]:
        """A process as `mapseek up` is one."""
        async with running(self.settings(), self.url, LIVE, encoders=models, policy=SOON) as process:
            yield process


async def post(process: Process, number: int) -> None:
    """A picture that has come as far as to its preprocessing."""
    blobs = open_blob_store(process.wiring.folder / "blobs")
    pixels = await blobs.put(tiny(number))
    image = posted(f"{number:03}")
    fact = ImagePreprocessed(**image.identity, pixels=pixels, thumbnail=pixels, width=8, height=8, format="PNG", preprocessing="p1")
    for each in (image, fact):
        await process.wiring.journal.record(each, Origin(image.image_id))


async def holds(process: Process, kind: type[ImageFact], number: int, generation: str = "g1") -> None:
    async def enough() -> bool:
        return await count(process.wiring.client, IMAGES, variant_filter(kind, generation)) == number

    await eventually(enough)


async def started(process: Process, model: Model) -> Generation:
    return await begin(process, model, "fake", None, None)  # type: ignore[arg-type]
