"""A guard around nats-py's fetch, as FastStream's pull loop calls it.

On a closed connection, a deleted consumer or a deleted stream fetch fails at once, and the loop calls it again at once: the process
freezes (closed: it never yields) or floods the server (deleted). The guard waits before it lets the error through. Its tests fail
once upstream no longer needs it. (The bare `asyncio.TimeoutError` of nats.py PR 1008 does not reach a fetch of one message.)

The guard also ends the fetching when the process is to stop: FastStream drops what it is given while it stops, and what a stage
puts back then would come back to the same process again and again, until its attempts were used up.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from pipeline.jobs import PUT_BACK_S

PAUSE_S = 0.5

Fetched = Callable[[str], None]


def guarded_context(js: JetStreamContext, fetched: Fetched, stopping: asyncio.Event) -> None:
    """Guard the fetches of every pull subscription made from this context.

    `fetched(consumer)` is told of each that worked; once `stopping` is set nothing is fetched any more.
    """
    bind = js.pull_subscribe_bind

    async def pull_subscribe_bind(*args: Any, **kwargs: Any) -> JetStreamContext.PullSubscription:
        subscription = await bind(*args, **kwargs)
        subscription.fetch = guarded_fetch(subscription, fetched, stopping)  # type: ignore[method-assign]
        return subscription

    js.pull_subscribe_bind = pull_subscribe_bind  # type: ignore[method-assign]


def guarded_fetch(subscription: JetStreamContext.PullSubscription, fetched: Fetched, stopping: asyncio.Event) -> Any:
    """The subscription's fetch with the guards of this module."""
    fetch = subscription.fetch
    consumer = str(subscription._consumer)

    async def guarded(batch: int = 1, timeout: float | None = 5, heartbeat: float | None = None) -> list[Msg]:
        if stopping.is_set():
            await asyncio.sleep(PAUSE_S)
            return []
        started = monotonic()
        try:
            messages = await fetch(batch, timeout, heartbeat)
        except (ConnectionClosedError, APIError):
            await asyncio.sleep(PAUSE_S)
            raise
        except TimeoutError:
            # Nothing came: a working consumer takes the whole timeout to say so.
            if timeout is not None and monotonic() - started < timeout / 2:
                await asyncio.sleep(PAUSE_S)
            else:
                fetched(consumer)
            raise
        fetched(consumer)
        if not stopping.is_set():
            return messages
        for message in messages:
            await message.nak(delay=PUT_BACK_S)
        return []

    return guarded
