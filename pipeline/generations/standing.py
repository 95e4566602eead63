"""How far a generation is: counted on the log, which is the only place where progress is kept. The server keeps a pause."""

import asyncio
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.events import ImageEmbedded, ImageFact, ImagePreprocessed
from contracts.generations import Generation
from contracts.subjects import IMAGES, bound_filter, durable_name, past_name, stream_of, variant_filter
from infra.nats.counting import count_of
from infra.nats.outages import outages
from stages import embed


@dataclass(frozen=True, slots=True)
class Standing:
    """Images there are for a generation, and those of them that have a vector in it."""

    total: int
    done: int

    @property
    def missing(self) -> int:
        """Images that have no vector yet: they are waiting, or could not be embedded."""
        return max(0, self.total - self.done)


async def standing(client: Client, generation: Generation) -> Standing:
    """Count the images of a generation. Raises Unavailable when the log cannot be reached."""
    stream = stream_of(ImagePreprocessed)
    total, done = await asyncio.gather(
        count_of(client, stream, [bound_filter(ImagePreprocessed, generation)]),
        count_of(client, stream, [variant_filter(ImageEmbedded, generation.name)]),
    )
    return Standing(total, done)


def build_name(generation: str) -> str:
    """The durable that builds a generation: its server keeps the place, and whether somebody paused it."""
    return past_name(durable_name(embed.STAGE.name, ImageFact.family, generation))


async def is_paused(client: Client, generation: Generation) -> bool:
    """Whether somebody paused the build of a generation. Raises Unavailable when the log cannot be reached."""
    with outages():
        try:
            return bool((await client.jetstream().consumer_info(IMAGES, build_name(generation.name))).paused)
        except NotFoundError:
            return False
