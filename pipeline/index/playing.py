"""What the vector index is made of: the facts of the log that matter to it, and what each does to it."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from nats.aio.client import Client

from contracts.events import Fact, GenerationDropped, ImageEmbedded, ImageRemoved
from contracts.subjects import IMAGES, kind_filter
from infra.nats.lookup import last_on
from infra.nats.tail import past, readable
from infra.vectors.index import EmbeddedIndex

FOLLOWED = (kind_filter(ImageEmbedded), kind_filter(ImageRemoved), kind_filter(GenerationDropped))


def apply(index: EmbeddedIndex, fact: Fact) -> None:
    """Bring an index up to this fact."""
    match fact:
        case ImageEmbedded():
            index.add(fact.guild_id, fact.generation, fact.image_id, fact.audience, fact.vector)
        case ImageRemoved():
            index.remove(fact.image_id)
        case GenerationDropped():
            index.drop_generation(fact.generation)


async def play(client: Client, index: EmbeddedIndex, until: int, reached: Callable[[int], None]) -> None:
    """Bring an index up to a place of the log, letting others have their turn after each fact. Raises nats-py's errors."""
    async with aclosing(past(client, IMAGES, FOLLOWED, after=index.position)) as messages:
        async for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence > until:
                break
            if (recorded := readable(message)) is not None:
                apply(index, recorded.fact)
            index.advance(sequence)
            reached(sequence)
            await asyncio.sleep(0)
    index.advance(until)


async def last_change(client: Client) -> int:
    """The sequence of the last entry that the index is made of."""
    return max([await last_on(client.jetstream(), IMAGES, subjects) for subjects in FOLLOWED])
