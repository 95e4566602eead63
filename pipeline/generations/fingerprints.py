"""Giving up the fingerprints of a generation: its facts leave the log, and the blobs that nothing else names are deleted.

Generations of the same pictures and the same method share their fingerprints, so mostly it is the facts alone that go. Where it was
the only one of its kind, each document is given what a living generation knows the picture by, as if the log were played anew. What
no living generation knows yet stays until one does and the generation is dropped again.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from contracts.events import ImageFingerprinted
from contracts.generations import Generations
from contracts.ports import BlobStore, Catalogue
from contracts.subjects import IMAGES, kind_filter, subject_for, variant_filter
from infra.nats.connection import Client
from infra.nats.erasure import purge_entries
from infra.nats.reader import past, readable
from stages.persist import fields_of, outranked


@dataclass(frozen=True, slots=True)
class Left:
    """What is given up, by image: guild and blob. Of `only` no living generation has the same, of `unknown` none has any.

    `named` are the blobs that stay.
    """

    given: dict[str, tuple[str, str]]
    only: set[str]
    unknown: set[str]
    named: set[str]


async def give_up_fingerprints(
    client: Client, catalogue: Catalogue, blobs: BlobStore, name: str, generations: Generations, grace_s: float
) -> None:
    """Blobs that were put within `grace_s` stay too, perhaps for another image: `mapseek sweep` finds them later.

    May be done again at any time. Raises Unavailable.
    """
    left = await _read(client, name, generations)
    if left.only - left.unknown:
        async for fact in _facts(client, kind_filter(ImageFingerprinted)):
            if fact.image_id in left.only and _lives(fact, generations):
                await _put_in_place_of(left.given[fact.image_id][1], fact, catalogue)
    await _purge(client, name, left)
    gone = {blob for image_id, (_, blob) in left.given.items() if image_id not in left.unknown}
    for blob in sorted(gone - left.named):
        if not await catalogue.uses(blob) and await blobs.untouched_for(blob) > grace_s:
            await blobs.delete(blob)


async def _read(client: Client, name: str, generations: Generations) -> Left:
    given = {
        fact.image_id: (fact.guild_id, fact.fingerprint) async for fact in _facts(client, variant_filter(ImageFingerprinted, name))
    }
    left = Left(given, only=set(given), unknown=set(given), named=set())
    if given:
        async for fact in _facts(client, kind_filter(ImageFingerprinted)):
            if fact.generation != name:
                left.named.add(fact.fingerprint)
            if _lives(fact, generations):
                left.unknown.discard(fact.image_id)
                if fact.image_id in given and given[fact.image_id][1] == fact.fingerprint:
                    left.only.discard(fact.image_id)
    left.named.update(given[image_id][1] for image_id in left.unknown)
    return left


async def _put_in_place_of(blob: str, fact: ImageFingerprinted, catalogue: Catalogue) -> None:
    """Of several that live, the one stands that would have stood without what is given up."""
    outdone = outranked(fact)
    await catalogue.merge(
        fact.image_id,
        fields_of(fact),
        unless=lambda document: document.get("fingerprint", {}).get("blob") != blob and outdone is not None and outdone(document),
    )


async def _purge(client: Client, name: str, left: Left) -> None:
    if not left.unknown:
        await purge_entries(client, IMAGES, variant_filter(ImageFingerprinted, name))
        return
    for image_id in left.given.keys() - left.unknown:
        await purge_entries(client, IMAGES, subject_for(ImageFingerprinted, left.given[image_id][0], image_id, name))


def _lives(fact: ImageFingerprinted, generations: Generations) -> bool:
    return any(fact.generation == each.name for each in generations.alive)


async def _facts(client: Client, subjects: str) -> AsyncIterator[ImageFingerprinted]:
    async with aclosing(past(client, IMAGES, [subjects])) as messages:
        async for message in messages:
            recorded = readable(message)
            if recorded is not None and isinstance(recorded.fact, ImageFingerprinted):
                yield recorded.fact
