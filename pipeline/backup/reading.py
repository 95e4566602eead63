"""Reading a whole log, whatever keeps it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.subjects import RETRIES
from infra.nats.tail import past
from pipeline.backup.entries import Entry, entry_of


async def recorded(client: Client, stream: str, *, after: int, until: int, bodies: bool = True) -> AsyncGenerator[Entry, None]:
    """The entries of a log between two places, in order. Raises nats-py's errors when the server goes away."""
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
    while True:
        try:
            message = await client.jetstream().get_msg(stream, seq=after + 1, subject=">", next=True)
        except NotFoundError:
            return
        after = message.seq or 0
        yield entry_of(stream, after, message.subject or "", message.headers, message.data or b"")
