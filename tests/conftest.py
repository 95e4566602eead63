"""Fixtures that every kind of test may use: a real nats-server for each test that asks for one."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from nats.aio.client import Client

from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.server import embedded_server
from pipeline.clock import utc_now
from pipeline.engine import consumers
from pipeline.settings import Settings
from tests.suites import impatient


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's own reaches a test."""
    for name in ("DISCORD_TOKEN", "NATS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAPSEEK_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


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
