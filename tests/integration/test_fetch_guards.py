"""The guards around nats-py. The first test of a pair fails once upstream no longer needs the guard: then delete both."""

import asyncio
from time import monotonic

import pytest
from nats.aio.client import Client
from nats.errors import ConnectionClosedError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.errors import APIError

from contracts.envelope import Origin
from infra.nats.connection import LogAddress, connect
from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology, worker
from pipeline.engine.worker import guard_fetch, guard_fetches
from tests.support.bench_stage import STAGE
from tests.support.facts import posted
from tests.support.waiting import eventually


@pytest.fixture
async def subscription(client: Client) -> JetStreamContext.PullSubscription:
    await topology.ensure_topology(client, [STAGE])
    return await client.jetstream().pull_subscribe_bind("download-image", stream="IMAGES")


async def test_a_fetch_without_messages_counts_as_a_fetch(subscription: JetStreamContext.PullSubscription) -> None:
    fetched: list[str] = []
    with pytest.raises(NatsTimeout):
        await guard_fetch(subscription, fetched.append, asyncio.Event())(1, timeout=0.1)
    assert fetched == ["download-image"]


async def test_upstream_still_fails_at_once_when_the_consumer_is_deleted(
    client: Client, subscription: JetStreamContext.PullSubscription
) -> None:
    await client.jetstream().delete_consumer("IMAGES", "download-image")
    began = monotonic()
    with pytest.raises((APIError, TimeoutError)):
        await subscription.fetch(1, timeout=5)
    assert monotonic() - began < worker.FETCH_ERROR_PAUSE_S


async def test_the_guard_waits_when_the_consumer_is_deleted_and_reports_no_fetch(
    client: Client, subscription: JetStreamContext.PullSubscription
) -> None:
    await client.jetstream().delete_consumer("IMAGES", "download-image")
    fetched: list[str] = []
    began = monotonic()
    with pytest.raises((APIError, NatsTimeout)):
        await guard_fetch(subscription, fetched.append, asyncio.Event())(1, timeout=5)
    assert monotonic() - began >= worker.FETCH_ERROR_PAUSE_S
    assert fetched == []


async def create_closed_subscription(address: LogAddress) -> JetStreamContext.PullSubscription:
    connection = await connect(address, "to be closed")
    subscription = await connection.jetstream().pull_subscribe_bind("download-image", stream="IMAGES")
    await connection.close()
    return subscription


@pytest.mark.usefixtures("subscription")
async def test_upstream_still_fails_without_yielding_on_a_closed_connection(log_address: LogAddress) -> None:
    subscription = await create_closed_subscription(log_address)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count_turns())
    await asyncio.sleep(0)
    before = turns
    for _ in range(100):
        with pytest.raises(ConnectionClosedError):
            await subscription.fetch(1, timeout=5)
    assert turns == before
    task.cancel()


@pytest.mark.usefixtures("subscription")
async def test_the_guard_lets_other_tasks_run_on_a_closed_connection(log_address: LogAddress) -> None:
    subscription = await create_closed_subscription(log_address)
    began = monotonic()
    with pytest.raises(ConnectionClosedError):
        await guard_fetch(subscription, lambda _consumer: None, asyncio.Event())(1, timeout=5)
    assert monotonic() - began >= worker.FETCH_ERROR_PAUSE_S


@pytest.mark.usefixtures("subscription")
async def test_every_subscription_of_a_guarded_context_is_guarded(client: Client) -> None:
    fetched: list[str] = []
    js = client.jetstream()
    guard_fetches(js, fetched.append, asyncio.Event())
    subscription = await js.pull_subscribe("mapseek.image.>", durable="download-image", stream="IMAGES")
    with pytest.raises(NatsTimeout):
        await subscription.fetch(1, timeout=0.1)
    assert fetched == ["download-image"]


async def test_a_stopping_worker_puts_messages_back_and_fetches_no_more(
    client: Client, journal: JetStreamJournal, subscription: JetStreamContext.PullSubscription
) -> None:
    stopping = asyncio.Event()
    fetch = guard_fetch(subscription, lambda _consumer: None, stopping)
    fetching = asyncio.create_task(fetch(1, timeout=5))
    await eventually(lambda: has_waiting_fetch(client))
    stopping.set()
    await journal.record(posted(), Origin("m"))
    assert await fetching == []
    assert await fetch(1, timeout=5) == []
    [message] = await subscription.fetch(1, timeout=5)
    assert message.metadata.num_delivered == 2


async def has_waiting_fetch(client: Client) -> bool:
    return bool((await client.jetstream().consumer_info("IMAGES", "download-image")).num_waiting)
