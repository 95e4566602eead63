"""The searches that are answered from now on, by whichever process."""

from collections.abc import AsyncIterator

from nats.aio.client import Client

from contracts.events import SearchAnswered
from contracts.subjects import SEARCHES, kind_filter
from infra.nats.tail import follow, last_sequence, readable


async def answered(client: Client) -> AsyncIterator[SearchAnswered]:
    """Every answer that is recorded after the call, for ever."""
    async for message in follow(client, SEARCHES, [kind_filter(SearchAnswered)], after=await last_sequence(client, SEARCHES)):
        recorded = readable(message)
        if recorded is not None and isinstance(recorded.fact, SearchAnswered):
            yield recorded.fact
