"""The server knows a subscription as soon as `subscribe_subject` yields."""

from nats.aio.client import Client
from nats.aio.msg import Msg

from infra.nats.connection import LogAddress, connect, subscribe_subject


async def test_a_request_after_the_subscription_is_answered(client: Client, log_address: LogAddress) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"here")

    other = await connect(log_address, "another process")
    try:
        for number in range(300):
            async with subscribe_subject(other, f"asked.{number}", answer):
                assert (await client.request(f"asked.{number}", timeout=5)).data == b"here"
    finally:
        await other.close()
