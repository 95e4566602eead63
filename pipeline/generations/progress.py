"""The progress of a generation, counted in the log, which is the only place that has it. The server keeps whether its build is
paused.

Also the list of generations with state, progress and size.
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
"""The facts that a generation has for each image, and the stage that makes each."""

FLOAT_BYTES = 4

GenerationState = Literal["building", "paused", "ready", "active", "retired"]


@dataclass(frozen=True, slots=True)
class GenerationProgress:
    """The number of images for a generation, and how many of them have each part of it. `counts` is by type of fact."""

    total: int
    counts: dict[type[ImageFact], int]

    @property
    def done(self) -> int:
        """Images that have all parts. If different images lack different parts, the true number is a little lower."""
        return min(self.counts.values())

    @property
    def missing(self) -> int:
        """Images that lack a part, because they are waiting or because it could not be made. 0 if the generation is complete."""
        return max(0, self.total - self.done)

    def is_missing_part(self, kind: type[ImageFact]) -> bool:
        """Return whether any image lacks a part."""
        return self.counts[kind] < self.total


async def read_generation_progress(client: Client, generation: Generation) -> GenerationProgress:
    """Count the images and parts of a generation. Raises Unavailable if the log cannot be reached."""
    stream = stream_of(ImagePreprocessed)
    total, *counts = await asyncio.gather(
        count_entries(client, stream, [generation_filter(ImagePreprocessed, generation)]),
        *(count_entries(client, stream, [variant_filter(kind, generation.name)]) for kind in GENERATION_PARTS),
    )
    return GenerationProgress(total, dict(zip(GENERATION_PARTS, counts, strict=True)))


async def list_builds(client: Client, generation: str) -> dict[str, bool]:
    """Return the names of the consumers that build a generation, and whether each is paused. The server keeps that and their
    positions.

    Raises Unavailable if the log cannot be reached.
    """
    found = {}
    for stage in GENERATION_PARTS.values():
        name = past_consumer_name(consumer_name(stage.name, ImageFact.family, generation))
        if (consumer := await read_consumer(client, IMAGES, name)) is not None:
            found[name] = consumer.paused
    return found


async def is_build_paused(client: Client, generation: Generation) -> bool:
    """Return whether the build of a generation is paused. Raises Unavailable if the log cannot be reached."""
    return any((await list_builds(client, generation.name)).values())


@dataclass(frozen=True, slots=True)
class GenerationSummary:
    """A generation that is not dropped. `images` have all parts, `missing` ones lack some. The vectors take `vector_bytes`.

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
    """List every generation that is not dropped, oldest first. Raises Unavailable if the log cannot be reached."""
    return [await _summarise(client, generations, generation) for generation in generations.alive]


async def _summarise(client: Client, generations: Generations, generation: Generation) -> GenerationSummary:
    found = await read_generation_progress(client, generation)
    return GenerationSummary(
        name=generation.name,
        state=await _read_state(client, generations, generation, found.missing),
        encoder=generation.encoder,
        digest=generation.digest,
        preprocessing=generation.preprocessing,
        fingerprint=generation.fingerprint,
        dimensions=generation.dimensions,
        images=found.done,
        missing=found.missing,
        vector_bytes=found.counts[ImageEmbedded] * generation.dimensions * FLOAT_BYTES,
    )


async def _read_state(client: Client, generations: Generations, generation: Generation, missing: int) -> GenerationState:
    if generations.active == generation:
        return "active"
    if generations.serves(generation.name):
        return "retired"
    if not missing:
        return "ready"
    return "paused" if await is_build_paused(client, generation) else "building"
