"""Building a generation from the archived pictures: nothing is downloaded, and the generation that answers goes on answering.

The pictures that were there before the generation are worked on through a durable of their own, by any number of processes; what is
posted since goes through the generation's own durables, on which a build helps out at the end, so that no other process has to run.
"""

import asyncio
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import ImageEmbedded, ImageFact, ImagePreprocessed
from contracts.generations import Generation, Generations
from contracts.ports import ImageEncoder
from contracts.stage import Stage
from contracts.subjects import IMAGES, variant_filter
from infra.nats.counting import count_of
from infra.nats.generations import read_generations
from infra.nats.outages import outages
from infra.nats.tail import last_sequence, readable
from pipeline import topology
from pipeline.dependencies import dependencies
from pipeline.durables import Durable, durables, past_durable
from pipeline.generations.encoders import makes, said
from pipeline.generations.founding import started
from pipeline.generations.standing import standing
from pipeline.process import Process
from pipeline.registry import STAGES
from pipeline.replay.limits import Limits
from pipeline.replay.playing import Gone, Hands, Skip, Track, play, through_outages
from pipeline.runner import Job
from stages import embed, persist, preprocess

IN_FLIGHT = 3
"""Batches: one with the model, one ready for it, one being read or recorded."""

PATIENCE_S = 5.0
"""For what other processes still hold of the generation's own durables."""

HELPED: tuple[Stage[Any], ...] = (embed.STAGE, persist.STAGE)
"""What a generation is complete by."""


def unused_name(generations: Generations) -> str:
    """`g` and the number after the highest that was ever used."""
    numbers = [int(name[1:]) for name in generations.known if name[:1] == "g" and name[1:].isdigit()]
    return f"g{max(numbers, default=0) + 1}"


def to_join(generations: Generations, encoder: ImageEncoder, name: str | None) -> Generation | None:
    """The generation of these very vectors that is being built.

    Raises MapSeekError where there can be nothing new, and for a name that cannot be taken.
    """
    for generation in generations.alive:
        if makes(encoder, generation) and generation.preprocessing == preprocess.PREPROCESSING:
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
        fact = started(name, encoder.encoder, model, pretrained, preprocess.PREPROCESSING)
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
    pictures = await count_of(client, IMAGES, [variant_filter(ImagePreprocessed, preprocess.PREPROCESSING)])
    if not pictures:
        raise MapSeekError(
            f"No picture of preprocessing {preprocess.PREPROCESSING} is archived: post some, or play `mapseek replay --stage "
            "preprocess` first."
        )
    return pictures


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
        for task in (work, dropped):
            task.cancel()
        await asyncio.gather(work, dropped, return_exceptions=True)


async def _build(process: Process, generation: Generation, limits: Limits, batch: int) -> None:
    wiring, client = process.wiring, process.wiring.client
    now = (await wiring.generations()).now
    await topology.ensure_generation(client, STAGES, now, generation.name)
    await _embed_past(process, generation, now, limits, Hands(IN_FLIGHT, batch))
    # A vector goes to its document, so that comes first.
    for durable in sorted(durables(HELPED, now), key=lambda each: each.generation is not None):
        if durable.generation in (None, generation) and (durable.generation or durable.stage == persist.STAGE.name):
            await _help(process, durable, Hands(IN_FLIGHT, batch))


async def _embed_past(process: Process, generation: Generation, now: Generations, limits: Limits, hands: Hands) -> None:
    """One that answers already was built before: there, what is missing may be anywhere in the log."""
    wiring, client = process.wiring, process.wiring.client
    end = await last_sequence(client, IMAGES) if now.serves(generation.name) else generation.sequence
    found = await standing(client, generation)
    if not found.missing:
        return
    durable = past_durable(embed.STAGE, ImageFact.family, generation)
    await made(client, durable)
    deps = await dependencies(embed.STAGE, ImageFact.family, wiring, generation)
    job = Job(embed.STAGE, ImageFact.family, deps, generation.name, replay=durable.name)
    skip = _embedded_in(process, generation) if found.done else None
    try:
        await play(client, Track(durable.stream, durable.name, end), job, process.runtime, limits, hands, skip=skip)
        await client.jetstream().delete_consumer(durable.stream, durable.name)
    except (Gone, NotFoundError):
        return  # another process was through with it first


def _embedded_in(process: Process, generation: Generation) -> Skip:
    """Passes over the pictures that have their vector already: asking costs less than the model."""

    async def skip(message: Msg) -> bool:
        recorded = readable(message)
        if recorded is None or not isinstance(fact := recorded.fact, ImageFact):
            return False
        return await process.wiring.journal.holds(ImageEmbedded, fact.guild_id, fact.image_id, generation.name)

    return skip


async def _help(process: Process, durable: Durable, hands: Hands) -> None:
    """Do what no other process has done yet on a durable that is not a replay's own."""
    wiring, client = process.wiring, process.wiring.client
    [stage] = [each for each in HELPED if each.name == durable.stage]
    deps = await dependencies(stage, durable.family, wiring, durable.generation)
    job = Job(stage, durable.family, deps, durable.generation_name)
    track = Track(durable.stream, durable.name, await last_sequence(client, durable.stream), PATIENCE_S)
    await play(client, track, job, process.runtime, Limits(), hands)


async def made(client: Client, durable: Durable) -> bool:
    """Make a durable if there is none, and say whether there was none. One that is paused stays so."""
    with outages():
        js = client.jetstream()
        try:
            await js.consumer_info(durable.stream, durable.name)
        except NotFoundError:
            await js.add_consumer(durable.stream, durable.config)
            return True
        return False
