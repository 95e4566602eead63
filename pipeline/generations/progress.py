"""How far a generation is: counted on the log, which is the only place where progress is kept. The server keeps a pause.

What there is of each generation: its state, how far it is, and how much its vectors take.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from contracts.events import ImageEmbedded, ImageFact, ImageFingerprinted, ImagePreprocessed
from contracts.generations import Generation, Generations
from contracts.stage import Stage
from contracts.subjects import IMAGES, consumer_name, generation_filter, past_consumer_name, stream_of, variant_filter
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer
from infra.nats.reader import count_entries
from stages import embed, fingerprint

GENERATION_PARTS: dict[type[ImageFact], Stage[Any]] = {ImageFingerprinted: fingerprint.STAGE, ImageEmbedded: embed.STAGE}
"""What a generation has of each picture, and the stage that makes it."""

FLOAT_BYTES = 4

GenerationState = Literal["building", "paused", "ready", "active", "retired"]


@dataclass(frozen=True, slots=True)
class GenerationProgress:
    """Images there are for a generation, and how many of them have what it is made of, by kind of fact."""

    total: int
    counts: dict[type[ImageFact], int]

    @property
    def done(self) -> int:
        """Images that have all of it; where they lack it in turns, it is a little less."""
        return min(self.counts.values())

    @property
    def missing(self) -> int:
        """Images that lack something, none when it is complete: they are waiting, or it could not be made of them."""
        return max(0, self.total - self.done)

    def is_missing_part(self, kind: type[ImageFact]) -> bool:
        """Whether an image lacks this."""
        return self.counts[kind] < self.total


async def read_generation_progress(client: Client, generation: Generation) -> GenerationProgress:
    """Count the images of a generation. Raises Unavailable when the log cannot be reached."""
    stream = stream_of(ImagePreprocessed)
    total, *counts = await asyncio.gather(
        count_entries(client, stream, [generation_filter(ImagePreprocessed, generation)]),
        *(count_entries(client, stream, [variant_filter(kind, generation.name)]) for kind in GENERATION_PARTS),
    )
    return GenerationProgress(total, dict(zip(GENERATION_PARTS, counts, strict=True)))


async def list_builds(client: Client, generation: str) -> dict[str, bool]:
    """The durables that are building a generation, and whether each is paused: the server keeps that, and their places.

    Raises Unavailable when the log cannot be reached.
    """
    found = {}
    for stage in GENERATION_PARTS.values():
        name = past_consumer_name(consumer_name(stage.name, ImageFact.family, generation))
        if (consumer := await read_consumer(client, IMAGES, name)) is not None:
            found[name] = consumer.paused
    return found


async def is_build_paused(client: Client, generation: Generation) -> bool:
    """Whether somebody paused the build of a generation. Raises Unavailable when the log cannot be reached."""
    return any((await list_builds(client, generation.name)).values())


@dataclass(frozen=True, slots=True)
class GenerationSummary:
    """A generation that lives: `images` are complete in it, `missing` ones are not yet; the vectors take `vector_bytes`.

    `fingerprint` is the method of its fingerprints.
    """

    name: str
    state: GenerationState
    encoder: str
    digest: str
    preprocessing: str
    fingerprint: str
    dimensions: int
    images: int
    missing: int
    vector_bytes: int


async def list_generations(client: Client, generations: Generations) -> list[GenerationSummary]:
    """Every generation that is not dropped, oldest first. Raises Unavailable when the log cannot be reached."""
    return [await _listed(client, generations, generation) for generation in generations.alive]


async def _listed(client: Client, generations: Generations, generation: Generation) -> GenerationSummary:
    found = await read_generation_progress(client, generation)
    return GenerationSummary(
        name=generation.name,
        state=await _state(client, generations, generation, found.missing),
        encoder=generation.encoder,
        digest=generation.digest,
        preprocessing=generation.preprocessing,
        fingerprint=generation.fingerprint,
        dimensions=generation.dimensions,
        images=found.done,
        missing=found.missing,
        vector_bytes=found.counts[ImageEmbedded] * generation.dimensions * FLOAT_BYTES,
    )


async def _state(client: Client, generations: Generations, generation: Generation, missing: int) -> GenerationState:
    if generations.active == generation:
        return "active"
    if generations.serves(generation.name):
        return "retired"
    if not missing:
        return "ready"
    return "paused" if await is_build_paused(client, generation) else "building"
