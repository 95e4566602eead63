"""Dropping a generation: its vectors and fingerprints are deleted from the log, the catalogue and the indexes, with its consumers.

Generations with the same preprocessing and the same fingerprint method share their fingerprint blobs, so mostly only facts are
deleted. If the generation was the only one of its kind, each catalogue document gets the fingerprint of another generation, as if
the log were replayed. If no other generation has a fingerprint of an image yet, its fingerprint stays until one has it and the
generation is dropped again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import AlertEmbedded, GenerationDropped, ImageEmbedded, ImageFingerprinted, ImageIndexed
from contracts.generations import Generation, Generations
from contracts.ports import BlobStore, Catalogue
from contracts.subjects import (
    FAILURES,
    IMAGES,
    RETRIES,
    SEARCHES,
    consumer_name,
    failure_filter,
    kind_filter,
    past_consumer_name,
    retry_subject,
    stream_of,
    variant_filter,
    versions_filter,
)
from infra.nats.connection import Client
from infra.nats.consumers import delete_consumer, read_consumer
from infra.nats.erasure import purge_entries
from infra.nats.reader import decode_or_warn, read_last_sequence, read_log
from infra.tasks import raise_if_cancelled
from pipeline.container import Container
from pipeline.engine.consumers import StageConsumer, plan_generation_consumers
from pipeline.engine.registry import STAGES
from pipeline.generations.lifecycle import find_generation
from pipeline.monitoring.status import count_unsettled
from stages import alert, embed, fingerprint, match
from stages.persist import build_fields, build_outrank_check

SEARCHES_TIMEOUT_S = 30.0

RELEASE_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class FingerprintsToDrop:
    """The fingerprints of a generation that is dropped.

    `given`: guild and blob by image id. `only`: images whose blob no other generation shares. `unknown`: images of which no other
    generation has any fingerprint. `named`: blobs that must stay. Dropped generations do not count as others, except for `named`.
    """

    given: dict[str, tuple[str, str]]
    only: set[str]
    unknown: set[str]
    named: set[str]


async def drop_fingerprints(
    client: Client, catalogue: Catalogue, blobs: BlobStore, name: str, generations: Generations, grace_s: float
) -> None:
    """Delete the fingerprint facts of a generation, and the blobs that nothing else names.

    A blob that was stored less than `grace_s` seconds ago stays, since another image may need it; `mapseek sweep` finds it later.
    The call may be repeated at any time. Raises Unavailable.
    """
    left = await _find_fingerprints(client, name, generations)
    if left.only - left.unknown:
        async for fact in _read_fingerprint_facts(client, kind_filter(ImageFingerprinted)):
            if fact.image_id in left.only and _is_alive(fact, generations):
                await _replace_fingerprint(left.given[fact.image_id][1], fact, catalogue)
    await _purge_facts(client, name, left)
    gone = {blob for image_id, (_, blob) in left.given.items() if image_id not in left.unknown}
    for blob in sorted(gone - left.named):
        if not await catalogue.uses(blob) and await blobs.seconds_since_put(blob) > grace_s:
            await blobs.delete(blob)


async def _find_fingerprints(client: Client, name: str, generations: Generations) -> FingerprintsToDrop:
    given = {
        fact.image_id: (fact.guild_id, fact.fingerprint)
        async for fact in _read_fingerprint_facts(client, variant_filter(ImageFingerprinted, name))
    }
    left = FingerprintsToDrop(given, only=set(given), unknown=set(given), named=set())
    if given:
        async for fact in _read_fingerprint_facts(client, kind_filter(ImageFingerprinted)):
            if fact.generation != name:
                left.named.add(fact.fingerprint)
            if _is_alive(fact, generations):
                left.unknown.discard(fact.image_id)
                if fact.image_id in given and given[fact.image_id][1] == fact.fingerprint:
                    left.only.discard(fact.image_id)
    left.named.update(given[image_id][1] for image_id in left.unknown)
    return left


async def _replace_fingerprint(blob: str, fact: ImageFingerprinted, catalogue: Catalogue) -> None:
    """Put a fact of another generation into the document. Of several, the one wins that would have won without the dropped one."""
    is_outranked = build_outrank_check(fact)
    await catalogue.merge(
        fact.image_id,
        build_fields(fact),
        unless=lambda document: (
            document.get("fingerprint", {}).get("blob") != blob and is_outranked is not None and is_outranked(document)
        ),
    )


async def _purge_facts(client: Client, name: str, left: FingerprintsToDrop) -> None:
    if not left.unknown:
        await purge_entries(client, IMAGES, variant_filter(ImageFingerprinted, name))
        return
    for image_id in left.given.keys() - left.unknown:
        await purge_entries(client, IMAGES, versions_filter(ImageFingerprinted, left.given[image_id][0], image_id, name))


def _is_alive(fact: ImageFingerprinted, generations: Generations) -> bool:
    return any(fact.generation == each.name for each in generations.alive)


async def _read_fingerprint_facts(client: Client, subjects: str) -> AsyncIterator[ImageFingerprinted]:
    async with aclosing(read_log(client, IMAGES, [subjects])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(recorded.fact, ImageFingerprinted):
                yield recorded.fact


async def wait_for_open_searches(client: Client) -> None:
    """Wait until every search that was requested before is matched, at most half a minute.

    A search that still waits then has another reason to wait. Raises Unavailable if the log cannot be reached.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(SEARCHES_TIMEOUT_S):
            for stage in (fingerprint.STAGE, embed.STAGE, match.STAGE):
                until = await read_last_sequence(client, SEARCHES)
                while await _find_first_unsettled(client, consumer_name(stage.name, "search")) <= until:
                    raise_if_cancelled()
                    await asyncio.sleep(0.1)


