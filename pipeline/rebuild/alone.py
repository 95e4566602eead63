"""Seeing to it that one process at a time does something: while it lives it says so, and nothing is left behind when it dies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.errors import MapSeekError
from infra.nats.connection import Client, Msg, has_listener, listening


@asynccontextmanager
async def alone(client: Client, subject: str, refusal: str) -> AsyncIterator[None]:
    """Be the one who answers on this subject. Raises MapSeekError with `refusal` when somebody does already, Unavailable."""
    if await has_listener(client, subject):
        raise MapSeekError(refusal)

    async def at_it(message: Msg) -> None:
        await message.respond(b"")

    async with listening(client, subject, at_it):
        yield
