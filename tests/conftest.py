"""Fixtures for all kinds of tests: a clean environment, and a real nats-server for each test that needs one."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # numpy and torch read it when they are imported, here and in programs that tests start

import cv2
import hypothesis
import pytest
import structlog
from nats.aio.client import Client
from threadpoolctl import threadpool_limits

from infra.nats.connection import LogAddress, connect
from infra.nats.journal import JetStreamJournal
from infra.nats.server import embedded_server
from infra.sandbox.simulator import Simulator
from pipeline.clock import utc_now
from pipeline.engine import consumers
from pipeline.settings import Settings
from tests.support import impatient
from tests.support.log_servers import kill_servers_at_the_end
from tests.support.openapi import DISCORD_DOCUMENT, DOCUMENT_VARIABLE, DiscordTape
from tests.support.workers import ThreadWorkers, share_worker_processes

OTHER_TOOLS_SETTINGS = ("DISCORD_TOKEN", "NATS_URL", "MONGODB_URI")

threadpool_limits(1)  # as in production: tests run in parallel, and matrices are small
cv2.setNumThreads(1)

hypothesis.settings.register_profile("tests", deadline=None)  # the time of an example depends on the machine
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Remove the developer's own settings, so that they do not affect tests."""
    with pytest.MonkeyPatch.context() as environment:
        for name in tuple(os.environ):
            if name.upper().startswith("MAPSEEK_") or name.upper() in OTHER_TOOLS_SETTINGS:
                environment.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give each test its own data folder, and do not read the developer's `.env`."""
    monkeypatch.setenv("MAPSEEK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    """Use plain tracebacks: the rich ones render all variables, which takes seconds if these are large."""
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
async def log_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LogAddress]:
    """A real nats-server with JetStream, on a free port, with an empty store."""
    async with embedded_server(tmp_path / "nats-server") as address:
        yield address
        kill_servers_at_the_end(monkeypatch)


@pytest.fixture
async def client(log_address: LogAddress) -> AsyncIterator[Client]:
    connection = await connect(log_address, "test")
    yield connection
    await connection.close()


@pytest.fixture
def journal(client: Client) -> JetStreamJournal:
    return JetStreamJournal(client, source="test", now=utc_now)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Build settings with the test's own data folder and any free port for monitoring."""

    def make(**values: object) -> Settings:
        return Settings(**{"data_dir": tmp_path / "data", "http_port": 0, "_env_file": None, **values})  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session", autouse=True)
def _shared_worker_processes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        share_worker_processes(patch)
        yield


@pytest.fixture
def pictures_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on pictures in this process, for a test that patches how it is done."""
    monkeypatch.setattr("infra.vision.workers.WorkerProcesses", ThreadWorkers)


@pytest.fixture
def impatient_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the short acknowledgement wait of the programs that are killed also in this process."""
    monkeypatch.setattr(consumers, "ACK_WAIT_S", impatient.ACK_WAIT_S)


@pytest.fixture(scope="session")
def _discord_tape() -> Iterator[DiscordTape | None]:
    """Hear every simulated Discord of the process, if Discord's OpenAPI document is at hand."""
    if DISCORD_DOCUMENT is None:
        yield None
        return
    tape = DiscordTape(DISCORD_DOCUMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Simulator, "on_exchange", tape.hear_exchange)
        patch.setattr(Simulator, "on_event", tape.hear_event)
        yield tape


@pytest.fixture(autouse=True)
def _checked_discord(request: pytest.FixtureRequest, _discord_tape: DiscordTape | None) -> Iterator[None]:
    """Fail a test in which our client or the simulated Discord said what Discord's OpenAPI document does not allow.

    The tests of the simulator itself send what Discord refuses, so there only its answers are checked.
    """
    if _discord_tape is None:
        yield
        return
    _discord_tape.requests_too = "simulator" not in request.path.parts
    yield
    if violations := _discord_tape.report():
        pytest.fail("Discord's OpenAPI document does not allow:\n" + "\n".join(violations), pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say whether Discord's OpenAPI document was at hand."""
    if DISCORD_DOCUMENT is None:
        terminalreporter.write_line(
            f"Requests and answers of Discord were not checked: {DOCUMENT_VARIABLE} names no OpenAPI document."
        )
