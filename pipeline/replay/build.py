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
from infra.nats.reader import count_of, last_sequence, readable
from infra.tasks import cancel
from pipeline.container import Wiring
from pipeline.engine import topology
from pipeline.engine.bulk_consumer import Gone, Hands, Limits, Skip, Track, play, through_outages
from pipeline.engine.consumers import Durable, durables, make_durable, past_durable
from pipeline.engine.job import Job
from pipeline.engine.registry import STAGES
from pipeline.generations.drop import drop
from pipeline.generations.encoders import makes, said
from pipeline.generations.lifecycle import known, started
from pipeline.generations.progress import MADE, Standing, builds_of, standing
from pipeline.process import Process
from pipeline.stage_dependencies import dependencies
from stages import fingerprint, persist, preprocess
from stages.fingerprint import METHOD
from stages.preprocess import PREPROCESSING

IN_FLIGHT = 3
"""Batches: one with the model, one ready for it, one being read or recorded."""

AT_HAND = 2
"""Batches of a stage that works the processor alone, as many at once as there are cores."""

PATIENCE_S = 5.0
"""For what other processes still hold of the generation's own durables."""

HELPED: tuple[Stage[Any], ...] = (*MADE.values(), persist.STAGE)
"""What a generation is complete by."""

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)


async def build(process: Process, generation: Generation, limits: Limits, batch: int) -> None:
    """Work until the generation has all pictures. Raises MapSeekError when it is given up meanwhile."""
    generations = await process.wiring.generations()
    work = asyncio.create_task(through_outages(lambda: _build(process, generation, limits, batch)))
    dropped = asyncio.create_task(generations.until(lambda now: generation.name in now.dropped))
    try:
        await asyncio.wait({work, dropped}, return_when=asyncio.FIRST_COMPLETED)
        if dropped.done():
            dropped.result()
            raise MapSeekError(f"Generation {generation.name} was given up by `mapseek replay cancel` or `mapseek drop`.")
        work.result()
    finally:
        await cancel(work, dropped)


async def _build(process: Process, generation: Generation, limits: Limits, batch: int) -> None:
    wiring, client = process.wiring, process.wiring.client
    now = (await wiring.generations()).now
    await topology.ensure_generation(client, STAGES, now, generation.name)
    await _make_past(process, generation, now, limits, batch)
    # A vector goes to its document, so that comes first; a fingerprint is part of the document.
    for durable in sorted(
        durables(HELPED, now), key=lambda each: each.generation is not None and each.stage != fingerprint.STAGE.name
    ):
        if durable.generation in (None, generation) and (durable.generation or durable.stage == persist.STAGE.name):
            await _help(process, durable, batch)


