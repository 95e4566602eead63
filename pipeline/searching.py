"""The searches that are under way."""

import asyncio
from contextlib import suppress

from contracts.subjects import SEARCHES, durable_name
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer
from infra.nats.reader import last_sequence
from infra.tasks import end_if_cancelled
from stages import embed, fingerprint, match

WITHIN_S = 30.0


async def finished(client: Client) -> None:
    """Return when every search that was asked before is matched, or after half a minute: what then still waits, waits for more.

    Raises Unavailable when the log cannot be reached.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(WITHIN_S):
            for stage in (fingerprint.STAGE, embed.STAGE, match.STAGE):
                until = await last_sequence(client, SEARCHES)
                while await _first_open(client, durable_name(stage.name, "search")) <= until:
                    end_if_cancelled()
                    await asyncio.sleep(0.1)


async def _first_open(client: Client, durable: str) -> float:
    """The place of the first entry that this durable has not settled yet; beyond all where it has nothing to do."""
    consumer = await read_consumer(client, SEARCHES, durable)
    return consumer.settled + 1 if consumer is not None and consumer.unsettled else float("inf")
