"""Building a generation from the archived pictures: nothing is downloaded, and the generation that answers goes on answering.

The pictures that were there before the generation are worked on through durables of their own, one for what each stage makes of
them, side by side and by any number of processes; what is posted since goes through the generation's own durables, on which a
build helps out at the end, so that no other process has to run.

Beginning a generation of what today's release makes with an encoder, or joining in with whoever is building that very one.

Pausing, resuming and cancelling a build. The server keeps a pause: it holds for every process, and after restarts.
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
"""Batches: one with the model, one ready for it, one being read or recorded."""

CPU_BATCHES = 2
"""Batches of a stage that works the processor alone, as many at once as there are cores."""

OTHERS_TIMEOUT_S = 5.0
"""For what other processes still hold of the generation's own durables."""

GENERATION_STAGES: tuple[Stage[Any], ...] = (*GENERATION_PARTS.values(), persist.STAGE)
"""What a generation is complete by."""

PAUSED_UNTIL = datetime(9999, 12, 31, tzinfo=UTC)


async def build(process: Process, generation: Generation, limits: Limits, batch: int) -> None:
    """Work until the generation has all pictures. Raises MapSeekError when it is given up meanwhile."""
    generations = await process.container.generations()
    work = asyncio.create_task(retry_through_outages(lambda: _build(process, generation, limits, batch)))
    dropped = asyncio.create_task(generations.until(lambda now: generation.name in now.dropped))
    try:
        await asyncio.wait({work, dropped}, return_when=asyncio.FIRST_COMPLETED)
        if dropped.done():
            dropped.result()
            raise MapSeekError(f"Generation {generation.name} was given up by `mapseek replay cancel` or `mapseek drop`.")
        work.result()
    finally:
        await cancel_tasks(work, dropped)


async def _build(process: Process, generation: Generation, limits: Limits, batch: int) -> None:
    container, client = process.container, process.container.client
    now = (await container.generations()).now
    await topology.ensure_generation_consumers(client, STAGES, now, generation.name)
    await _make_past(process, generation, now, limits, batch)
    # A vector goes to its document, so that comes first; a fingerprint is part of the document.
    for durable in sorted(
        plan_consumers(GENERATION_STAGES, now),
        key=lambda each: each.generation is not None and each.stage != fingerprint.STAGE.name,
    ):
        if durable.generation in (None, generation) and (durable.generation or durable.stage == persist.STAGE.name):
            await _help(process, durable, batch)


async def _make_past(process: Process, generation: Generation, now: Generations, limits: Limits, batch: int) -> None:
    """One that answers already was built before: there, what is missing may be anywhere in the log."""
    client = process.container.client
    end = await read_last_sequence(client, IMAGES) if now.serves(generation.name) else generation.sequence
    found = await read_generation_progress(client, generation)
    lacking = {
        kind: plan_build_consumer(GENERATION_PARTS[kind], ImageFact.family, generation)
        for kind in GENERATION_PARTS
        if found.is_missing_part(kind)
    }
    for durable in lacking.values():  # all of them before the first is played, lest a pause miss one
        await ensure_consumer(client, durable)
    work = [
        asyncio.create_task(_play(process, generation, kind, ReplaySpan(durable.stream, durable.name, end), limits, batch, found))
        for kind, durable in lacking.items()
    ]
    if not work:
        return
    try:
        # Not gathered: that is through with the first that is cancelled, and the others would be cancelled while they give back.
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await cancel_tasks(*work)


async def _play(
    process: Process,
    generation: Generation,
    kind: type[ImageFact],
    track: ReplaySpan,
    limits: Limits,
    batch: int,
    found: GenerationProgress,
) -> None:
    container, stage = process.container, GENERATION_PARTS[kind]
    deps = await open_dependencies(stage, ImageFact.family, container, generation)
    job = Job(stage, ImageFact.family, deps, generation.name, replay=track.durable)
    skip = _made_in(process, generation, kind) if found.counts[kind] else None
    try:
        await replay_span(container.client, track, job, process.runtime, limits, choose_concurrency(stage, batch), skip=skip)
    except ConsumerDeleted:
        return  # another process was through with it first
    await delete_consumer(container.client, track.stream, track.durable)


def choose_concurrency(stage: Stage[Any], batch: int) -> Concurrency:
    """How much of a stage is worked on at once, by batches of at most so many."""
    if stage in (preprocess.STAGE, fingerprint.STAGE):
        return Concurrency(CPU_BATCHES, min(batch, os.cpu_count() or 1))
    return Concurrency(MODEL_BATCHES, batch)


def _made_in(process: Process, generation: Generation, kind: type[ImageFact]) -> SkipCheck:
    """Passes over the pictures of which it is made already: asking costs less."""

    async def skip(message: Msg) -> bool:
        recorded = decode_or_warn(message)
        if recorded is None or not isinstance(fact := recorded.fact, ImageFact):
            return False
        return await process.container.journal.holds(kind, fact.guild_id, fact.image_id, generation.name)

    return skip


