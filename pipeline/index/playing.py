"""Playing the log into an index, and how far there is to play."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from contracts.subjects import IMAGES
from infra.nats.connection import Client
from infra.nats.reader import find_last, past, readable
from pipeline.index.kinds import AnyIndex, Kind


async def play(client: Client, kind: Kind[AnyIndex], index: AnyIndex, until: int, reached: Callable[[int], None]) -> None:
    """Bring an index up to a place of the log, letting others have their turn after each fact. Raises Unavailable."""
    async with aclosing(past(client, IMAGES, kind.followed, after=index.position)) as messages:
        async for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence > until:
                break
            if (recorded := readable(message)) is not None:
                await kind.apply(index, recorded.fact)
            index.advance(sequence)
            reached(sequence)
            await asyncio.sleep(0)
    index.advance(until)


async def last_change(client: Client, kind: Kind[AnyIndex]) -> int:
    """The sequence of the last entry that such an index is made of. Raises Unavailable."""
    return max([await find_last(client, IMAGES, subjects) for subjects in kind.followed])
