"""Metrics, health and status of a real process on a real nats-server."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import MapSeekError, Retry
from contracts.events import ImagePosted
from contracts.events.base import Fact
from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from pipeline.engine import worker
from pipeline.engine.registry import STAGES, find_stages
from pipeline.monitoring import health
from pipeline.monitoring.status import find_idle_stages, read_status
from pipeline.process import Process, open_process
from pipeline.settings import Settings
from tests.support.bench_stage import STAGE, count_unsettled, run_stage
from tests.support.facts import posted
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _short_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker without messages end its fetch soon."""
    monkeypatch.setattr(worker, "WORKER_FETCH_TIMEOUT_S", 0.5)


MakeSettings = Callable[..., Settings]


@asynccontextmanager
async def run_persist(settings: Settings, address: LogAddress) -> AsyncIterator[tuple[Process, Callable[[str], Any]]]:
    """Run a process with the persist stage, and return a function that gets its monitoring pages as (status, body)."""
    async with (
        open_process(settings, address, find_stages(["persist"]), monitored=True) as process,
        aiohttp.ClientSession(f"http://127.0.0.1:{process.monitoring_port}") as session,
    ):

        async def get(path: str) -> tuple[int, str]:
            async with session.get(path) as response:
                return response.status, await response.text()

        yield process, get


async def test_a_working_process_is_ready_and_counts_its_messages(
    log_address: LogAddress, journal: JetStreamJournal, settings: MakeSettings
) -> None:
    async with run_persist(settings(), log_address) as (_, get):

        async def ready() -> bool:
            return (await get("/readyz"))[0] == 200

        await journal.record(posted(), Origin("m"))
        await eventually(ready)
        assert (await get("/healthz"))[0] == 200

        async def counted() -> bool:
            return 'mapseek_messages_succeeded_total{lane="image",stage="persist"} 1.0' in (await get("/metrics"))[1]

        await eventually(counted)
        page = (await get("/metrics"))[1]
        assert 'mapseek_messages_received_total{lane="image",stage="persist"} 1.0' in page
        assert 'mapseek_message_duration_seconds_count{lane="image",stage="persist"} 1.0' in page


async def test_a_process_whose_consumer_is_deleted_is_not_ready(
    log_address: LogAddress, client: Client, settings: MakeSettings
) -> None:
    async with run_persist(settings(), log_address) as (_, get):
        await client.jetstream().delete_consumer("IMAGES", "persist-image")
        code, body = await get("/readyz")
        assert code == 503
        assert "consumer cannot be reached" in body


async def test_a_process_that_does_not_fetch_is_not_ready(
    log_address: LogAddress, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_persist(settings(), log_address) as (_, get):

        async def fetched() -> bool:
            return (await get("/readyz"))[0] == 200

        await eventually(fetched)
        monkeypatch.setattr(health, "RECENT_FETCH_S", 0.0)
        code, body = await get("/readyz")
        assert code == 503
        assert "no recent fetch" in body


async def test_a_stage_that_waits_for_a_dependency_is_not_ready(log_address: LogAddress, settings: MakeSettings) -> None:
    async with run_persist(settings(), log_address) as (process, get):
        process.runtime.waiting_for["persist"] = "catalogue"
        code, body = await get("/readyz")
        assert code == 503
        assert "persist waits for catalogue" in body


async def test_a_message_that_takes_too_long_is_told(
    log_address: LogAddress, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_persist(settings(), log_address) as (process, get):
        with process.runtime.metrics.track_message(("persist", "search")):

            async def page_tells_the_age() -> bool:
                page = (await get("/metrics"))[1]
                age = re.search(r'mapseek_oldest_message_seconds{lane="search",stage="persist"} (\S+)', page)
                return age is not None and float(age[1]) > 0.05

            await eventually(page_tells_the_age)
            assert "working on a message" not in (await get("/readyz"))[1]
            monkeypatch.setitem(health.STUCK_AFTER_S, "search", 0.05)
            code, body = await get("/readyz")
            assert code == 503
            assert "persist has been working on a message for 0 s (search lane)" in body
        assert "working on a message" not in (await get("/readyz"))[1]
        assert 'mapseek_oldest_message_seconds{lane="search",stage="persist"} 0.0' in (await get("/metrics"))[1]


async def test_a_taken_monitoring_port_is_refused_with_one_sentence(log_address: LogAddress, settings: MakeSettings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MapSeekError, match=rf"127\.0\.0\.1:{port} cannot be used .*MAPSEEK_HTTP_PORT"):
            async with run_persist(settings(http_port=port), log_address):
                pass


async def test_status_has_pending_in_flight_dead_letters_and_rate(
    log_address: LogAddress, client: Client, journal: JetStreamJournal
) -> None:
    release = asyncio.Event()

    async def work(event: Fact) -> Sequence[Fact]:
        assert isinstance(event, ImagePosted)
        if event.image_id == "0":
            raise Retry("never works")
        await release.wait()
        return []

    async with run_stage(log_address, client, journal, work, number=2):
        await journal.record(posted("0"), Origin("m"))

        async def image_lane() -> Any:
            return next(row for row in await read_status(client, [STAGE], 0.1) if row.lane == "image")

        async def buried() -> bool:
            return bool((await image_lane()).dead_letters == 1)

        await eventually(buried)
        for number in range(1, 6):
            await journal.record(posted(str(number)), Origin("m"))

        async def busy() -> Any:
            row = await image_lane()
            return row if row.in_flight == 2 else None

        row = await eventually(busy)
        assert (row.pending, row.dead_letters) == (3, 1)
        assert row.last_activity is not None
        assert row.rate == 0.0

        async def until_all_is_done(_: float) -> None:
            release.set()
            await eventually(settled)

        async def settled() -> bool:
            return await count_unsettled(client, "IMAGES", "download-image") == 0

        [row] = [row for row in await read_status(client, [STAGE], 1.0, until_all_is_done) if row.lane == "image"]
        assert (row.pending, row.in_flight) == (0, 0)
        assert row.rate == 5.0


async def test_a_stage_that_a_process_runs_is_not_idle(log_address: LogAddress, client: Client, settings: MakeSettings) -> None:
    async with open_process(settings(), log_address, find_stages(["persist"])):

        async def idle() -> set[str]:
            return {stage.name for stage in await find_idle_stages(client, [s for s in STAGES if "image" in s.families], "image")}

        async def only_others() -> bool:
            return await idle() == {stage.name for stage in STAGES if "image" in stage.families} - {"persist"}

        await eventually(only_others)
    await eventually(lambda: _all_idle(client))


async def _all_idle(client: Client) -> bool:
    lane = [stage for stage in STAGES if "image" in stage.families]
    return len(await find_idle_stages(client, lane, "image")) == len(lane)
