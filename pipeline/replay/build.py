"""Build a generation from the archived pictures; start, join, pause, resume and cancel such a build.

Nothing is downloaded, and the active generation keeps answering. Pictures that were archived before the generation started have
consumers of their own, one for each stage that makes something of them. These run side by side, in any number of processes. Later
posts go through the generation's own consumers. At its end a build works on those too, so that no other process has to run.
"""

import asyncio
import os
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import ImageFact, ImagePreprocessed
from contracts.generations import Generation, Generations
from contracts.ports import ImageEncoder
from contracts.stage import Stage
from contracts.subjects import IMAGES, variant_filter
from infra.nats.connection import Client, Msg
from infra.nats.consumers import delete_consumer, pause_consumer, resume_consumer
from infra.nats.projections import read_generations
from infra.nats.reader import count_entries, decode_or_warn, read_last_sequence
from infra.tasks import cancel_tasks
from pipeline.container import Container
from pipeline.engine import topology
from pipeline.engine.bulk_consumer import (
    Concurrency,
    ConsumerDeleted,
    Limits,
    ReplaySpan,
    SkipCheck,
    replay_span,
    retry_through_outages,
)
from pipeline.engine.consumers import StageConsumer, ensure_consumer, plan_build_consumer, plan_consumers
from pipeline.engine.job import Job
from pipeline.engine.registry import STAGES
from pipeline.generations.drop import erase_generation
from pipeline.generations.encoders import encoder_label, fits_generation
from pipeline.generations.lifecycle import build_generation_started, find_generation
from pipeline.generations.progress import GENERATION_PARTS, GenerationProgress, list_builds, read_generation_progress
from pipeline.process import Process
from pipeline.stage_dependencies import open_dependencies
from stages import fingerprint, persist, preprocess
from stages.fingerprint import DEFAULT_METHOD
from stages.preprocess import DEFAULT_PREPROCESSING

MODEL_BATCHES = 3
"""Batches at once for a stage that uses the model: one in the model, one ready for it, one being read or recorded."""

CPU_BATCHES = 2
"""Batches at once for a stage that uses only the processor. Each has at most as many messages as there are cores."""

OTHERS_TIMEOUT_S = 5.0
"""How long a build waits for messages of the generation's own consumers that other processes still hold."""

GENERATION_STAGES: tuple[Stage[Any], ...] = (*GENERATION_PARTS.values(), persist.STAGE)
"""The stages whose facts make a generation complete."""

PAUSED_UNTIL = datetime(9999, 12, 31, tzinfo=UTC)


async def build(process: Process, generation: Generation, limits: Limits, batch: int) -> None:
    """Work until the generation has all pictures. Raises MapSeekError if it is cancelled or dropped during the build."""
    generations = await process.container.generations()
    work = asyncio.create_task(retry_through_outages(lambda: _build(process, generation, limits, batch)))
    dropped = asyncio.create_task(generations.until(lambda now: generation.name in now.dropped))
    try:
        await asyncio.wait({work, dropped}, return_when=asyncio.FIRST_COMPLETED)
        if dropped.done():
            dropped.result()
            raise MapSeekError(
                f"Generation {generation.name} was cancelled by `mapseek replay cancel` or dropped by `mapseek drop`."
            )
        work.result()
    finally:
        await cancel_tasks(work, dropped)


async def _build(process: Process, generation: Generation, limits: Limits, batch: int) -> None:
    container, client = process.container, process.container.client
    now = (await container.generations()).now
    await topology.ensure_generation_consumers(client, STAGES, now, generation.name)
    await _replay_past(process, generation, now, limits, batch)
    # Persist comes before embed, since a vector needs its document. Fingerprint comes first: a fingerprint is part of the document.
    for consumer in sorted(
        plan_consumers(GENERATION_STAGES, now),
        key=lambda each: each.generation is not None and each.stage != fingerprint.STAGE.name,
    ):
        if consumer.generation in (None, generation) and (consumer.generation or consumer.stage == persist.STAGE.name):
            await _finish_consumer(process, consumer, batch)


