"""The durable consumers of the stages: one for each lane of a stage, one for each generation where it works by generation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from contracts.events import ImagePreprocessed
from contracts.generations import Generation, Generations
from contracts.stage import Stage
from contracts.subjects import (
    LANES,
    RETRIES,
    consumer_name,
    generation_filter,
    kind_filter,
    past_consumer_name,
    retry_consumer_name,
    retry_filter,
)
from infra.nats.connection import Client, translate_outages
from infra.nats.consumers import read_consumer

ACK_WAIT_S = 30.0
"""A message that is silent for so long is delivered again; the runner keeps a working one alive."""

MAX_ACK_PENDING = 1024
"""Across all processes of a stage. Each worker fetches one message at a time, so this bounds nothing in practice."""

CONSUMER_FIELDS = ("filter_subjects", "ack_policy", "ack_wait", "max_deliver", "max_ack_pending")
"""What is compared with the server, and changed there. Not where a durable begins: that is its own story."""


@dataclass(frozen=True, slots=True)
class StageConsumer:
    """One stage's place in one lane: in all of it, or in what is for one generation."""

    stage: str
    family: str
    stream: str
    config: ConsumerConfig

    generation: Generation | None = None

    @property
    def generation_name(self) -> str | None:
        return self.generation.name if self.generation else None

    @property
    def name(self) -> str:
        return str(self.config.durable_name)


def plan_consumers(stages: Sequence[Stage[Any]], generations: Generations) -> list[StageConsumer]:
    """One durable for each lane of each stage, and one more for each generation that lives, where the stage works by generation."""
    shared = [
        _durable(stage, family, [kind_filter(kind) for kind in kinds])
        for stage in stages
        for family in stage.families
        if (kinds := stage.list_consumed(family, by_generation=False))
    ]
    bound = [durable for generation in generations.alive for durable in plan_generation_consumers(stages, generation, generations)]
    places = {stage.name: place for place, stage in enumerate(stages)}
    return sorted(shared + bound, key=lambda durable: places[durable.stage])


def plan_generation_consumers(
    stages: Iterable[Stage[Any]], generation: Generation, generations: Generations
) -> list[StageConsumer]:
    """The durables that there are for one generation."""
    return [
        plan_generation_consumer(stage, family, generation, generations)
        for stage in stages
        for family in stage.families
        if stage.list_consumed(family, by_generation=True)
    ]


def plan_generation_consumer(stage: Stage[Any], family: str, generation: Generation, generations: Generations) -> StageConsumer:
    """A stage's place in what is for one generation.

    It begins at the start of the log, but for pictures that were there before a generation that is built: those are the replay's.
    One that answers already, when a release comes with a stage that it was built without, is not built again: the stage catches up.
    """
    kinds = stage.list_consumed(family, by_generation=True)
    filters = [generation_filter(kind, generation) for kind in kinds]
    built = next(iter(generations.known)) != generation.name and not generations.serves(generation.name)
    after = generation.sequence if ImagePreprocessed in kinds and built else 0
    return _durable(stage, family, filters, generation, after)


def plan_build_consumer(stage: Stage[Any], family: str, generation: Generation) -> StageConsumer:
    """The place of a generation's replay: from the start of the log. Whoever works on it leaves what is newer to the other."""
    filters = [generation_filter(kind, generation) for kind in stage.list_consumed(family, by_generation=True)]
    durable = _durable(stage, family, filters, generation)
    name = past_consumer_name(durable.name)
    return replace(durable, config=durable.config.evolve(durable_name=name, name=name))


def plan_replay_consumer(
    stage: Stage[Any], family: str, name: str, filters: Iterable[str], after: int, *, kept_for: timedelta, notes: dict[str, str]
) -> StageConsumer:
    """The place of a stage's replay of what some filters match behind a stream sequence.

    The server forgets it when nobody has worked on it for so long, and keeps the `notes` with it.
    """
    config = _config(name, list(filters)).evolve(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after + 1,
        inactive_threshold=kept_for.total_seconds(),
        metadata=notes,
    )
    return StageConsumer(stage.name, family, LANES[family], config)


def plan_retry_consumers(stages: Iterable[Stage[Any]]) -> list[StageConsumer]:
    """Where each stage finds the dead letters that somebody put back, of all its lanes and generations."""
    return [
        StageConsumer(stage.name, "retry", RETRIES, _config(retry_consumer_name(stage.name), [retry_filter(stage.name)]))
        for stage in stages
    ]


async def ensure_consumer(client: Client, durable: StageConsumer) -> bool:
    """Make a durable if there is none, and say whether there was none. One that is paused stays so. Raises Unavailable."""
    if await read_consumer(client, durable.stream, durable.name) is not None:
        return False
    await put_consumer(client, durable)
    return True


async def put_consumer(client: Client, durable: StageConsumer) -> None:
    """Make a durable, or give one that is there this configuration; it stays at its place. Raises Unavailable."""
    with translate_outages():
        await client.jetstream().add_consumer(durable.stream, durable.config)


def _durable(
    stage: Stage[Any], family: str, filters: list[str], generation: Generation | None = None, after: int = 0
) -> StageConsumer:
    name = consumer_name(stage.name, family, generation.name if generation else None)
    return StageConsumer(stage.name, family, LANES[family], _config(name, filters, after), generation)


def _config(name: str, filters: list[str], after: int = 0) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=name,
        name=name,
        filter_subjects=sorted(filters),
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE if after else DeliverPolicy.ALL,
        opt_start_seq=after + 1 if after else None,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=MAX_ACK_PENDING,
    )
