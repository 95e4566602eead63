"""The comparisons of an audit: what should follow from the facts and does not, in the log, in the catalogue and in the indexes.

Nothing more follows for an image that is rejected or removed.

An index is checked twice: its snapshot on disk, and the index in the memory of each process that searches. Such a process loads the
snapshot and follows the log from there, so what the snapshot lacked when it was written stays missing. A process can only be asked
whether its index agrees with the log. To answer, it reads the whole log again.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.events import ImageEmbedded, ImageFact, ImageFingerprinted, ImageRemoved
from contracts.ports import Catalogue
from contracts.subjects import IMAGES, kind_filter, variant_filter
from infra.nats.connection import Client
from infra.nats.reader import read_log
from infra.vectors.snapshot import read_saved_images
from pipeline.audit.chain import Chain, FinalState, ImageIds, Scope, parse_image_id
from pipeline.audit.gaps import Gap, MissingImages
from pipeline.projections.rebuild_index import ask_processes

REBUILD_COMMANDS = ("mapseek rebuild index",)

_PARTS = {
    "metadata": "posts",
    "original": "originals",
    "media": "pictures",
    "fingerprint": "fingerprints",
    "rejection": "rejections",
    "visibility": "visibilities",
}


@dataclass(frozen=True, slots=True)
class CatalogueSets:
    """What the catalogue has, as sets of image ids: documents, their parts, vectors of the active generation, and tombstones."""

    documents: ImageIds
    posts: ImageIds
    originals: ImageIds
    pictures: ImageIds
    fingerprints: ImageIds
    rejections: ImageIds
    visibilities: ImageIds
    vectors: ImageIds
    tombstones: ImageIds


def find_missing_downloads(chain: Chain, ends: FinalState) -> MissingImages:
    """A posted image should be downloaded or rejected."""
    images = chain.posted - chain.downloaded - ends.rejected - ends.removed
    return MissingImages("not-downloaded", "posted, but neither downloaded nor rejected", "download", images)


def find_missing_pictures(chain: Chain, ends: FinalState) -> MissingImages:
    """A downloaded image should be preprocessed or rejected."""
    images = chain.downloaded - chain.preprocessed - ends.rejected - ends.removed
    return MissingImages("not-preprocessed", "downloaded, but not preprocessed", "preprocess", images)


def find_missing_fingerprints(chain: Chain, ends: FinalState, generation: str) -> MissingImages:
    """A preprocessed image should be fingerprinted in the active generation.

    If it is indexed, an earlier rejection does not count.
    """
    images = chain.preprocessed - chain.fingerprinted - (ends.rejected - chain.indexed) - ends.removed
    return MissingImages("not-fingerprinted", f"preprocessed, but not fingerprinted in {generation}", "fingerprint", images)


def find_missing_vectors(chain: Chain, ends: FinalState, generation: str) -> MissingImages:
    """A preprocessed image should be embedded in the active generation. If it is indexed, an earlier rejection does not count."""
    images = chain.preprocessed - chain.embedded - (ends.rejected - chain.indexed) - ends.removed
    return MissingImages("not-embedded", f"preprocessed, but not embedded in {generation}", "embed", images)


def find_not_indexed(chain: Chain, ends: FinalState) -> MissingImages:
    """An embedded image should be indexed."""
    return MissingImages("not-indexed", "embedded, but not indexed", "persist", chain.embedded - chain.indexed - ends.removed)


def find_missing_documents(chain: Chain, ends: FinalState, kept: CatalogueSets) -> MissingImages:
    """A posted image should have a document."""
    images = chain.posted - kept.posts - ends.removed
    return MissingImages("no-document", "posted, but without a document in the catalogue", "persist", images)


def find_missing_parts(chain: Chain, ends: FinalState, kept: CatalogueSets) -> MissingImages:
    """A document should have a part for each fact of its image. An image without any document is another gap."""
    lacking = (chain.downloaded - kept.originals) | (chain.preprocessed - kept.pictures)
    lacking |= chain.fingerprinted - kept.fingerprints
    lacking |= (chain.rejected & chain.posted) - kept.rejections
    lacking |= chain.turned - kept.visibilities
    images = (lacking & kept.posts) - ends.removed
    return MissingImages("incomplete-document", "in the catalogue, but with an incomplete document", "persist", images)


def find_missing_catalogue_vectors(chain: Chain, ends: FinalState, kept: CatalogueSets) -> MissingImages:
    """The catalogue should have the vector of an embedded image."""
    images = (chain.embedded & kept.posts) - kept.vectors - ends.removed
    return MissingImages("no-vector", "embedded, but without its vector in the catalogue", "persist", images)


def find_removed_in_catalogue(chain: Chain, kept: CatalogueSets) -> MissingImages:
    """The catalogue should have nothing of a removed image but a tombstone."""
    images = chain.removed & (kept.documents | kept.vectors)
    return MissingImages("removed-catalogued", "removed, but still in the catalogue", "erase", images)


def find_missing_tombstones(chain: Chain, kept: CatalogueSets) -> MissingImages:
    """The catalogue should have a tombstone of a removed image. Without it, a replay would bring the image back."""
    images = chain.removed - kept.tombstones - kept.documents - kept.vectors
    return MissingImages("no-tombstone", "removed, but without a tombstone in the catalogue", "persist", images)


def find_never_posted(ends: FinalState, kept: CatalogueSets) -> ImageIds:
    """Return the images that are in the catalogue although they were never posted."""
    return kept.documents - ends.posted - ends.removed


@dataclass(frozen=True, slots=True)
class AuditedIndex:
    """An index that is audited.

    It is made from facts of one `kind`. `saved` reads the position and the image ids of its snapshot. `recorded` returns the images
    that it should have. `name` and `done` are words for people, and the kinds of its gaps contain `id`.
    """

    kind: type[ImageFact]
    saved: Callable[[Path, str, str | None], tuple[int, set[str]] | None]
    recorded: Callable[[Chain], ImageIds]
    name: str
    done: str
    id: str


def _saved_features(folder: Path, generation: str, guild: str | None) -> tuple[int, set[str]] | None:
    # Imported here, so that only a process that needs OpenCV pays for importing it.
    from infra.features import snapshot

    return snapshot.read_saved_images(folder, generation, guild)


VECTOR_INDEX = AuditedIndex(ImageEmbedded, read_saved_images, lambda chain: chain.embedded, "the index", "embedded", "index")

FEATURE_INDEX = AuditedIndex(
    ImageFingerprinted,
    _saved_features,
    lambda chain: chain.fingerprinted,
    "the feature index",
    "fingerprinted",
    "features",
)


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """`images` are in the snapshot. `later` are the images that the log behind the snapshot has facts of."""

    images: ImageIds
    later: ImageIds


async def read_saved_index(scope: Scope, folder: Path, looked: AuditedIndex = VECTOR_INDEX) -> SavedIndex | None:
    """Read the snapshot of an index of the scope's generation; None if there is none, since then the index is made from the log."""
    saved = await asyncio.to_thread(looked.saved, folder, scope.generation.name, scope.guild)
    if saved is None:
        return None
    position, images = saved
    filters = [variant_filter(looked.kind, scope.generation.name), kind_filter(ImageRemoved)]
    async with aclosing(read_log(scope.client, IMAGES, filters, after=position, bodies=False)) as messages:
        return SavedIndex(images, {parse_image_id(message.subject) async for message in messages})


