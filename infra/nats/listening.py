"""Listening on a subject that is no log's: for what is asked of processes, and answered by whoever is there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from infra.nats.outages import outages


@asynccontextmanager
async def listening(client: Client, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> AsyncIterator[None]:
    """Have `heard` called with every message on a subject. Inside, the server knows that somebody listens.

    nats-py writes the ping of a `flush` past what waits to be written, so the first one proves nothing: it only empties that.
    Raises Unavailable.
    """
    with outages():
        subscription = await client.subscribe(subject, cb=heard)
    try:
        with outages():
            for _ in range(2):
                await client.flush()
        yield
    finally:
        if not client.is_closed:
            await subscription.unsubscribe()


async def has_listener(client: Client, subject: str) -> bool:
    """Whether somebody listens on a subject, and answers. Raises Unavailable."""
    with outages():
        try:
            await client.request(subject, timeout=2)
        except NoRespondersError:
            return False
    return True
