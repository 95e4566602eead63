"""Following the log: in order, from any position, and ended when it is cancelled."""

import asyncio
import sys
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from contracts.envelope import Origin
from contracts.subjects import IMAGES
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import decode_or_warn, follow_log
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from tests.support.facts import posted

FILTERS = ["mapseek.image.>"]


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

    reader = asyncio.create_task(read())
    await fetching.wait()
    reader.cancel()
    done, _ = await asyncio.wait({reader}, timeout=3)
    assert done
    assert reader.cancelled()