async def ask_processes_for_gaps(client: Client) -> tuple[list[Gap], list[str]]:
    """Have every process that searches compare its index with the log.

    Return the gaps, and a note for each process that could not compare.
    """
    reports = await ask_processes(client, verify=True, on_report=lambda _: None)
    compared = [(report.process, report.comparison) for report in reports if report.comparison is not None]
    others = tuple(process for process, comparison in compared if comparison.before != comparison.after)
    gaps = [Gap("index-differs", "whose index differs from the log", others, REBUILD_COMMANDS, of="process")] if others else []
    failed = [report for report in reports if report.comparison is None]
    return gaps, [f"The index of {report.process} could not be compared with the log: {report.reason}." for report in failed]


def find_index_gaps(chain: Chain, ends: FinalState, index: SavedIndex, looked: AuditedIndex = VECTOR_INDEX) -> list[Gap]:
    """Return gaps for images that the index lacks, and for images in it that were never posted or are removed.

    Images that were removed after the index was read are no gap.
    """
    lacking = looked.recorded(chain) - index.images - index.later - ends.removed
    settled = index.images - index.later
    too_many = (settled - ends.posted - ends.removed) | (settled & chain.removed)
    found = []
    if lacking:
        found.append(
            Gap(f"not-in-{looked.id}", f"{looked.done}, but not in {looked.name}", tuple(sorted(lacking)), REBUILD_COMMANDS)
        )
    if too_many:
        what = f"in {looked.name}, but removed or never posted"
        found.append(Gap(f"{looked.id}-too-much", what, tuple(sorted(too_many)), REBUILD_COMMANDS))
    return found


async def read_catalogue(catalogue: Catalogue, generation: str, guild: str | None = None) -> CatalogueSets:
    """Read the whole catalogue once, as sets of image ids. Raises Unavailable."""
    sets: dict[str, set[str]] = {name: set() for name in CatalogueSets.__dataclass_fields__}
    async for entry in catalogue.contents():
        image_id = sys.intern(entry.image_id)
        if entry.removed:
            sets["tombstones"].add(image_id)
            continue
        for name in _list_parts(entry.document):
            sets[name].add(image_id)
        if guild in (None, entry.document.get("metadata", {}).get("guild_id")):
            sets["documents"].add(image_id)
        if entry.vectors.get(generation):
            sets["vectors"].add(image_id)
    return CatalogueSets(**sets)


def _list_parts(document: Any) -> list[str]:
    return [name for field, name in _PARTS.items() if document.get(field)]
