"""Whoever listens is heard of at once."""

from nats.aio.client import Client
from nats.aio.msg import Msg

from infra.nats.connection import connect, subscribe_subject


async def test_who_asks_after_somebody_began_to_listen_is_answered(client: Client, nats_url: str) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"here")

    other = await connect(nats_url, "another process")
    try:
        for number in range(300):
            async with subscribe_subject(other, f"asked.{number}", answer):
                assert (await client.request(f"asked.{number}", timeout=5)).data == b"here"
    finally:
        await other.close()
