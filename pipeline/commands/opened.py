"""What commands work on: the log's server, running or started for them, and what is opened on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.nats.connection import Client, connect, disconnect
from pipeline.process import log_server, running
from pipeline.settings import Settings
from pipeline.wiring import Wiring


@asynccontextmanager
async def log_client(settings: Settings, name: str) -> AsyncIterator[Client]:
    """A connection to the log, whatever is on it, by the name under which the server lists it."""
    async with log_server(settings) as url:
        client = await connect(url, name)
        try:
            yield client
        finally:
            await disconnect(client)


@asynccontextmanager
async def wired(settings: Settings) -> AsyncIterator[Wiring]:
    """The adapters of a process that runs no stage, on a log that is as this version needs it."""
    async with log_server(settings) as url, running(settings, url, ()) as process:
        yield process.wiring