async def _help(process: Process, durable: StageConsumer, batch: int) -> None:
    """Do what no other process has done yet on a durable that is not a replay's own."""
    container, client = process.container, process.container.client
    [stage] = [each for each in GENERATION_STAGES if each.name == durable.stage]
    hands = choose_concurrency(stage, batch)
    deps = await open_dependencies(stage, durable.family, container, durable.generation)
    job = Job(stage, durable.family, deps, durable.generation_name)
    track = ReplaySpan(durable.stream, durable.name, await read_last_sequence(client, durable.stream), OTHERS_TIMEOUT_S)
    await replay_span(client, track, job, process.runtime, Limits(), hands)


def find_unused_name(generations: Generations) -> str:
    """`g` and the number after the highest that was ever used."""
    numbers = [int(name[1:]) for name in generations.known if name[:1] == "g" and name[1:].isdigit()]
    return f"g{max(numbers, default=0) + 1}"


def find_build_to_join(generations: Generations, encoder: ImageEncoder, name: str | None) -> Generation | None:
    """The generation of these very vectors that is being built.

    Raises MapSeekError where there can be nothing new, and for a name that cannot be taken.
    """
    for generation in generations.alive:
        if fits_generation(encoder, generation) and (generation.preprocessing, generation.fingerprint) == (
            DEFAULT_PREPROCESSING,
            DEFAULT_METHOD,
        ):
            if generations.serves(generation.name):
                raise MapSeekError(
                    f"Generation {generation.name} has these very vectors ({encoder_label(generation.encoder)}): "
                    f"there is nothing to build. `mapseek replay --name {generation.name}` makes up for what it lacks."
                )
            if name not in (None, generation.name):
                raise MapSeekError(
                    f"These very vectors are being built already: join in with `mapseek replay --name {generation.name}`."
                )
            return generation
    if name is not None and name in generations.known:
        raise MapSeekError(f"The name {name} was used before, and a name is used once: `{find_unused_name(generations)}` is free.")
    return None


async def start_or_join_generation(
    process: Process, encoder: ImageEncoder, model: str, pretrained: str | None, name: str | None
) -> Generation:
    """Start a generation of an encoder's vectors, or join in with who did. Raises MapSeekError as `to_join` does."""
    container = process.container
    generations = await container.generations()
    # What is followed may lag behind another process that has just begun: the log itself is asked, once for both answers.
    there = await read_generations(container.client)
    generation = find_build_to_join(there, encoder, name)
    if generation is None:
        await require_pictures(container.client)
        name = name or find_unused_name(there)
        fact = build_generation_started(name, encoder.encoder, model, pretrained, DEFAULT_PREPROCESSING)
        await container.journal.record(fact, Origin(name))
        # Another process may have been first, with another model: then the name is taken after all.
        now = await generations.until(lambda now: name in now.known)
        generation = find_build_to_join(now, encoder, name) or now.known[name]
    else:
        await generations.until(lambda now: generation.name in now.known)
    await container.encoders.adopt_if_fits(generation, encoder)
    return generation


async def require_pictures(client: Client) -> int:
    """How many pictures there are to embed. Raises MapSeekError where there is none."""
    pictures = await count_entries(client, IMAGES, [variant_filter(ImagePreprocessed, DEFAULT_PREPROCESSING)])
    if not pictures:
        raise MapSeekError(
            f"No picture of preprocessing {DEFAULT_PREPROCESSING} is archived: post some, or play `mapseek replay --stage "
            "preprocess` first."
        )
    return pictures


async def pause_generation(container: Container, name: str) -> None:
    """Let no process begin another batch of a build. Raises MapSeekError when that generation is not being built."""
    for durable in await _builds_of(container, name):  # one that has just come to its end is none any more
        await pause_consumer(container.client, IMAGES, durable, PAUSED_UNTIL)


async def resume_generation(container: Container, name: str) -> None:
    """Let a build go on. Raises MapSeekError when that generation is not being built."""
    for durable in await _builds_of(container, name):
        await resume_consumer(container.client, IMAGES, durable)


async def cancel_generation(container: Container, name: str) -> int:
    """Give up a generation that never answered; returns how many vectors were erased. Raises MapSeekError for one that did."""
    generations = await container.generations()
    find_generation(generations.now, name)
    if name in generations.now.activations:
        raise MapSeekError(f"Searches were answered from generation {name}, so it is no build any more: see `mapseek drop {name}`.")
    return await erase_generation(container, name)


async def _builds_of(container: Container, name: str) -> Collection[str]:
    find_generation((await container.generations()).now, name)
    builds = await list_builds(container.client, name)
    if not builds:
        raise MapSeekError(f"Generation {name} is not being built: see `mapseek generations`.")
    return builds