async def _replay_past(process: Process, generation: Generation, now: Generations, limits: Limits, batch: int) -> None:
    """Make what the generation lacks of the pictures that were archived before it started.

    An active generation was built before, so what it lacks may be anywhere in the log: it is replayed to the end of the log.
    """
    client = process.container.client
    end = await read_last_sequence(client, IMAGES) if now.serves(generation.name) else generation.sequence
    found = await read_generation_progress(client, generation)
    lacking = {
        kind: plan_build_consumer(GENERATION_PARTS[kind], ImageFact.family, generation)
        for kind in GENERATION_PARTS
        if found.is_missing_part(kind)
    }
    for consumer in lacking.values():  # Create all of them before the first is played, so that a pause misses none.
        await ensure_consumer(client, consumer)
    work = [
        asyncio.create_task(
            _play_consumer(process, generation, kind, ReplaySpan(consumer.stream, consumer.name, end), limits, batch, found)
        )
        for kind, consumer in lacking.items()
    ]
    if not work:
        return
    try:
        # Not asyncio.gather: it returns when the first task is cancelled, and then the others would be cancelled while they give
        # their messages back.
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await cancel_tasks(*work)


async def _play_consumer(
    process: Process,
    generation: Generation,
    kind: type[ImageFact],
    span: ReplaySpan,
    limits: Limits,
    batch: int,
    found: GenerationProgress,
) -> None:
    container, stage = process.container, GENERATION_PARTS[kind]
    deps = await open_dependencies(stage, ImageFact.family, container, generation)
    job = Job(stage, ImageFact.family, deps, generation.name, replay=span.durable)
    skip = _skip_if_made(process, generation, kind) if found.counts[kind] else None
    try:
        await replay_span(container.client, span, job, process.runtime, limits, choose_concurrency(stage, batch), skip=skip)
    except ConsumerDeleted:
        return  # Another process finished it first.
    await delete_consumer(container.client, span.stream, span.durable)


def choose_concurrency(stage: Stage[Any], batch: int) -> Concurrency:
    """Return how many batches of a stage are worked on at once, and their size, which is at most `batch`."""
    if stage in (preprocess.STAGE, fingerprint.STAGE):
        return Concurrency(CPU_BATCHES, min(batch, os.cpu_count() or 1))
    return Concurrency(MODEL_BATCHES, batch)


def _skip_if_made(process: Process, generation: Generation, kind: type[ImageFact]) -> SkipCheck:
    """Return a check that skips the pictures that already have this fact: asking the log costs less than making it again."""

    async def skip(message: Msg) -> bool:
        recorded = decode_or_warn(message)
        if recorded is None or not isinstance(fact := recorded.fact, ImageFact):
            return False
        return await process.container.journal.holds(kind, fact.guild_id, fact.image_id, generation.name)

    return skip


async def _finish_consumer(process: Process, consumer: StageConsumer, batch: int) -> None:
    """Work on a consumer that does not belong to a replay, until it has nothing left that another process does not hold."""
    container, client = process.container, process.container.client
    [stage] = [each for each in GENERATION_STAGES if each.name == consumer.stage]
    concurrency = choose_concurrency(stage, batch)
    deps = await open_dependencies(stage, consumer.family, container, consumer.generation)
    job = Job(stage, consumer.family, deps, consumer.generation_name)
    span = ReplaySpan(consumer.stream, consumer.name, await read_last_sequence(client, consumer.stream), OTHERS_TIMEOUT_S)
    await replay_span(client, span, job, process.runtime, Limits(), concurrency)


def find_unused_name(generations: Generations) -> str:
    """Return `g` with the number after the highest number that was ever used."""
    numbers = [int(name[1:]) for name in generations.known if name[:1] == "g" and name[1:].isdigit()]
    return f"g{max(numbers, default=0) + 1}"


