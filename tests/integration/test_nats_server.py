"""The embedded nats-server: other processes find it, it is restarted when killed, and errors at its start are one sentence."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from infra.nats import server
from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.server import embedded_server, read_announced_address
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.process import open_log_server
from tests.support.bench_stage import STAGE, count_messages
from tests.support.facts import posted
from tests.support.programs import run_program
from tests.support.waiting import eventually


def read_server_pid(folder: Path) -> int:
    return int((folder / "server.pid").read_text())


async def test_a_running_server_is_announced(tmp_path: Path) -> None:
    async with embedded_server(tmp_path) as address:
        assert read_announced_address(tmp_path) == address
        pid = read_server_pid(tmp_path)
    assert read_announced_address(tmp_path) is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with embedded_server(tmp_path):
        with pytest.raises(MapSeekError, match="Another MapSeek already runs"):
            async with embedded_server(tmp_path):
                pass


async def test_a_taken_port_is_refused_with_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MapSeekError, match=f"Port {port} is taken: set MAPSEEK_NATS_PORT"):
            async with embedded_server(tmp_path, port):
                pass


async def test_a_server_that_cannot_start_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the store should be")
    with pytest.raises(MapSeekError, match="nats-server could not be started") as caught:
        async with embedded_server(tmp_path):
            pass
    assert "\n" not in str(caught.value)


async def test_a_missing_server_is_reported_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MapSeekError, match="nats-server is not installed"):
        async with embedded_server(tmp_path):
            pass


async def test_a_killed_server_restarts_on_its_port_with_all_acknowledged_entries(tmp_path: Path) -> None:
    async with embedded_server(tmp_path) as address:
        client = await connect(address, "test")
        await topology.ensure_topology(client, [STAGE])
        journal = JetStreamJournal(client, source="test", now=utc_now)
        await journal.record(posted("1"), Origin("m"))
        first = read_server_pid(tmp_path)
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: read_server_pid(tmp_path) != first)

        async def recorded_again() -> bool:
            async with asyncio.timeout(5):
                return await count_messages(client, "IMAGES") == 1

        await eventually(lambda: client.is_connected)
        assert await eventually(recorded_again)
        assert not await journal.record(posted("1"), Origin("m"))
        assert await journal.record(posted("2"), Origin("m"))
        await client.close()


async def test_a_server_left_over_from_a_killed_process_is_ended_first(tmp_path: Path) -> None:
    async with embedded_server(tmp_path):
        pass
    orphan, _url = await server._start(tmp_path, 0)
    async with embedded_server(tmp_path):
        assert read_server_pid(tmp_path) != orphan.pid
        assert await asyncio.wait_for(orphan.wait(), 10) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a program with its parent")
async def test_the_server_ends_when_its_process_is_killed(tmp_path: Path) -> None:
    environment = {"MAPSEEK_DATA_DIR": str(tmp_path), "MAPSEEK_MODEL": "mapseek-untrained", "DISCORD_TOKEN": "MQ.b.c"}
    async with run_program(tmp_path / "log", "up", environment=environment | {"MAPSEEK_DISCORD_API": "http://127.0.0.1:9"}) as up:
        await eventually(lambda: (tmp_path / "nats" / "server.json").exists())
        server_process = psutil.Process(read_server_pid(tmp_path / "nats"))
        await up.kill()
        await eventually(lambda: not server_process.is_running() or server_process.status() == psutil.STATUS_ZOMBIE)


async def test_a_data_folder_that_cannot_be_written_is_refused_with_one_sentence(tmp_path: Path, settings) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    with pytest.raises(MapSeekError, match=r"cannot be written .*MAPSEEK_DATA_DIR"):
        async with open_log_server(settings(data_dir=tmp_path / "file" / "data")):
            pass
