"""What commands work on: the log's server, running or started for them, and what is opened on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.errors import MapSeekError
from infra.nats.connection import Client, connect, disconnect
from infra.nats.server import announced_url, has_store
from pipeline.container import Wiring
from pipeline.process import log_server, running
from pipeline.settings import Settings, data_folder


def require_archive(settings: Settings) -> None:
    """Raise MapSeekError where no archive was ever begun. Nothing is started or made to find that out."""
    folder = data_folder(settings)
    log = folder / "nats"
    if settings.nats_url is None and announced_url(log) is None and not has_store(log):
        raise MapSeekError(f"There is no archive in {folder} yet: `mapseek up` or `mapseek archive` begins one.")


@asynccontextmanager
async def archive_server(settings: Settings) -> AsyncIterator[str]:
    """The URL of the log of an archive that was begun before, as `log_server` has it. Raises MapSeekError where none was."""
    require_archive(settings)
    async with log_server(settings) as url:
        yield url


@asynccontextmanager
async def log_client(settings: Settings, name: str, *, new: bool = False) -> AsyncIterator[Client]:
    """A connection to an archive's log, by the name under which the server lists it; the archive is begun if it may be `new`."""
    async with log_server(settings) if new else archive_server(settings) as url:
        client = await connect(url, name)
        try:
            yield client
        finally:
            await disconnect(client)


@asynccontextmanager
async def wired(settings: Settings) -> AsyncIterator[Wiring]:
    """The adapters of a process that runs no stage, on a log that is as this version needs it."""
    async with archive_server(settings) as url, running(settings, url, ()) as process:
        yield process.wiring
