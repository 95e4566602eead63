"""Following the log: in order, from any position, and ended when it is cancelled."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.subjects import IMAGES
from infra.nats import reader
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import decode_entry_or_warn, decode_or_warn, follow_entries, follow_log, read_entries
from infra.tasks import cancel_tasks
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from tests.support.facts import posted
from tests.support.waiting import eventually

FILTERS = ["mapseek.image.>"]
POSTS = "mapseek.image.posted.>"


async def test_entries_come_in_order_from_behind_a_position_and_then_live(client: Client, journal: JetStreamJournal) -> None:
    await topology.ensure_topology(client, STAGES)
    for number in range(5):
        await journal.record(posted(str(number)), Origin("m"))
    await client.jetstream().publish("mapseek.image.posted.v1.7.x", b"unreadable")
    read: list[tuple[int, str | None]] = []
    async for message in follow_log(client, IMAGES, FILTERS, after=2):
        recorded = decode_or_warn(message)
        read.append((message.metadata.sequence.stream, recorded.fact.key[1] if recorded else None))
        if len(read) == 4:
            await journal.record(posted("live"), Origin("m"))
        if len(read) == 5:
            break
    assert read == [(3, "2"), (4, "3"), (5, "4"), (6, None), (7, "live")]


async def test_entries_are_read_without_a_consumer_batch_by_batch(
    client: Client, journal: JetStreamJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FETCH_BATCH_MESSAGES", 3)
    await topology.ensure_topology(client, STAGES)
    js = client.jetstream()
    before = len(await js.consumers_info(IMAGES))
    assert [entry async for entry in read_entries(client, IMAGES, POSTS)] == []
    for number in range(8):
        await journal.record(posted(str(number)), Origin("m"))
        await js.publish(f"mapseek.image.other.v1.7.{number}", b"of another kind")
    await js.delete_msg(IMAGES, 5)
    found = [entry async for entry in read_entries(client, IMAGES, POSTS)]
    assert [entry.sequence for entry in found] == [1, 3, 7, 9, 11, 13, 15]
    assert [recorded.fact.key[1] for entry in found if (recorded := decode_entry_or_warn(entry))] == list("0134567")
    assert [entry.sequence async for entry in read_entries(client, IMAGES, POSTS, after=9)] == [11, 13, 15]
    moment = (await js.get_msg(IMAGES, 13)).time
    assert [entry.sequence async for entry in read_entries(client, IMAGES, POSTS, since=moment)] == [13, 15]
    assert len(await js.consumers_info(IMAGES)) == before


async def test_reading_entries_of_a_missing_stream_is_an_outage(client: Client) -> None:
    with pytest.raises(Unavailable):
        _ = [entry async for entry in read_entries(client, "NONE", POSTS)]


async def test_an_entry_that_is_lost_on_its_way_is_noticed(
    client: Client, journal: JetStreamJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await topology.ensure_topology(client, STAGES)
    for number in range(3):
        await journal.record(posted(str(number)), Origin("m"))
    receive = Subscription.next_msg

    async def lose_the_second(self: Any, *args: Any) -> Msg:
        message = await receive(self, *args)
        return await receive(self, *args) if (message.headers or {}).get("Nats-Sequence") == "2" else message

    monkeypatch.setattr(Subscription, "next_msg", lose_the_second)
    with pytest.raises(Unavailable, match="an entry of IMAGES behind 1 was lost on its way"):
        _ = [entry async for entry in read_entries(client, IMAGES, POSTS)]


async def test_following_entries_hears_of_new_ones_and_survives_a_restart_of_the_server(
    client: Client, journal: JetStreamJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FOLLOW_INTERVAL_S", 3600)
    await topology.ensure_topology(client, STAGES)
    wake, read = asyncio.Event(), list[str]()

    async def follow() -> None:
        async for entry in follow_entries(client, IMAGES, POSTS, wake=wake):
            read.append(entry.subject.split(".")[5])

    following = asyncio.create_task(follow())
    await journal.record(posted("1"), Origin("m"))
    await eventually(lambda: read == ["1"])
    os.kill(int((tmp_path / "nats-server" / "server.pid").read_text()), signal.SIGKILL)
    await eventually(lambda: not client.is_connected)
    wake.set()
    await eventually(lambda: client.is_connected)

    async def record_again() -> bool:
        try:
            return await journal.record(posted("2"), Origin("m"))
        except Unavailable:
            return False

    await eventually(record_again)
    await eventually(lambda: wake.set() or read == ["1", "2"])
    assert await journal.record(posted("3"), Origin("m"))
    await eventually(lambda: read == ["1", "2", "3"])
    await cancel_tasks(following)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="fixed in Python 3.12")
async def test_python_3_11_still_loses_a_cancellation_that_comes_together_with_a_result() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(asyncio.wait_for(result, 5))
    await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    assert await waiting == 1


async def test_following_ends_even_if_a_fetch_loses_the_cancellation(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await topology.ensure_topology(client, STAGES)
    fetching = asyncio.Event()
    fetch = JetStreamContext.PullSubscription.fetch

    async def lose_cancellation(self: Any, *args: Any, **kwargs: Any) -> list[Msg]:
        fetching.set()
        try:
            return await fetch(self, *args, **kwargs)
        except asyncio.CancelledError:
            return []

    monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", lose_cancellation)

    async def read() -> None:
        async for _ in follow_log(client, IMAGES, FILTERS):
            pass

    reading = asyncio.create_task(read())
    await fetching.wait()
    reading.cancel()
    done, _ = await asyncio.wait({reading}, timeout=3)
    assert done
    assert reading.cancelled()
