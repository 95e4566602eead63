"""How much of a log matches a filter. The server counts it for a consumer, however much it is; nothing is read."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from infra.nats.outages import outages
from infra.nats.tail import last_sequence


async def count_of(client: Client, stream: str, filters: Sequence[str], *, after: int = 0) -> int:
    """How many entries behind a stream sequence match. Raises Unavailable when the log cannot be reached."""
    start = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": after + 1}
    with outages():
        return (await _info(client, stream, list(filters), start)).num_pending or 0


async def last_before(client: Client, stream: str, moment: datetime) -> int:
    """The sequence of the last entry that was recorded before a moment of the past, 0 where there is none. Raises Unavailable."""
    start = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": moment}
    with outages():
        info = await _info(client, stream, [], start)
    if info.num_pending and info.delivered:
        return info.delivered.stream_seq  # a consumer that begins later counts what is before as delivered
    return await last_sequence(client, stream)


async def count_on(client: Client, stream: str, subjects: str) -> int:
    """How many entries a stream has on some subjects, 0 where there is no such stream. Raises Unavailable."""
    with outages():
        try:
            info = await client.jetstream().stream_info(stream, subjects_filter=subjects)
        except NotFoundError:
            return 0
    return sum((info.state.subjects or {}).values())


async def _info(client: Client, stream: str, filters: list[str], start: dict[str, Any]) -> ConsumerInfo:
    js = client.jetstream()
    config = ConsumerConfig(
        filter_subjects=filters or None, ack_policy=AckPolicy.NONE, inactive_threshold=5, mem_storage=True, **start
    )
    info = await js.add_consumer(stream, config)
    with suppress(NatsError, JetStreamError, TimeoutError):
        await js.delete_consumer(stream, info.name)
    return info
