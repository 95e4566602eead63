"""The streams and durable consumers that the stages need: planned here, compared with the server, and applied.

A release with a new stage or a new fact changes the subjects of streams and consumers. Its first start applies such a change
without being asked, since nothing is lost: entries and positions stay. But a process of the release before would get facts that it
does not know, and bury them. So the change is applied only when no process works on these consumers. If the subjects on the server
name a fact that this release does not know, a newer release was here, and nothing is changed.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from contracts.errors import MapSeekError, Unavailable
from contracts.events import FACTS
from contracts.generations import Generations
from contracts.stage import Stage
from contracts.subjects import (
    ALERTS,
    FAILURES,
    IMAGES,
    INCIDENTS,
    JUDGEMENTS,
    LANES,
    REMOVALS,
    RETRIES,
    SEARCHES,
    STREAM_SUBJECTS,
    import_key,
)
from infra.nats.connection import find_refused_subject, translate_outages
from infra.nats.consumers import read_consumer
from infra.nats.projections import read_generations
from infra.nats.reader import has_stream
from infra.nats.state import open_state
from pipeline.engine.consumers import (
    CONSUMER_FIELDS,
    StageConsumer,
    plan_consumers,
    plan_message_retries,
    plan_retry_consumers,
)

log = structlog.get_logger()

CONSUMER_CHECK_INTERVAL_S = 1.0

SUBJECT_FIELDS = ("subjects", "filter_subjects")

BUSY_CHECK_TIMEOUT_S = 1.0
"""How long to watch a consumer without a waiting fetch: all workers of a process may be busy, or the process may have died."""

KEEP_FOREVER = timedelta(0)
STREAM_RETENTION = {
    IMAGES: KEEP_FOREVER,
    SEARCHES: timedelta(days=7),
    JUDGEMENTS: KEEP_FOREVER,
    ALERTS: KEEP_FOREVER,
    REMOVALS: timedelta(days=30),
    FAILURES: timedelta(days=30),
    RETRIES: timedelta(days=30),
    INCIDENTS: timedelta(days=30),
}
"""How long each stream keeps its entries."""

_STREAM_FIELDS = ("subjects", "retention", "storage", "discard", "max_age", "max_msgs", "max_bytes", "max_msgs_per_subject")


@dataclass(frozen=True, slots=True)
class TopologyDifference:
    """A difference between the server and what this release needs. What is `missing` is created without being asked.

    `consumer` is (stream, name) if the difference is about a consumer.
    """

    what: str
    missing: bool
    field: str = ""
    wanted: object = None
    actual: object = None
    consumer: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.what} is missing" if self.missing else f"{self.what}: {self.field} is {self.actual}, not {self.wanted}"

    @property
    def is_known_subject_change(self) -> bool:
        """Whether only the choice of subjects differs, and this release knows all of them."""
        return self.field in SUBJECT_FIELDS and isinstance(self.actual, list) and all(map(_is_known, self.actual))


def compare_fields(
    what: str, fields: Sequence[str], wanted: object, actual: object, consumer: tuple[str, str] | None = None
) -> list[TopologyDifference]:
    """Return a difference for each field that does not have the wanted value."""
    return [
        TopologyDifference(what, False, field, ours, theirs, consumer)
        for field in fields
        if (ours := _to_comparable(getattr(wanted, field))) != (theirs := _to_comparable(getattr(actual, field)))
    ]


def _to_comparable(value: object) -> object:
    if isinstance(value, list):
        return sorted(value)
    return getattr(value, "value", value) or 0


def _is_known(subject: str) -> bool:
    """Return whether a subject or filter is for facts that this release knows."""
    _, family, name, *_ = subject.split(".")
    return f"{family}.{name}" in FACTS or (family in LANES and name == ">")


async def find_busy_consumer(js: JetStreamContext, found: Iterable[TopologyDifference]) -> TopologyDifference | None:
    """Return the first difference whose consumer has a process waiting for messages, or None."""
    for difference in found:
        if difference.consumer is not None and await _has_worker(js, *difference.consumer):
            return difference
    return None


async def _has_worker(js: JetStreamContext, stream: str, name: str) -> bool:
    deadline = monotonic() + BUSY_CHECK_TIMEOUT_S
    while not (info := await js.consumer_info(stream, name)).num_waiting:
        if not info.num_ack_pending or monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def plan_streams() -> list[StreamConfig]:
    """Return the configurations of all streams."""
    return [
        StreamConfig(
            name=name,
            subjects=list(subjects),
            retention=RetentionPolicy.WORK_QUEUE if name == RETRIES else RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW if STREAM_RETENTION[name] == KEEP_FOREVER else DiscardPolicy.OLD,
            max_age=STREAM_RETENTION[name].total_seconds(),
            max_msgs=-1,
            max_bytes=-1,
            max_msgs_per_subject=-1,
            allow_direct=True,
        )
        for name, subjects in STREAM_SUBJECTS.items()
    ]


async def find_differences(
    client: Client, stages: Sequence[Stage[Any]], generations: Generations | None = None, *, with_gateway: bool = True
) -> list[TopologyDifference]:
    """Return how the server differs from what the stages and the gateway need, by default for the generations that the log has."""
    js = client.jetstream()
    found: list[TopologyDifference] = []
    for wanted in plan_streams():
        what = f"stream {wanted.name}"
        try:
            found += compare_fields(what, _STREAM_FIELDS, wanted, (await js.stream_info(str(wanted.name))).config)
        except NotFoundError:
            found.append(TopologyDifference(what, missing=True))
    if generations is None:
        generations = await read_generations_if_any(client)
    retries = [*plan_retry_consumers(stages), *((plan_message_retries(),) if with_gateway else ())]
    for durable in (*plan_consumers(stages, generations), *retries):
        what, key = f"consumer {durable.name} of {durable.stream}", (durable.stream, durable.name)
        try:
            found += compare_fields(what, CONSUMER_FIELDS, durable.config, (await js.consumer_info(*key)).config, key)
        except NotFoundError:
            found.append(TopologyDifference(what, missing=True))
    return found


async def read_generations_if_any(client: Client) -> Generations:
    """Read the generations from the log. Return none if there is no log yet. Raises Unavailable."""
    return await read_generations(client) if await has_stream(client, IMAGES) else Generations()


async def update_topology(client: Client, stages: Sequence[Stage[Any]]) -> None:
    """Create and change streams and consumers as the stages need them. Log entries and consumer positions stay.

    Raises MapSeekError if an import was interrupted.
    """
    if stages:
        await refuse_unfinished_import(client)
    await _create_and_change(client, stages)


async def _create_and_change(client: Client, stages: Sequence[Stage[Any]]) -> None:
    js = client.jetstream()
    for wanted in plan_streams():
        await _upsert_stream(js, wanted)
    fixed = (*plan_retry_consumers(stages), plan_message_retries())
    for durable in (*plan_consumers(stages, await read_generations_if_any(client)), *fixed):
        await upsert_consumer(js, durable)


async def ensure_generation_consumers(client: Client, stages: Sequence[Stage[Any]], generations: Generations, name: str) -> None:
    """Create the missing consumers of one generation. Raises Unavailable if the server cannot be reached."""
    with translate_outages():
        for durable in plan_consumers(stages, generations):
            if durable.generation_name == name:
                await upsert_consumer(client.jetstream(), durable)


async def upsert_consumer(js: JetStreamContext, durable: StageConsumer) -> None:
    """Create a consumer, or change the fields that differ. An existing consumer keeps its position."""
    try:
        current = (await js.consumer_info(durable.stream, durable.name)).config
    except NotFoundError:
        await js.add_consumer(durable.stream, durable.config)
        return
    if compare_fields(durable.name, CONSUMER_FIELDS, durable.config, current):
        fields = {field: getattr(durable.config, field) for field in CONSUMER_FIELDS}
        await js.add_consumer(durable.stream, current.evolve(**fields))


async def _upsert_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        current = (await js.stream_info(str(wanted.name))).config
    except NotFoundError:
        await js.add_stream(wanted)
        return
    await js.update_stream(current.evolve(**{field: getattr(wanted, field) for field in _STREAM_FIELDS}))


async def refuse_unfinished_import(client: Client) -> None:
    """Raise MapSeekError if an import was interrupted.

    Consumers that are created now would start at the beginning of the log and repeat all work that was done before the export.
    """
    with suppress(Unavailable):  # reported by the calls that need the streams
        if await (await open_state(client)).get(import_key()) is not None:
            raise MapSeekError("An import into this installation was interrupted: run `mapseek import` with the same file again.")


async def check_topology(client: Client, stages: Sequence[Stage[Any]], *, with_gateway: bool = False) -> None:
    """Raise MapSeekError if the log is not as these stages and maybe the gateway need it, for a process that may not change it.

    The consumers of generations may be missing: see `wait_for_generation_consumers`.
    """
    try:
        if found := await find_differences(client, stages, Generations(), with_gateway=with_gateway):
            raise MapSeekError(
                f"The log on the server is not as this version needs it ({found[0]}): run `mapseek topology apply` as its operator."
            )
        if stages:
            await refuse_unfinished_import(client)
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise MapSeekError(_explain_failure(client, error)) from None


async def wait_for_generation_consumers(client: Client, stages: Sequence[Stage[Any]], generations: Generations, name: str) -> None:
    """Return when the consumers of one generation exist, which a process with more rights creates. Raises Unavailable."""
    for durable in plan_consumers(stages, generations):
        if durable.generation_name != name:
            continue
        awaited = False
        while await read_consumer(client, durable.stream, durable.name) is None:
            if not awaited:
                log.info("generation_consumer_awaited", consumer=durable.name, generation=name)
            awaited = True
            await asyncio.sleep(CONSUMER_CHECK_INTERVAL_S)


async def ensure_topology(client: Client, stages: Sequence[Stage[Any]]) -> None:
    """Create what is missing, and change subjects that this release changed.

    Raises MapSeekError if anything else differs, or if processes of another release work on what would change.
    """
    try:
        found = await find_differences(client, stages)
        if drift := [difference for difference in found if not difference.missing]:
            await _check_drift(client, stages, drift)
        if stages:
            await refuse_unfinished_import(client)
        if found:
            await _create_and_change(client, stages)
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise MapSeekError(_explain_failure(client, error)) from None


def _explain_failure(client: Client, error: Exception) -> str:
    """Return the sentence about streams and consumers that could not be read or created."""
    if subject := find_refused_subject(client):
        return f"The log refuses {subject} to this user: give it the permissions of its role (`mapseek topology server-config`)."
    return f"The NATS server could not create the streams ({error or type(error).__name__}): check that JetStream is on (`-js`)."


async def _check_drift(client: Client, stages: Sequence[Stage[Any]], drift: Sequence[TopologyDifference]) -> None:
    """Raise MapSeekError if a difference must not be changed at a start."""
    for difference in drift:
        if not difference.is_known_subject_change:
            raise MapSeekError(
                f"The log on the server is not as this version needs it ({difference}): "
                "look at `mapseek topology diff`, then run `mapseek topology apply`."
            )
    if (busy := await find_busy_consumer(client.jetstream(), drift)) is None:
        return
    # Another process of this release may have applied the change already, and work on it.
    if any(not difference.missing for difference in await find_differences(client, stages)):
        raise MapSeekError(f"Processes of another release work on this log ({busy.what}): stop them, then start this one.")
