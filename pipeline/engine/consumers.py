"""The configurations of the stages' durable consumers: one for each lane of a stage, and one for each generation if the stage works
by generation."""

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
    RECORD,
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
"""After this time without a sign of life, a message is delivered again. The runner sends one while it works."""

MAX_ACK_PENDING = 1024
"""Over all processes of a stage. Each worker fetches one message at a time, so this is no limit in practice."""

CONSUMER_FIELDS = ("filter_subjects", "ack_policy", "ack_wait", "max_deliver", "max_ack_pending")
"""The fields that are compared with the server and changed there. The start position is not: it only matters at creation."""


@dataclass(frozen=True, slots=True)
class StageConsumer:
    """A durable consumer of one stage in one lane: for the whole lane, or for the facts of one generation."""

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
    """Return a consumer for each lane of each stage; if the stage works by generation, also one for each generation that is not
    dropped."""
    shared = [
        _build_consumer(stage, family, [kind_filter(kind) for kind in kinds])
        for stage in stages
        for family in stage.families
        if (kinds := stage.list_consumed(family, by_generation=False))
    ]
    bound = [durable for generation in generations.alive for durable in plan_generation_consumers(stages, generation, generations)]
    order = {stage.name: index for index, stage in enumerate(stages)}
    return sorted(shared + bound, key=lambda durable: order[durable.stage])


def plan_generation_consumers(
    stages: Iterable[Stage[Any]], generation: Generation, generations: Generations
) -> list[StageConsumer]:
    """Return the consumers of all stages that work by generation, for one generation."""
    return [
        plan_generation_consumer(stage, family, generation, generations)
        for stage in stages
        for family in stage.families
        if stage.list_consumed(family, by_generation=True)
    ]


def plan_generation_consumer(stage: Stage[Any], family: str, generation: Generation, generations: Generations) -> StageConsumer:
    """Return the consumer of one stage for one generation.

    It starts at the beginning of the log. But if a generation is built from pictures that are in the log already, the build replays
    those, and this consumer starts behind them. A generation that already answers is not built again when a release brings a new
    stage: the stage's consumer starts at the beginning and catches up.
    """
    kinds = stage.list_consumed(family, by_generation=True)
    filters = [generation_filter(kind, generation) for kind in kinds]
    is_built = next(iter(generations.known)) != generation.name and not generations.serves(generation.name)
    after = generation.sequence if ImagePreprocessed in kinds and is_built else 0
    return _build_consumer(stage, family, filters, generation, after)


def plan_build_consumer(stage: Stage[Any], family: str, generation: Generation) -> StageConsumer:
    """Return the consumer of the replay that builds a generation.

    It starts at the beginning of the log; the replay leaves newer messages to the consumer of `plan_generation_consumer`.
    """
    filters = [generation_filter(kind, generation) for kind in stage.list_consumed(family, by_generation=True)]
    durable = _build_consumer(stage, family, filters, generation)
    name = past_consumer_name(durable.name)
    return replace(durable, config=durable.config.evolve(durable_name=name, name=name))


def plan_replay_consumer(
    stage: Stage[Any], family: str, name: str, filters: Iterable[str], after: int, *, kept_for: timedelta, notes: dict[str, str]
) -> StageConsumer:
    """Return the consumer of a stage's replay of everything that the filters match behind a stream sequence.

    The server keeps the `notes` with it, and deletes it if nobody fetched from it for the time `kept_for`.
    """
    config = _build_config(name, list(filters)).evolve(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after + 1,
        inactive_threshold=kept_for.total_seconds(),
        metadata=notes,
    )
    return StageConsumer(stage.name, family, LANES[family], config)


def plan_retry_consumers(stages: Iterable[Stage[Any]]) -> list[StageConsumer]:
    """Return a consumer for each stage that delivers the dead letters which somebody put back, of all lanes and generations."""
    return [
        StageConsumer(stage.name, "retry", RETRIES, _build_config(retry_consumer_name(stage.name), [retry_filter(stage.name)]))
        for stage in stages
    ]


def plan_message_retries() -> StageConsumer:
    """Return the consumer that delivers to the gateway the messages of Discord which are to be read again."""
    return StageConsumer(RECORD, "retry", RETRIES, _build_config(retry_consumer_name(RECORD), [retry_filter(RECORD)]))


def list_first_configs(durable: StageConsumer) -> list[ConsumerConfig]:
    """Return the configurations that a consumer of `plan_consumers` may have been created with.

    It starts at the beginning of the log, or behind the start of its generation. Which of the two was right depends on the moment.
    """
    starts = {0, durable.generation.sequence} if durable.generation else {0}
    return [_build_config(durable.name, list(durable.config.filter_subjects or ()), after) for after in sorted(starts)]


async def ensure_consumer(client: Client, durable: StageConsumer) -> bool:
    """Create a consumer if it is missing, and return whether it was. A paused consumer stays paused. Raises Unavailable."""
    if await read_consumer(client, durable.stream, durable.name) is not None:
        return False
    await put_consumer(client, durable)
    return True


async def put_consumer(client: Client, durable: StageConsumer) -> None:
    """Create a consumer, or give an existing one this configuration without moving its position. Raises Unavailable."""
    with translate_outages():
        await client.jetstream().add_consumer(durable.stream, durable.config)


def _build_consumer(
    stage: Stage[Any], family: str, filters: list[str], generation: Generation | None = None, after: int = 0
) -> StageConsumer:
    name = consumer_name(stage.name, family, generation.name if generation else None)
    return StageConsumer(stage.name, family, LANES[family], _build_config(name, filters, after), generation)


def _build_config(name: str, filters: list[str], after: int = 0) -> ConsumerConfig:
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
