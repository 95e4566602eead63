"""Opening an archive for a command: its log server, which runs already or is started, the catalogue, the blobs and Discord."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import MapSeekError, Unavailable
from contracts.generations import Generation
from contracts.ports import Catalogue, StateStore
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.discord.rest.client import RestClient
from infra.discord.rest.rate_limit import RequestBudget
from infra.nats.connection import Client, LogAddress, connect, disconnect
from infra.nats.journal import JetStreamJournal
from infra.nats.projections import read_generations
from infra.nats.server import has_store
from infra.nats.state import open_state
from pipeline.clock import utc_now
from pipeline.container import Container, open_catalogue
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.log_address import find_log_address
from pipeline.process import choose_endpoint, open_log_server, open_process
from pipeline.settings import Settings, ensure_data_folder, get_data_folder


def require_archive(settings: Settings) -> None:
    """Raise MapSeekError if there is no archive yet. Start and create nothing to find that out."""
    folder = get_data_folder(settings)
    if find_log_address(settings) is None and not has_store(folder / "nats"):
        raise MapSeekError(f"There is no archive in {folder} yet: run `mapseek up` or `mapseek archive` to create one.")


@asynccontextmanager
async def open_archive_server(settings: Settings) -> AsyncIterator[LogAddress]:
    """Yield the address of the log server of an existing archive, as `open_log_server` does.

    Raises MapSeekError if there is no archive.
    """
    require_archive(settings)
    async with open_log_server(settings) as address:
        yield address


@asynccontextmanager
async def open_log_client(settings: Settings, name: str, *, new: bool = False) -> AsyncIterator[Client]:
    """Open a connection to an archive's log.

    The server lists it by `name`. With `new`, the archive is created if it does not exist.
    """
    async with open_log_server(settings) if new else open_archive_server(settings) as address:
        client = await connect(address, name)
        try:
            yield client
        finally:
            await disconnect(client)


@asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """Open the adapters of a process that runs no stage, on a log whose topology is up to date."""
    async with open_archive_server(settings) as address, open_process(settings, address, ()) as process:
        yield process.container


@dataclass(frozen=True, slots=True)
class OpenedArchive:
    """The open parts of an archive. `rest` is None without a bot token."""

    folder: Path
    client: Client
    journal: JetStreamJournal
    state: StateStore
    generation: Generation
    catalogue: Catalogue
    blobs: FileBlobStore
    rest: RestClient | None


@asynccontextmanager
async def open_archive(settings: Settings) -> AsyncIterator[OpenedArchive]:
    """Open an archive. Raises MapSeekError if a part of it cannot be opened, or becomes unavailable while it is open."""
    try:
        async with AsyncExitStack() as stack:
            yield await _open(settings, stack)
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: bring it back, then run the command again.") from outage


async def _open(settings: Settings, stack: AsyncExitStack) -> OpenedArchive:
    client = await connect(await stack.enter_async_context(open_archive_server(settings)), "mapseek-look")
    stack.push_async_callback(disconnect, client)
    await topology.ensure_topology(client, STAGES)
    generation = (await read_generations(client)).active
    if generation is None:
        raise MapSeekError("This archive is empty, since no model was started yet: run `mapseek up` or `mapseek archive`.")
    state = await open_state(client)
    folder = ensure_data_folder(settings)
    catalogue = await open_catalogue(settings, folder)
    stack.push_async_callback(catalogue.close)
    rest = None
    if settings.discord_token is not None:
        choose_endpoint(settings).use()
        rest = RestClient(settings.discord_token.get_secret_value(), RequestBudget(state))
        stack.push_async_callback(rest.close)
    journal = JetStreamJournal(client, source=f"mapseek/{socket.gethostname()}/{os.getpid()}", now=utc_now)
    return OpenedArchive(folder, client, journal, state, generation, catalogue, open_blob_store(folder / "blobs"), rest)