def find_build_to_join(generations: Generations, encoder: ImageEncoder, name: str | None) -> Generation | None:
    """Return the unfinished generation with the same encoder and the same preprocessing, or None where there is none.

    Raises MapSeekError if a generation that was ever active has these vectors already, and for a `name` that was used before.
    """
    for generation in generations.alive:
        if fits_generation(encoder, generation) and (generation.preprocessing, generation.fingerprint) == (
            DEFAULT_PREPROCESSING,
            DEFAULT_METHOD,
        ):
            if generations.serves(generation.name):
                raise MapSeekError(
                    f"Generation {generation.name} has the same vectors ({encoder_label(generation.encoder)}): "
                    f"there is nothing to build. Run `mapseek replay --name {generation.name}` to add what it lacks."
                )
            if name not in (None, generation.name):
                raise MapSeekError(
                    f"The same vectors are being built already: join that build with `mapseek replay --name {generation.name}`."
                )
            return generation
    if name is not None and name in generations.known:
        raise MapSeekError(
            f"The name {name} was used before, and each name is used only once: choose another one, such as "
            f"`{find_unused_name(generations)}`."
        )
    return None


async def start_or_join_generation(
    process: Process, encoder: ImageEncoder, model: str, pretrained: str | None, name: str | None
) -> Generation:
    """Start a generation with this encoder, or join its build if another process started it.

    Raises MapSeekError as `find_build_to_join` does.
    """
    container = process.container
    generations = await container.generations()
    # The followed generations may lag behind another process that has just started one. So read the log itself, once for both uses.
    there = await read_generations(container.client)
    generation = find_build_to_join(there, encoder, name)
    if generation is None:
        await require_pictures(container.client)
        name = name or find_unused_name(there)
        fact = build_generation_started(name, encoder.encoder, model, pretrained, DEFAULT_PREPROCESSING)
        await container.journal.record(fact, Origin(name))
        # Another process may have recorded this name first, with another model.
        now = await generations.until(lambda now: name in now.known)
        generation = find_build_to_join(now, encoder, name) or now.known[name]
    else:
        await generations.until(lambda now: generation.name in now.known)
    await container.encoders.adopt_if_fits(generation, encoder)
    return generation


async def require_pictures(client: Client) -> int:
    """Return how many pictures there are to embed. Raises MapSeekError if there is none."""
    pictures = await count_entries(client, IMAGES, [variant_filter(ImagePreprocessed, DEFAULT_PREPROCESSING)])
    if not pictures:
        raise MapSeekError(
            f"No archived picture has preprocessing {DEFAULT_PREPROCESSING}: archive some, or run "
            "`mapseek replay --stage preprocess` first."
        )
    return pictures


async def pause_generation(container: Container, name: str) -> None:
    """Pause a build: no process begins another batch of it. Raises MapSeekError if that generation is not being built.

    The server keeps the pause, so it holds for every process and after restarts.
    """
    for consumer in await _require_builds(container, name):  # A build that has just finished is not among them.
        await pause_consumer(container.client, IMAGES, consumer, PAUSED_UNTIL)


async def resume_generation(container: Container, name: str) -> None:
    """Resume a paused build. Raises MapSeekError if that generation is not being built."""
    for consumer in await _require_builds(container, name):
        await resume_consumer(container.client, IMAGES, consumer)


async def cancel_generation(container: Container, name: str) -> int:
    """Cancel a generation that was never active, and return how many vectors were erased.

    Raises MapSeekError for a generation that was active.
    """
    generations = await container.generations()
    find_generation(generations.now, name)
    if name in generations.now.activations:
        raise MapSeekError(f"Searches were answered from generation {name}, so it is not a build: use `mapseek drop {name}`.")
    return await erase_generation(container, name)


async def _require_builds(container: Container, name: str) -> Collection[str]:
    find_generation((await container.generations()).now, name)
    builds = await list_builds(container.client, name)
    if not builds:
        raise MapSeekError(f"Generation {name} is not being built: see `mapseek generations`.")
    return builds
