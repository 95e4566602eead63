"""How far every image has come, as sets of image ids, read from the subjects of the log alone.

The subject of a fact says its guild, its image and its generation, and the server lists 100,000 subjects in one reply, without
reading a message. A million images make eight such lists, of which the ids are kept, each once: some hundred bytes an image.

Kinds are read in the order in which an image passes through them, and between the input and the output of a stage what it has yet
to do. So what is missing from the output was either done with or is on the way, however busy the archive is meanwhile.
"""

import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass

from contracts.events import (
    FACTS,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImageFingerprinted,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
)
from contracts.generations import Generation
from contracts.subjects import IMAGES, entity_of, guild_filter, kind_filter, variant_filter
from infra.nats.connection import Client
from infra.nats.reader import list_subjects
from pipeline.audit.waiting import waiting_at
from stages import download, embed, erase, fingerprint, persist, preprocess

PATIENCE_S = 60
"""The server lists the subjects of a million images in a second or two."""

Images = Set[str]
"""Image ids."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is audited: all guilds or one, in the generation that answers."""

    client: Client
    generation: Generation
    guild: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The images that have each fact. Of `rejected` and `removed` the catalogue should know, unless persist has yet to tell it.

    `waiting` are the images that each stage has yet to work on, by its name.
    """

    posted: Images
    downloaded: Images
    preprocessed: Images
    fingerprinted: Images
    embedded: Images
    indexed: Images
    rejected: Images
    removed: Images
    waiting: Mapping[str, Images]


@dataclass(frozen=True, slots=True)
class Ends:
    """What was known at the very end: the images posted by then, and those whose way is at its end."""

    posted: Images
    rejected: Images
    removed: Images


async def read_chain(scope: Scope) -> Chain:
    """How far the images have come. Raises Unavailable."""
    waiting: dict[str, Images] = {}
    posted = await images_with(scope, ImagePosted)
    waiting["download"] = await waiting_at(scope.client, download.STAGE, scope.generation)
    downloaded = await images_with(scope, ImageDownloaded)
    waiting["preprocess"] = await waiting_at(scope.client, preprocess.STAGE, scope.generation)
    preprocessed = await images_with(scope, ImagePreprocessed)
    for stage in (fingerprint.STAGE, embed.STAGE):
        waiting[stage.name] = await waiting_at(scope.client, stage, scope.generation)
    fingerprinted = await images_with(scope, ImageFingerprinted)
    embedded = await images_with(scope, ImageEmbedded)
    rejected, removed = await images_with(scope, ImageRejected), await images_with(scope, ImageRemoved)
    waiting["persist"] = await waiting_at(scope.client, persist.STAGE, scope.generation)
    waiting["erase"] = await waiting_at(scope.client, erase.STAGE, scope.generation)
    indexed = await images_with(scope, ImageIndexed)
    return Chain(posted, downloaded, preprocessed, fingerprinted, embedded, indexed, rejected, removed, waiting)


async def read_ends(scope: Scope) -> Ends:
    """What is known now, when everything else was read. Raises as `read_chain`."""
    return Ends(*[await images_with(scope, kind) for kind in (ImagePosted, ImageRejected, ImageRemoved)])


async def images_with(scope: Scope, kind: type[ImageFact]) -> Images:
    """The images that have a fact of this kind, for the scope's generation where there is one for each."""
    variant = None if kind.variant is None else scope.generation.token(kind.variant)
    return {image_of(subject) for subject in await _subjects_of(scope, kind, variant)}


async def not_erased(scope: Scope, removed: Images) -> Images:
    """Those of removed images of which the log keeps more than it should: a late ImageIndexed says no more than the tombstone."""
    kinds = [kind for kind in FACTS.values() if issubclass(kind, ImageFact) and kind not in (ImageRemoved, ImageIndexed)]
    left = [removed & {image_of(subject) for subject in await _subjects_of(scope, kind)} for kind in kinds if removed]
    return frozenset().union(*left)


async def _subjects_of(scope: Scope, kind: type[ImageFact], variant: str | None = None) -> list[str]:
    if scope.guild is not None:
        subjects = guild_filter(kind, scope.guild)
    else:
        subjects = kind_filter(kind) if variant is None else variant_filter(kind, variant)
    found = await list_subjects(scope.client, IMAGES, [subjects], timeout=PATIENCE_S)
    return [subject for subject in found if variant is None or subject.endswith(f".{variant}")]


def image_of(subject: str) -> str:
    """The image that a fact's subject is about; every id is kept in memory once."""
    return sys.intern(entity_of(subject)[1])