async def _find_first_unsettled(client: Client, durable: str) -> float:
    """Return the sequence of the first entry that a consumer has not settled, infinity if it has nothing to do."""
    consumer = await read_consumer(client, SEARCHES, durable)
    return consumer.settled + 1 if consumer is not None and consumer.unsettled else float("inf")


async def erase_generation(container: Container, name: str) -> int:
    """Drop a generation, or finish what an earlier call began. Return how many vectors were deleted from the catalogue.

    Before that, wait for searches that began in it, and for new images that still have to be compared with the alerts, as long as
    processes work on them. A stage that is running now may still record one more vector afterwards. Every process ignores it, and
    dropping the generation again erases it. Raises MapSeekError for the active generation and for one that never existed.
    """
    client, generations = container.client, await container.generations()
    generation = find_generation(generations.now, name)
    if generations.now.active == generation:
        raise MapSeekError(f"Generation {name} is the active one: activate another one first.")
    if name not in generations.now.dropped:
        await wait_for_open_searches(client)
        if generations.now.serves(name):
            await _wait_for_alerts(client, generation, generations.now)
        await container.journal.record(GenerationDropped(generation=name), Origin(name))
        await generations.until(lambda now: name in now.dropped)
    await _erase_facts(client, generation, generations.now)
    catalogue, blobs, grace_s = await container.catalogue(), await container.blobs(), container.policy.blob_grace.total_seconds()
    await drop_fingerprints(client, catalogue, blobs, name, generations.now, grace_s)
    await container.drop_vector_index(name)
    return await (await container.catalogue()).drop_generation(name)


async def _wait_for_alerts(client: Client, generation: Generation, generations: Generations) -> None:
    """Wait until images that were posted while the generation answered are compared with the alerts, but not longer than a person
    waits."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RELEASE_TIMEOUT_S):
            for durable in plan_generation_consumers([embed.STAGE, alert.STAGE], generation, generations):
                while await count_unsettled(client, durable):
                    raise_if_cancelled()
                    await asyncio.sleep(0.1)


async def _erase_facts(client: Client, generation: Generation, generations: Generations) -> None:
    """Delete the consumers, then the facts.

    Before that, wait until no process uses the consumers, so that few facts follow afterwards.
    """
    own = plan_generation_consumers(STAGES, generation, generations)
    with suppress(TimeoutError):
        async with asyncio.timeout(RELEASE_TIMEOUT_S):
            for durable in own:
                await _wait_until_unused(client, durable)
    for durable in own:
        for consumer in (durable.name, past_consumer_name(durable.name)):
            await delete_consumer(client, durable.stream, consumer)
    for kind in (ImageEmbedded, ImageIndexed, AlertEmbedded):
        await purge_entries(client, stream_of(kind), variant_filter(kind, generation.name))
    await purge_entries(client, FAILURES, failure_filter("*", "*", generation.name))
    await purge_entries(client, RETRIES, retry_subject("*", "*", "*", generation.name))


async def _wait_until_unused(client: Client, durable: StageConsumer) -> None:
    while (consumer := await read_consumer(client, durable.stream, durable.name)) is not None and consumer.waiting:
        raise_if_cancelled()
        await asyncio.sleep(0.1)
