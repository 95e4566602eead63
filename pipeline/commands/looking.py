"""What the commands share that look at the whole archive from outside: the log, the catalogue, the blobs and Discord."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import MapSeekError, Unavailable
from contracts.generations import Generation
from contracts.ports import Catalogue, State
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.discord.rest.client import RestLogin
from infra.discord.rest.rate_limit import Budget
from infra.nats.connection import Client, connect, disconnect
from infra.nats.journal import JetStreamJournal
from infra.nats.projections import read_generations
from infra.nats.state import open_state
from pipeline import topology
from pipeline.clock import utc_now
from pipeline.commands.opened import archive_server
from pipeline.container import open_catalogue
from pipeline.process import endpoint
from pipeline.registry import STAGES
from pipeline.settings import Settings, prepared_data_dir


@dataclass(frozen=True, slots=True)
class Look:
    """What is open. `rest` is None without a bot token."""

    folder: Path
    client: Client
    journal: JetStreamJournal
    state: State
    generation: Generation
    catalogue: Catalogue
    blobs: FileBlobStore
    rest: RestLogin | None


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Look]:
    """Open everything. Raises MapSeekError where something cannot be, or is lost on the way."""
    try:
        async with AsyncExitStack() as stack:
            yield await _look(settings, stack)
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: see to it, then try again.") from outage


async def _look(settings: Settings, stack: AsyncExitStack) -> Look:
    client = await connect(await stack.enter_async_context(archive_server(settings)), "mapseek-look")
    stack.push_async_callback(disconnect, client)
    await topology.ensure(client, STAGES)
    generation = (await read_generations(client)).active
    if generation is None:
        raise MapSeekError("There is no archive here yet: no model was ever started (`mapseek up`, or `mapseek archive`).")
    state = await open_state(client)
    folder = prepared_data_dir(settings)
    catalogue = await open_catalogue(settings, folder)
    stack.push_async_callback(catalogue.close)
    rest = None
    if settings.discord_token is not None:
        endpoint(settings).use()
        rest = RestLogin(settings.discord_token.get_secret_value(), Budget(state))
        stack.push_async_callback(rest.close)
    journal = JetStreamJournal(client, source=f"mapseek/{socket.gethostname()}/{os.getpid()}", now=utc_now)
    return Look(folder, client, journal, state, generation, catalogue, open_blob_store(folder / "blobs"), rest)
