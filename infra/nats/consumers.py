"""The consumers of a stream: read their state, delete, pause, resume, copy and restore them."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nats.aio.client import Client
from nats.js.api import ConsumerConfig, ConsumerInfo, SequenceInfo
from nats.js.errors import NotFoundError

from infra.nats.connection import translate_outages


@dataclass(frozen=True, slots=True)
class Consumer:
    """The state of a consumer now.

    Counts are messages. `pending`: not yet delivered. `in_flight`: delivered and not settled. `deliveries` counts every delivery,
    redeliveries included. `waiting`: fetches that wait for messages. `delivered` is the stream sequence of the last message that
    was delivered. `settled` is the stream sequence up to which all messages are settled. Both are 0 if there is no such message.
    """

    name: str
    filters: tuple[str, ...]
    metadata: Mapping[str, str]
    pending: int
    in_flight: int
    redelivered: int
    deliveries: int
    waiting: int
    delivered: int
    settled: int
    last_active: datetime | None
    paused: bool

    @property
    def unsettled(self) -> int:
        """Messages that are not settled yet: pending or in flight."""
        return self.pending + self.in_flight


@dataclass(frozen=True, slots=True)
class ConsumerCopy:
    """What is needed to restore a durable consumer: its configuration, and the stream sequence up to which all is settled."""

    name: str
    config: dict[str, Any]
    settled: int


async def read_consumer(client: Client, stream: str, name: str, *, timeout: float = 5) -> Consumer | None:
    """Return a consumer of a stream, or None if there is no such consumer. Raises Unavailable."""
    with translate_outages():
        try:
            return _to_consumer(await client.jetstream(timeout=timeout).consumer_info(stream, name))
        except NotFoundError:
            return None


async def list_consumers(client: Client, stream: str) -> list[Consumer]:
    """Return all consumers of a stream, sorted by name. Raises Unavailable."""
    return [_to_consumer(info) for info in await _list_infos(client, stream)]


async def delete_consumer(client: Client, stream: str, name: str) -> bool:
    """Delete a consumer. Return False if there is none. Raises Unavailable."""
    return await _await_request(client.jetstream().delete_consumer(stream, name))


async def pause_consumer(client: Client, stream: str, name: str, until: datetime) -> bool:
    """Stop a consumer from delivering messages until a point in time. Return False if there is none. Raises Unavailable."""
    return await _await_request(client.jetstream().pause_consumer(stream, name, until.isoformat().replace("+00:00", "Z")))


async def resume_consumer(client: Client, stream: str, name: str) -> bool:
    """Let a paused consumer deliver again. Return False if there is none. Raises Unavailable."""
    return await _await_request(client.jetstream().resume_consumer(stream, name))


async def copy_consumers(client: Client, stream: str) -> list[ConsumerCopy]:
    """Return the durable consumers of a stream, sorted by name, without the metadata that the server adds. Raises Unavailable."""
    return [
        ConsumerCopy(
            info.config.durable_name,
            {name: value for name, value in info.config.as_dict().items() if name != "metadata"},
            _sequence(info.ack_floor),
        )
        for info in await _list_infos(client, stream)
        if info.config.durable_name
    ]


async def restore_consumer(client: Client, stream: str, copy: ConsumerCopy) -> None:
    """Create a durable consumer at its old position. If it exists, only reset its position. Raises Unavailable."""
    js = client.jetstream()
    with translate_outages():
        await js.add_consumer(stream, ConsumerConfig.from_response(dict(copy.config)))
        if copy.settled:
            await js.reset_consumer(stream, copy.name, copy.settled + 1)


async def _await_request(request: Awaitable[object]) -> bool:
    """Await a request about a consumer. Return False if there is no such consumer. Raises Unavailable."""
    with translate_outages():
        try:
            await request
        except NotFoundError:
            return False
    return True


async def _list_infos(client: Client, stream: str) -> list[ConsumerInfo]:
    """Read the infos of all consumers of a stream, page by page."""
    js, infos = client.jetstream(), list[ConsumerInfo]()
    with translate_outages():
        while page := await js.consumers_info(stream, offset=len(infos)):
            infos += page
    return sorted(infos, key=lambda info: info.name)


def _to_consumer(info: ConsumerInfo) -> Consumer:
    return Consumer(
        name=info.name,
        filters=tuple(info.config.filter_subjects or [info.config.filter_subject or ">"]),
        metadata=info.config.metadata or {},
        pending=info.num_pending or 0,
        in_flight=info.num_ack_pending or 0,
        redelivered=info.num_redelivered or 0,
        deliveries=info.delivered.consumer_seq if info.delivered else 0,
        waiting=info.num_waiting or 0,
        delivered=_sequence(info.delivered),
        settled=_sequence(info.ack_floor),
        last_active=info.delivered.last_active if info.delivered else None,
        paused=bool(info.paused),
    )


def _sequence(info: SequenceInfo | None) -> int:
    return info.stream_seq if info else 0
