"""Fixtures: a log to rebuild projections from, the catalogue that the persist stage filled, and an index that follows the log."""

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.ports import Catalogue
from infra.mongo.catalogue import open_mongo_catalogue
from infra.nats.connection import LogAddress, connect
from infra.nats.journal import JetStreamJournal
from infra.sqlite.catalogue import open_sqlite_catalogue
from pipeline.projections.snapshots import open_vector_projection
from pipeline.projections.vectors import VectorProjection
from tests.support.mongo_server import drop_database, run_mongo_server
from tests.support.programs import log_environment
from tests.support.replays import OpenCatalogue, OpenIndex, record_histories, run_persist


@pytest.fixture
async def log(client: Client, journal: JetStreamJournal) -> JetStreamJournal:
    await record_histories(client, journal)
    return journal


@pytest.fixture(scope="package")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_mongo_server(tmp_path_factory.mktemp("mongo")) as server:
        yield server.uri


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of every process."""
    return tmp_path / "data"


@pytest.fixture(params=["sqlite", "mongodb"])
def environment(request: pytest.FixtureRequest, data: Path, log_address: LogAddress) -> Iterator[Mapping[str, str]]:
    """The environment variables of a `mapseek` that works on this log."""
    ours = {"MAPSEEK_DATA_DIR": str(data), **log_environment(log_address), "MAPSEEK_CATALOGUE": request.param}
    if request.param != "mongodb":
        yield ours
        return
    uri, name = request.getfixturevalue("mongodb"), f"mapseek_test_{uuid.uuid4().hex[:12]}"
    yield ours | {"MONGODB_URI": uri, "MAPSEEK_MONGODB_DATABASE": name}
    drop_database(uri, name)


@pytest.fixture
async def open_catalogue(environment: Mapping[str, str], data: Path) -> AsyncIterator[OpenCatalogue]:
    """A function that opens the catalogue, as each process does for itself."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Catalogue:
            if "MONGODB_URI" in environment:
                database = environment["MONGODB_URI"], environment["MAPSEEK_MONGODB_DATABASE"]
                catalogue: Catalogue = await open_mongo_catalogue(*database)
            else:
                catalogue = await open_sqlite_catalogue(data / "catalogue.sqlite")
            stack.push_async_callback(catalogue.close)
            return catalogue

        yield open_one


@pytest.fixture
async def catalogue(open_catalogue: OpenCatalogue, log: JetStreamJournal, client: Client) -> Catalogue:
    """A catalogue that the persist stage filled."""
    catalogue = await open_catalogue()
    async with run_persist(client, catalogue):
        pass
    return catalogue


@pytest.fixture
def folder(data: Path) -> Path:
    """The folder of the index's snapshot."""
    return data / "vectors"


@pytest.fixture
def open_index(log_address: LogAddress, folder: Path) -> OpenIndex:
    """A function that opens the index, as each process that searches does."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[VectorProjection]:
        connection = await connect(log_address, "a process")
        try:
            async with open_vector_projection(connection, folder) as index:
                yield index
        finally:
            await connection.close()

    return open_one
