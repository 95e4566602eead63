"""Reading the log in order from any place on, without a durable: for projections, and for those who look for something in it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from contracts.errors import Malformed
from infra.nats.outages import outages
from infra.nats.wire import Recorded, read
from infra.tasks import end_if_cancelled

log = structlog.get_logger()

BATCH = 256


async def follow(client: Client, stream: str, filters: Sequence[str], *, after: int = 0) -> AsyncGenerator[Msg, None]:
    """Every matching message with a stream sequence above `after`, in order, then the new ones as they come, for ever.

    Survives restarts of the server: the ephemeral consumer is made anew behind the last entry that was yielded.
    """
    position = after
    while True:
        try:
            async for message in _messages(client, stream, filters, position):
                metadata = message.metadata
                if metadata.sequence.stream <= position:
                    continue
                position = metadata.sequence.stream
                yield message
        except ConnectionClosedError:
            raise
        except (NatsError, JetStreamError, TimeoutError) as error:
            log.debug("reading the log again", stream=stream, after=position, error=str(error) or type(error).__name__)
            await asyncio.sleep(0.25)


async def _messages(client: Client, stream: str, filters: Sequence[str], after: int) -> AsyncIterator[Msg]:
    js = client.jetstream()
    async with _reading(js, stream, filters, _behind(after)) as (subscription, info):
        while True:
            end_if_cancelled()
            try:
                messages = await subscription.fetch(BATCH, timeout=5)
            except TimeoutError:
                # Quiet, or the consumer is gone (a restarted server forgets it): asking tells which.
                await js.consumer_info(stream, info.name)
                continue
            for message in messages:
                yield message


async def past(
    client: Client, stream: str, filters: Sequence[str], *, since: datetime | None = None, after: int = 0, bodies: bool = True
) -> AsyncGenerator[Msg, None]:
    """Every matching message that is in the log now, in order: of those recorded since a moment, or behind a stream sequence.

    Without `bodies` their data is empty, which spares the way for those who need only subjects and headers.
    What is recorded or purged meanwhile is left out. Raises Unavailable, in the middle too when the server goes away there.
    """
    js = client.jetstream()
    until = await last_sequence(client, stream)
    start = _behind(after) if since is None else {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": since}
    start |= {"headers_only": not bodies}
    with outages():
        async with _reading(js, stream, filters, start) as (subscription, info):
            left = info.num_pending or 0
            while left:
                end_if_cancelled()
                try:
                    messages = await subscription.fetch(min(left, BATCH), timeout=1)
                except TimeoutError:
                    left = (await js.consumer_info(stream, info.name)).num_pending or 0  # none when what was left has been purged
                    continue
                for message in messages:
                    if message.metadata.sequence.stream > until:
                        return
                    yield message
                left = messages[-1].metadata.num_pending or 0


def _behind(sequence: int) -> dict[str, Any]:
    return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": sequence + 1}


@asynccontextmanager
async def _reading(
    js: JetStreamContext, stream: str, filters: Sequence[str], start: dict[str, Any]
) -> AsyncIterator[tuple[JetStreamContext.PullSubscription, ConsumerInfo]]:
    """A consumer of one's own, for as long as one reads."""
    config = ConsumerConfig(
        filter_subjects=list(filters), ack_policy=AckPolicy.NONE, inactive_threshold=30, mem_storage=True, **start
    )
    info = await js.add_consumer(stream, config)
    subscription = await js.pull_subscribe_bind(info.name, stream=stream)
    try:
        yield subscription, info
    finally:
        with suppress(NatsError, JetStreamError, TimeoutError):
            await subscription.unsubscribe()
            await js.delete_consumer(stream, info.name)


def readable(message: Msg) -> Recorded | None:
    """The fact of a log entry, or None, with a warning, if this version cannot read it."""
    try:
        return read(message.subject, message.headers, message.data)
    except Malformed as error:
        log.warning("an unreadable log entry is passed over", subject=message.subject, error=str(error))
        return None


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a stream has come, how many entries it holds, and when it was made."""

    last: int
    entries: int
    created: datetime | None


async def read_stream(client: Client, stream: str) -> StreamState:
    """The state of a stream. Raises Unavailable, also where there is no such stream."""
    with outages():
        info = await client.jetstream().stream_info(stream)
    return StreamState(info.state.last_seq, info.state.messages, info.created)


async def has_stream(client: Client, stream: str) -> bool:
    """Whether there is a stream of that name. Raises Unavailable."""
    with outages():
        try:
            await client.jetstream().stream_info(stream)
        except NotFoundError:
            return False
    return True


async def last_sequence(client: Client, stream: str) -> int:
    """The sequence of the last entry of a stream; 0 when it is empty. Raises as `read_stream`."""
    return (await read_stream(client, stream)).last
