"""Following the log: it ends when it is told to, also in the middle of a flood."""

import asyncio

from nats.aio.client import Client

from contracts.subjects import IMAGES
from infra.nats.tail import follow
from pipeline import topology
from pipeline.registry import STAGES


async def test_a_cancellation_that_comes_together_with_messages_is_not_lost(client: Client) -> None:
    await topology.ensure(client, STAGES)
    js = client.jetstream()
    for number in range(50):
        await js.publish(f"mapseek.image.posted.v1.7.{number}", b"")

    async def read() -> None:
        async for _ in follow(client, IMAGES, ["mapseek.image.>"]):
            pass

    for passes in range(200):
        reader = asyncio.create_task(read())
        while client.stats["in_msgs"] % 50 < 40 and not reader.done():
            await asyncio.sleep(0)
        for _ in range(passes % 20):
            await asyncio.sleep(0)
        reader.cancel()
        done, _ = await asyncio.wait({reader}, timeout=1)
        assert done, f"lost after {passes} rounds"
