"""What there is of each generation: its state, how far it is, and how much its vectors take."""

from dataclasses import dataclass
from typing import Literal

from contracts.events import ImageEmbedded
from contracts.generations import Generation, Generations
from infra.nats.connection import Client
from pipeline.generations.standing import is_paused, standing

FLOAT_BYTES = 4

State = Literal["building", "paused", "ready", "active", "retired"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A generation that lives: `images` are complete in it, `missing` ones are not yet; the vectors take `vector_bytes`.

    `fingerprint` is the method of its fingerprints.
    """

    name: str
    state: State
    encoder: str
    digest: str
    preprocessing: str
    fingerprint: str
    dimensions: int
    images: int
    missing: int
    vector_bytes: int


async def listed(client: Client, generations: Generations) -> list[Listed]:
    """Every generation that is not dropped, oldest first. Raises Unavailable when the log cannot be reached."""
    return [await _listed(client, generations, generation) for generation in generations.alive]


async def _listed(client: Client, generations: Generations, generation: Generation) -> Listed:
    found = await standing(client, generation)
    return Listed(
        name=generation.name,
        state=await _state(client, generations, generation, found.missing),
        encoder=generation.encoder,
        digest=generation.digest,
        preprocessing=generation.preprocessing,
        fingerprint=generation.fingerprint,
        dimensions=generation.dimensions,
        images=found.done,
        missing=found.missing,
        vector_bytes=found.made[ImageEmbedded] * generation.dimensions * FLOAT_BYTES,
    )


async def _state(client: Client, generations: Generations, generation: Generation, missing: int) -> State:
    if generations.active == generation:
        return "active"
    if generations.serves(generation.name):
        return "retired"
    if not missing:
        return "ready"
    return "paused" if await is_paused(client, generation) else "building"