async def _make_past(process: Process, generation: Generation, now: Generations, limits: Limits, batch: int) -> None:
    """One that answers already was built before: there, what is missing may be anywhere in the log."""
    client = process.wiring.client
    end = await last_sequence(client, IMAGES) if now.serves(generation.name) else generation.sequence
    found = await standing(client, generation)
    lacking = {kind: past_durable(MADE[kind], ImageFact.family, generation) for kind in MADE if found.lacks(kind)}
    for durable in lacking.values():  # all of them before the first is played, lest a pause miss one
        await make_durable(client, durable)
    work = [
        asyncio.create_task(_play(process, generation, kind, Track(durable.stream, durable.name, end), limits, batch, found))
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
        await cancel(*work)


async def _play(
    process: Process,
    generation: Generation,
    kind: type[ImageFact],
    track: Track,
    limits: Limits,
    batch: int,
    found: Standing,
) -> None:
    wiring, stage = process.wiring, MADE[kind]
    deps = await dependencies(stage, ImageFact.family, wiring, generation)
    job = Job(stage, ImageFact.family, deps, generation.name, replay=track.durable)
    skip = _made_in(process, generation, kind) if found.made[kind] else None
    try:
        await play(wiring.client, track, job, process.runtime, limits, hands_for(stage, batch), skip=skip)
    except Gone:
        return  # another process was through with it first
    await delete_consumer(wiring.client, track.stream, track.durable)


def hands_for(stage: Stage[Any], batch: int) -> Hands:
    """How much of a stage is worked on at once, by batches of at most so many."""
    if stage in (preprocess.STAGE, fingerprint.STAGE):
        return Hands(AT_HAND, min(batch, os.cpu_count() or 1))
    return Hands(IN_FLIGHT, batch)


def _made_in(process: Process, generation: Generation, kind: type[ImageFact]) -> Skip:
    """Passes over the pictures of which it is made already: asking costs less."""

    async def skip(message: Msg) -> bool:
        recorded = readable(message)
        if recorded is None or not isinstance(fact := recorded.fact, ImageFact):
            return False
        return await process.wiring.journal.holds(kind, fact.guild_id, fact.image_id, generation.name)

    return skip


async def _help(process: Process, durable: Durable, batch: int) -> None:
    """Do what no other process has done yet on a durable that is not a replay's own."""
    wiring, client = process.wiring, process.wiring.client
    [stage] = [each for each in HELPED if each.name == durable.stage]
    hands = hands_for(stage, batch)
    deps = await dependencies(stage, durable.family, wiring, durable.generation)
    job = Job(stage, durable.family, deps, durable.generation_name)
    track = Track(durable.stream, durable.name, await last_sequence(client, durable.stream), PATIENCE_S)
    await play(client, track, job, process.runtime, Limits(), hands)


def unused_name(generations: Generations) -> str:
    """`g` and the number after the highest that was ever used."""
    numbers = [int(name[1:]) for name in generations.known if name[:1] == "g" and name[1:].isdigit()]
    return f"g{max(numbers, default=0) + 1}"


def to_join(generations: Generations, encoder: ImageEncoder, name: str | None) -> Generation | None:
    """The generation of these very vectors that is being built.

    Raises MapSeekError where there can be nothing new, and for a name that cannot be taken.
    """
    for generation in generations.alive:
        if makes(encoder, generation) and (generation.preprocessing, generation.fingerprint) == (PREPROCESSING, METHOD):
            if generations.serves(generation.name):
                raise MapSeekError(
                    f"Generation {generation.name} has these very vectors ({said(generation.encoder)}): there is nothing to build. "
                    f"`mapseek replay --name {generation.name}` makes up for what it lacks."
                )
            if name not in (None, generation.name):
                raise MapSeekError(
                    f"These very vectors are being built already: join in with `mapseek replay --name {generation.name}`."
                )
            return generation
    if name is not None and name in generations.known:
        raise MapSeekError(f"The name {name} was used before, and a name is used once: `{unused_name(generations)}` is free.")
    return None


async def begin(process: Process, encoder: ImageEncoder, model: str, pretrained: str | None, name: str | None) -> Generation:
    """Start a generation of an encoder's vectors, or join in with who did. Raises MapSeekError as `to_join` does."""
    wiring = process.wiring
    generations = await wiring.generations()
    # What is followed may lag behind another process that has just begun: the log itself is asked, once for both answers.
    there = await read_generations(wiring.client)
    generation = to_join(there, encoder, name)
    if generation is None:
        await require_pictures(wiring.client)
        name = name or unused_name(there)
        fact = started(name, encoder.encoder, model, pretrained, PREPROCESSING)
        await wiring.journal.record(fact, Origin(name))
        # Another process may have been first, with another model: then the name is taken after all.
        now = await generations.until(lambda now: name in now.known)
        generation = to_join(now, encoder, name) or now.known[name]
    else:
        await generations.until(lambda now: generation.name in now.known)
    await wiring.encoders.adopt_if_fits(generation, encoder)
    return generation


async def require_pictures(client: Client) -> int:
    """How many pictures there are to embed. Raises MapSeekError where there is none."""
    pictures = await count_of(client, IMAGES, [variant_filter(ImagePreprocessed, PREPROCESSING)])
    if not pictures:
        raise MapSeekError(
            f"No picture of preprocessing {PREPROCESSING} is archived: post some, or play `mapseek replay --stage "
            "preprocess` first."
        )
    return pictures


async def pause_generation(wiring: Wiring, name: str) -> None:
    """Let no process begin another batch of a build. Raises MapSeekError when that generation is not being built."""
    for durable in await _builds_of(wiring, name):  # one that has just come to its end is none any more
        await pause_consumer(wiring.client, IMAGES, durable, FOR_EVER)


async def resume_generation(wiring: Wiring, name: str) -> None:
    """Let a build go on. Raises MapSeekError when that generation is not being built."""
    for durable in await _builds_of(wiring, name):
        await resume_consumer(wiring.client, IMAGES, durable)


async def cancel_generation(wiring: Wiring, name: str) -> int:
    """Give up a generation that never answered; returns how many vectors were erased. Raises MapSeekError for one that did."""
    generations = await wiring.generations()
    known(generations.now, name)
    if name in generations.now.activations:
        raise MapSeekError(f"Searches were answered from generation {name}, so it is no build any more: see `mapseek drop {name}`.")
    return await drop(wiring, name)


async def _builds_of(wiring: Wiring, name: str) -> Collection[str]:
    known((await wiring.generations()).now, name)
    builds = await builds_of(wiring.client, name)
    if not builds:
        raise MapSeekError(f"Generation {name} is not being built: see `mapseek generations`.")
    return builds
