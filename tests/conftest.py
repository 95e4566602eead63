"""Fixtures that every kind of test may use: a real nats-server for each test that asks for one."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported, here and in every program that a test starts

import cv2
import hypothesis
import pytest
import structlog
from nats.aio.client import Client
from threadpoolctl import threadpool_limits

from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.server import embedded_server
from pipeline.clock import utc_now
from pipeline.engine import consumers
from pipeline.settings import Settings
from tests.support import impatient

OTHER_TOOLS_SETTINGS = ("DISCORD_TOKEN", "NATS_URL", "MONGODB_URI")

threadpool_limits(1)  # as in production: tests stand beside each other, and matrices are small
cv2.setNumThreads(1)

hypothesis.settings.register_profile("tests", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """No setting of the developer's own reaches a test."""
    with pytest.MonkeyPatch.context() as environment:
        for name in tuple(os.environ):
            if name.upper().startswith("MAPSEEK_") or name.upper() in OTHER_TOOLS_SETTINGS:
                environment.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Data of the test's own, and no `.env` of the developer's."""
    monkeypatch.setenv("MAPSEEK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    """Plain tracebacks: the pretty ones show all variables, which takes seconds where those are large."""
    structlog.reset_defaults()
    *processors, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, renderer])
    yield
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def restored_loggers() -> Iterator[None]:
    """For a test that configures logging: handlers and levels are put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logger.level for name, logger in root.manager.loggerDict.items() if isinstance(logger, logging.Logger)}
    yield
    root.handlers, root.level = handlers, level
    for name in root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    """A real nats-server with JetStream, on a free port, with an empty store."""
    async with embedded_server(tmp_path / "nats-server") as url:
        yield url


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    connection = await connect(nats_url, "test")
    yield connection
    await connection.close()


@pytest.fixture
def journal(client: Client) -> JetStreamJournal:
    return JetStreamJournal(client, source="test", now=utc_now)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings on a folder of the test's own; monitoring on any free port."""

    def make(**values: object) -> Settings:
        return Settings(**{"data_dir": tmp_path / "data", "http_port": 0, "_env_file": None, **values})  # type: ignore[arg-type]

    return make


@pytest.fixture
def impatient_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same consumers in this process as in the programs that are killed."""
    monkeypatch.setattr(consumers, "ACK_WAIT_S", impatient.ACK_WAIT_S)
