"""The state of every stage in every lane, read from the log itself. It is right even if no process is running."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from contracts.stage import Stage
from contracts.subjects import FAILURES, failure_filter
from infra.nats.connection import Client
from infra.nats.consumers import Consumer, read_consumer
from infra.nats.reader import count_on_subjects
from pipeline.engine.consumers import StageConsumer, plan_consumers
from pipeline.engine.topology import read_generations_if_any


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage in one lane, or for one generation there.

    Counts are messages; `rate` is finished messages a second over the sample.
    """

    stage: str
    lane: str
    generation: str | None
    pending: int
    in_flight: int
    redelivered: int
    dead_letters: int
    done: int
    rate: float
    workers_waiting: int
    last_activity: datetime | None


async def read_status(
    client: Client,
    stages: Sequence[Stage[Any]],
    sample_s: float = 1.0,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> list[StageStatus]:
    """Read the state of each stage.

    It takes `sample_s` seconds to measure the rate, which is 0 if `sample_s` is 0. Raises Unavailable.
    """
    wanted = plan_consumers(stages, await read_generations_if_any(client))
    before = await asyncio.gather(*(_read_consumer(client, durable) for durable in wanted))
    await sleep(sample_s)
    after = await asyncio.gather(*(_read_consumer(client, durable) for durable in wanted))
    letters = await asyncio.gather(*(_count_dead_letters(client, durable) for durable in wanted))
    return [
        _build_status(durable, first, second, dead, sample_s)
        for durable, first, second, dead in zip(wanted, before, after, letters, strict=True)
    ]


async def _read_consumer(client: Client, durable: StageConsumer) -> Consumer | None:
    return await read_consumer(client, durable.stream, durable.name)


async def _count_dead_letters(client: Client, durable: StageConsumer) -> int:
    return await count_on_subjects(client, FAILURES, failure_filter(durable.stage, durable.family, durable.generation_name))


def _build_status(
    durable: StageConsumer, before: Consumer | None, after: Consumer | None, dead: int, sample_s: float
) -> StageStatus:
    if before is None or after is None:
        return StageStatus(durable.stage, durable.family, durable.generation_name, 0, 0, 0, dead, 0, 0.0, 0, None)
    return StageStatus(
        stage=durable.stage,
        lane=durable.family,
        generation=durable.generation_name,
        pending=after.pending,
        in_flight=after.in_flight,
        redelivered=after.redelivered,
        dead_letters=dead,
        done=_count_settled(after),
        rate=max(0, _count_settled(after) - _count_settled(before)) / sample_s if sample_s else 0.0,
        workers_waiting=after.waiting,
        last_activity=after.last_active,
    )


def _count_settled(consumer: Consumer) -> int:
    """Return the number of settled messages. Each redelivery counts as a delivery, so messages in flight are subtracted."""
    return consumer.deliveries - consumer.in_flight


async def count_unsettled(client: Client, durable: StageConsumer) -> int:
    """Count the messages of a consumer that are not settled. Raises Unavailable."""
    consumer = await _read_consumer(client, durable)
    return 0 if consumer is None else consumer.unsettled


async def find_idle_stages(
    client: Client, stages: Sequence[Stage[Any]], family: str, *, generation: str | None = None, within_s: float = 1.0
) -> list[Stage[Any]]:
    """Return the stages whose consumers, in one lane or for one generation in it, have no worker in any process.

    Raises Unavailable.
    """

    async def has_worker(stage: Stage[Any]) -> bool:
        in_lane = [durable for durable in plan_consumers([stage], generations) if durable.family == family]
        own = [durable for durable in in_lane if generation in (None, durable.generation_name)]
        deadline = monotonic() + within_s
        while True:
            existing = [consumer for durable in own if (consumer := await _read_consumer(client, durable)) is not None]
            if any(consumer.waiting for consumer in existing):
                return True
            if not any(consumer.in_flight for consumer in existing) or monotonic() > deadline:
                return False
            # Every worker may be busy or dead. Watch for a moment to know which.
            await asyncio.sleep(0.05)

    generations = await read_generations_if_any(client)
    results = await asyncio.gather(*(has_worker(stage) for stage in stages))
    return [stage for stage, busy in zip(stages, results, strict=True) if not busy]
