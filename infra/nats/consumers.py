"""The consumers of a stream: what the server tells of them, and what is done to them."""

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
    """A consumer as it stands now.

    Counts are messages: `pending` ones are still to be delivered, `in_flight` ones are delivered and not settled; `deliveries`
    counts each delivery of each. `waiting` are the fetches that wait for messages. `delivered` is the stream sequence of the last
    message that was delivered, `settled` the one up to which all are settled; each is 0 where there is none.
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
        """Messages that somebody has still to work on, or is at work on."""
        return self.pending + self.in_flight


@dataclass(frozen=True, slots=True)
class ConsumerCopy:
    """What a durable consumer is made anew from: its configuration, and the stream sequence up to which all is settled."""

    name: str
    config: dict[str, Any]
    settled: int


async def read_consumer(client: Client, stream: str, name: str, *, timeout: float = 5) -> Consumer | None:
    """A consumer of a stream, None where there is none. Raises Unavailable."""
    with translate_outages():
        try:
            return _consumer(await client.jetstream(timeout=timeout).consumer_info(stream, name))
        except NotFoundError:
            return None


async def list_consumers(client: Client, stream: str) -> list[Consumer]:
    """All consumers of a stream, by name. Raises Unavailable."""
    return [_consumer(info) for info in await _infos(client, stream)]


async def delete_consumer(client: Client, stream: str, name: str) -> bool:
    """Delete a consumer; False where there is none. Raises Unavailable."""
    return await _is_there(client.jetstream().delete_consumer(stream, name))


async def pause_consumer(client: Client, stream: str, name: str, until: datetime) -> bool:
    """Let a consumer deliver nothing up to a moment; False where there is none. Raises Unavailable."""
    return await _is_there(client.jetstream().pause_consumer(stream, name, until.isoformat().replace("+00:00", "Z")))


async def resume_consumer(client: Client, stream: str, name: str) -> bool:
    """Let a paused consumer deliver again; False where there is none. Raises Unavailable."""
    return await _is_there(client.jetstream().resume_consumer(stream, name))


async def copy_consumers(client: Client, stream: str) -> list[ConsumerCopy]:
    """The durable consumers of a stream, by name, without what the server notes in their metadata. Raises Unavailable."""
    return [
        ConsumerCopy(
            info.config.durable_name,
            {name: value for name, value in info.config.as_dict().items() if name != "metadata"},
            _sequence(info.ack_floor),
        )
        for info in await _infos(client, stream)
        if info.config.durable_name
    ]


async def restore_consumer(client: Client, stream: str, copy: ConsumerCopy) -> None:
    """Make a durable consumer anew in its place. One that is there is only put in it. Raises Unavailable."""
    js = client.jetstream()
    with translate_outages():
        await js.add_consumer(stream, ConsumerConfig.from_response(dict(copy.config)))
        if copy.settled:
            await js.reset_consumer(stream, copy.name, copy.settled + 1)


async def _is_there(request: Awaitable[object]) -> bool:
    """Make a request about a consumer; False where there is no such consumer. Raises Unavailable."""
    with translate_outages():
        try:
            await request
        except NotFoundError:
            return False
    return True


async def _infos(client: Client, stream: str) -> list[ConsumerInfo]:
    """What the server tells of all consumers of a stream, a page at a time."""
    js, infos = client.jetstream(), list[ConsumerInfo]()
    with translate_outages():
        while page := await js.consumers_info(stream, offset=len(infos)):
            infos += page
    return sorted(infos, key=lambda info: info.name)


def _consumer(info: ConsumerInfo) -> Consumer:
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


def _sequence(place: SequenceInfo | None) -> int:
    return place.stream_seq if place else 0
