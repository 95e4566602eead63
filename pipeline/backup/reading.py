"""Reading a whole log, whatever keeps it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from contracts.subjects import RETRIES
from infra.nats.connection import Client
from infra.nats.reader import past, read_next
from pipeline.backup.entries import Entry, entry_of


async def recorded(client: Client, stream: str, *, after: int, until: int, bodies: bool = True) -> AsyncGenerator[Entry, None]:
    """The entries of a log between two places, in order. Raises Unavailable."""
    if stream == RETRIES:
        async with aclosing(_asked_for(client, stream, after)) as entries:
            async for entry in entries:
                if entry.sequence > until:
                    return
                yield entry
        return
    async with aclosing(past(client, stream, [">"], after=after, bodies=bodies)) as messages:
        async for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence > until:
                return
            yield entry_of(stream, sequence, message.subject, message.headers, message.data)


async def _asked_for(client: Client, stream: str, after: int) -> AsyncGenerator[Entry, None]:
    """One by one: a work queue gives its entries to its workers only, so whoever just looks has to ask for each."""
    while (entry := await read_next(client, stream, after)) is not None:
        after = entry.sequence
        yield entry_of(stream, entry.sequence, entry.subject, entry.headers, entry.body)
