"""The streams and durable consumers that the stages need: described here, compared with the server, applied on request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from contracts.errors import MapSeekError
from contracts.stage import Stage
from contracts.subjects import (
    ALERTS,
    FAILURES,
    IMAGES,
    JUDGEMENTS,
    LANES,
    REMOVALS,
    SEARCHES,
    STREAM_SUBJECTS,
    durable_name,
    kind_filter,
)

ACK_WAIT_S = 30.0
"""A message that is silent for so long is delivered again; the runner keeps a working one alive."""

MAX_ACK_PENDING = 1024
"""Across all processes of a stage. Each worker fetches one message at a time, so this bounds nothing in practice."""

FOR_EVER = timedelta(0)
KEPT_FOR = {
    IMAGES: FOR_EVER,
    SEARCHES: timedelta(days=7),
    JUDGEMENTS: FOR_EVER,
    ALERTS: FOR_EVER,
    REMOVALS: timedelta(days=30),
    FAILURES: timedelta(days=30),
}
"""How long a log keeps its entries."""

_STREAM_FIELDS = ("subjects", "retention", "storage", "discard", "max_age", "max_msgs", "max_bytes", "max_msgs_per_subject")
_CONSUMER_FIELDS = ("filter_subjects", "deliver_policy", "ack_policy", "ack_wait", "max_deliver", "max_ack_pending")


@dataclass(frozen=True, slots=True)
class Durable:
    """One stage's place in one lane."""

    stage: str
    family: str
    stream: str
    config: ConsumerConfig

    @property
    def name(self) -> str:
        return durable_name(self.stage, self.family)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something on the server that is not as it should be; `missing` things are made without asking, others are not."""

    what: str
    missing: bool
    field: str = ""
    wanted: object = None
    actual: object = None

    def __str__(self) -> str:
        return f"{self.what} is missing" if self.missing else f"{self.what}: {self.field} is {self.actual}, not {self.wanted}"


def streams() -> list[StreamConfig]:
    """The logs."""
    return [
        StreamConfig(
            name=name,
            subjects=list(subjects),
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW if KEPT_FOR[name] == FOR_EVER else DiscardPolicy.OLD,
            max_age=KEPT_FOR[name].total_seconds(),
            max_msgs=-1,
            max_bytes=-1,
            max_msgs_per_subject=-1,
            allow_direct=True,
        )
        for name, subjects in STREAM_SUBJECTS.items()
    ]


def durables(stages: Iterable[Stage[Any]]) -> list[Durable]:
    """One durable for each lane of each stage."""
    return [
        Durable(
            stage.name,
            family,
            LANES[family],
            ConsumerConfig(
                durable_name=durable_name(stage.name, family),
                name=durable_name(stage.name, family),
                filter_subjects=sorted(kind_filter(fact) for fact in stage.consumed_in(family)),
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                max_deliver=-1,
                max_ack_pending=MAX_ACK_PENDING,
            ),
        )
        for stage in stages
        for family in stage.families
    ]


async def differences(client: Client, stages: Sequence[Stage[Any]]) -> list[Difference]:
    """How the server differs from what the stages need."""
    js = client.jetstream()
    found: list[Difference] = []
    for wanted in streams():
        what = f"stream {wanted.name}"
        try:
            found += _changed(what, _STREAM_FIELDS, wanted, (await js.stream_info(str(wanted.name))).config)
        except NotFoundError:
            found.append(Difference(what, missing=True))
    for durable in durables(stages):
        what = f"consumer {durable.name} of {durable.stream}"
        try:
            found += _changed(what, _CONSUMER_FIELDS, durable.config, (await js.consumer_info(durable.stream, durable.name)).config)
        except NotFoundError:
            found.append(Difference(what, missing=True))
    return found


def _changed(what: str, fields: Sequence[str], wanted: object, actual: object) -> list[Difference]:
    return [
        Difference(what, False, field, ours, theirs)
        for field in fields
        if (ours := _plain(getattr(wanted, field))) != (theirs := _plain(getattr(actual, field)))
    ]


def _plain(value: object) -> object:
    if isinstance(value, list):
        return sorted(value)
    return getattr(value, "value", value) or 0


async def apply(client: Client, stages: Sequence[Stage[Any]]) -> None:
    """Make the server as the stages need it, changing what differs. Entries of a log and places of consumers stay."""
    js = client.jetstream()
    for wanted in streams():
        await _upsert_stream(js, wanted)
    for durable in durables(stages):
        await js.add_consumer(durable.stream, durable.config)


async def _upsert_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        current = (await js.stream_info(str(wanted.name))).config
    except NotFoundError:
        await js.add_stream(wanted)
        return
    await js.update_stream(current.evolve(**{field: getattr(wanted, field) for field in _STREAM_FIELDS}))


async def ensure(client: Client, stages: Sequence[Stage[Any]]) -> None:
    """Make what is missing; refuse to start on what differs. Raises MapSeekError with one sentence."""
    try:
        drift = [difference for difference in await differences(client, stages) if not difference.missing]
        if drift:
            raise MapSeekError(
                f"The log on the server is not as this version needs it ({drift[0]}): "
                "see `mapseek topology diff`, then run `mapseek topology apply`."
            )
        await apply(client, stages)
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise MapSeekError(
            f"The NATS server could not make the streams ({error or type(error).__name__}): is JetStream switched on (`-js`)?"
        ) from None
