"""Giving up a generation: its vectors and fingerprints leave the log, the catalogue and the indexes; its consumers go too."""

import asyncio
from contextlib import suppress

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import AlertEmbedded, GenerationDropped, ImageEmbedded, ImageIndexed
from contracts.generations import Generation, Generations
from contracts.subjects import FAILURES, RETRIES, failure_filter, past_name, retry_subject, stream_of, variant_filter
from infra.nats.connection import Client
from infra.nats.consumers import delete_consumer, read_consumer
from infra.nats.erasure import purge_entries
from infra.tasks import end_if_cancelled
from pipeline.container import Wiring
from pipeline.engine.consumers import STAGES, Durable, bound_durables
from pipeline.generations.fingerprints import give_up_fingerprints
from pipeline.generations.naming import known
from pipeline.monitoring.status import unsettled
from pipeline.searching import finished
from stages import alert, embed

LET_GO_WITHIN_S = 20.0


async def drop(wiring: Wiring, name: str) -> int:
    """Give up a generation, or finish what an earlier call began; returns how many vectors left the catalogue.

    Searches that began in it are answered first, and images on their way through it are compared with the alerts, as long as
    somebody works on that. A stage that is at work at this moment may record one more vector behind our back:
    every process passes it over, and dropping again erases it. Raises MapSeekError for the active one and for one that never was.
    """
    client, generations = wiring.client, await wiring.generations()
    generation = known(generations.now, name)
    if generations.now.active == generation:
        raise MapSeekError(f"Generation {name} answers the searches: activate another one first.")
    if name not in generations.now.dropped:
        await finished(client)
        if generations.now.serves(name):
            await _compared(client, generation, generations.now)
        await wiring.journal.record(GenerationDropped(generation=name), Origin(name))
        await generations.until(lambda now: name in now.dropped)
    await _erase(client, generation, generations.now)
    catalogue, blobs, grace_s = await wiring.catalogue(), await wiring.blobs(), wiring.policy.blob_grace.total_seconds()
    await give_up_fingerprints(client, catalogue, blobs, name, generations.now, grace_s)
    await wiring.vectors_dropped(name)
    return await (await wiring.catalogue()).drop_generation(name)


async def _compared(client: Client, generation: Generation, generations: Generations) -> None:
    """Wait for what was posted while the generation still answered, or for as long as a person waits."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LET_GO_WITHIN_S):
            for durable in bound_durables([embed.STAGE, alert.STAGE], generation, generations):
                while await unsettled(client, durable):
                    end_if_cancelled()
                    await asyncio.sleep(0.1)


async def _erase(client: Client, generation: Generation, generations: Generations) -> None:
    """Consumers first, once nobody works on them, so that little comes after what is erased."""
    own = bound_durables(STAGES, generation, generations)
    with suppress(TimeoutError):
        async with asyncio.timeout(LET_GO_WITHIN_S):
            for durable in own:
                await _let_go(client, durable)
    for durable in own:
        for consumer in (durable.name, past_name(durable.name)):
            await delete_consumer(client, durable.stream, consumer)
    for kind in (ImageEmbedded, ImageIndexed, AlertEmbedded):
        await purge_entries(client, stream_of(kind), variant_filter(kind, generation.name))
    await purge_entries(client, FAILURES, failure_filter("*", "*", generation.name))
    await purge_entries(client, RETRIES, retry_subject("*", "*", "*", generation.name))


async def _let_go(client: Client, durable: Durable) -> None:
    while (consumer := await read_consumer(client, durable.stream, durable.name)) is not None and consumer.waiting:
        end_if_cancelled()
        await asyncio.sleep(0.1)
