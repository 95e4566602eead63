"""Seeing to it that one process at a time does something: while it lives it says so, and nothing is left behind when it dies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from contracts.errors import MapSeekError
from infra.nats.listening import listening


@asynccontextmanager
async def alone(client: Client, subject: str, refusal: str) -> AsyncIterator[None]:
    """Be the one who answers on this subject. Raises MapSeekError with `refusal` when somebody does already."""
    try:
        await client.request(subject, timeout=2)
    except NoRespondersError:
        pass
    else:
        raise MapSeekError(refusal)

    async def at_it(message: Msg) -> None:
        await message.respond(b"")

    async with listening(client, subject, at_it):
        yield
