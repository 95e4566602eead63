"""The state suite on a JetStream key-value bucket, and on the fake that other tests use instead."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.api import StorageType

from contracts.errors import Unavailable
from contracts.subjects import STATE_BUCKET
from infra.nats.connection import LogAddress, connect
from infra.nats.state import JetStreamState, open_state
from tests.support.fakes import MemoryState
from tests.support.programs import freeze, thaw
from tests.support.state import KEY, Outage, StateSuite


class TestMemory(StateSuite):
    @pytest.fixture
    def state(self) -> MemoryState:
        return MemoryState()

    @pytest.fixture
    def other(self, state: MemoryState) -> MemoryState:
        return state

    @pytest.fixture
    def outage(self, state: MemoryState) -> Outage:
        return Outage(state, lambda: setattr(state, "down", True), lambda: setattr(state, "down", False))


class TestJetStream(StateSuite):
    @pytest.fixture
    async def state(self, client: Client) -> JetStreamState:
        return await open_state(client)

    @pytest.fixture
    async def other(self, log_address: LogAddress, state: JetStreamState) -> AsyncIterator[JetStreamState]:
        connection = await connect(log_address, "other")
        yield await open_state(connection)
        await connection.close()

    @pytest.fixture
    async def outage(self, client: Client, tmp_path: Path) -> Outage:
        pid = int((tmp_path / "nats-server" / "server.pid").read_text())
        state = await open_state(client, timeout=0.3)
        return Outage(state, lambda: freeze(pid), lambda: thaw(pid))

    async def test_the_bucket_is_on_disk_and_keeps_no_history(self, client: Client, state: JetStreamState) -> None:
        await state.put(KEY, b"personal")
        await state.delete(KEY)
        info = await client.jetstream().stream_info(f"KV_{STATE_BUCKET}")
        assert info.config.storage == StorageType.FILE
        assert info.config.max_msgs_per_subject == 1
        assert info.state.messages == 1

    async def test_many_clients_can_create_the_bucket_at_once(self, client: Client) -> None:
        first, *others = await asyncio.gather(*(open_state(client) for _ in range(5)))
        await first.put(KEY, b"one")
        assert [(await each.get(KEY)).value for each in others] == [b"one"] * 4  # type: ignore[union-attr]

    async def test_opening_without_a_server_is_unavailable(self, client: Client, outage: Outage) -> None:
        outage.begin()
        with pytest.raises(Unavailable):
            await open_state(client, timeout=0.2)
        outage.end()

    async def test_a_closed_connection_is_unavailable(self, log_address: LogAddress) -> None:
        connection = await connect(log_address, "short")
        state = await open_state(connection)
        await connection.close()
        for call in (state.get(KEY), state.put(KEY, b"one"), state.list_under("settings")):
            with pytest.raises(Unavailable):
                await call
