"""What should have followed and did not: pure, one comparison a function. What is rejected or removed is at its end.

Whether an index has every vector or fingerprint, and no other: its snapshot, and in memory where it is searched.

A process that searches loads the snapshot and follows the log from there. What the snapshot should have had when it was written is
never made up for. The processes themselves can only be asked whether all is as the log says, for which they play all of it anew.

What the catalogue has, read once from its beginning to its end.
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
}


@dataclass(frozen=True, slots=True)
class CatalogueSets:
    """What the catalogue has, as sets of image ids: documents with each of their parts, and vectors of the active generation."""

    documents: ImageIds
    posts: ImageIds
    originals: ImageIds
    pictures: ImageIds
    fingerprints: ImageIds
    rejections: ImageIds
    vectors: ImageIds
    tombstones: ImageIds


def find_missing_downloads(chain: Chain, ends: FinalState) -> MissingImages:
    """Posted: it should be downloaded or rejected."""
    images = chain.posted - chain.downloaded - ends.rejected - ends.removed
    return MissingImages("not-downloaded", "posted, but neither downloaded nor rejected", "download", images)


def find_missing_pictures(chain: Chain, ends: FinalState) -> MissingImages:
    """Downloaded: it should be preprocessed or rejected."""
    images = chain.downloaded - chain.preprocessed - ends.rejected - ends.removed
    return MissingImages("not-preprocessed", "downloaded, but not preprocessed", "preprocess", images)


def find_missing_fingerprints(chain: Chain, ends: FinalState, generation: str) -> MissingImages:
    """Preprocessed: it should be fingerprinted in the active generation. One that is indexed got over any rejection."""
    images = chain.preprocessed - chain.fingerprinted - (ends.rejected - chain.indexed) - ends.removed
    return MissingImages("not-fingerprinted", f"preprocessed, but not fingerprinted in {generation}", "fingerprint", images)


def find_missing_vectors(chain: Chain, ends: FinalState, generation: str) -> MissingImages:
    """Preprocessed: it should be embedded in the active generation. One that is indexed was, and got over any rejection."""
    images = chain.preprocessed - chain.embedded - (ends.rejected - chain.indexed) - ends.removed
    return MissingImages("not-embedded", f"preprocessed, but not embedded in {generation}", "embed", images)


def find_not_indexed(chain: Chain, ends: FinalState) -> MissingImages:
    """Embedded: it should be indexed."""
    return MissingImages("not-indexed", "embedded, but not indexed", "persist", chain.embedded - chain.indexed - ends.removed)


def find_missing_documents(chain: Chain, ends: FinalState, kept: CatalogueSets) -> MissingImages:
    """Posted: it should have a document."""
    images = chain.posted - kept.posts - ends.removed
    return MissingImages("no-document", "posted, but without a document in the catalogue", "persist", images)


def find_missing_parts(chain: Chain, ends: FinalState, kept: CatalogueSets) -> MissingImages:
    """What became of it should be in its document. What has no document at all is another gap."""
    lacking = (chain.downloaded - kept.originals) | (chain.preprocessed - kept.pictures)
    lacking |= chain.fingerprinted - kept.fingerprints
    lacking |= (chain.rejected & chain.posted) - kept.rejections
    images = (lacking & kept.posts) - ends.removed
    return MissingImages("incomplete-document", "in the catalogue with a document that lacks parts", "persist", images)


def find_missing_catalogue_vectors(chain: Chain, ends: FinalState, kept: CatalogueSets) -> MissingImages:
    """Embedded: the catalogue should have the vector."""
    images = (chain.embedded & kept.posts) - kept.vectors - ends.removed
    return MissingImages("no-vector", "embedded, but without its vector in the catalogue", "persist", images)


def find_removed_in_catalogue(chain: Chain, kept: CatalogueSets) -> MissingImages:
    """Removed: the catalogue should have nothing but a tombstone."""
    images = chain.removed & (kept.documents | kept.vectors)
    return MissingImages("removed-catalogued", "removed, but still in the catalogue", "erase", images)


def find_missing_tombstones(chain: Chain, kept: CatalogueSets) -> MissingImages:
    """Removed: the catalogue should know that, lest a replay bring it back."""
    images = chain.removed - kept.tombstones - kept.documents - kept.vectors
    return MissingImages("no-tombstone", "removed, but without a tombstone in the catalogue", "persist", images)


def find_never_posted(ends: FinalState, kept: CatalogueSets) -> ImageIds:
    """In the catalogue, though it was never posted."""
    return kept.documents - ends.posted - ends.removed


@dataclass(frozen=True, slots=True)
class AuditedIndex:
    """An index that is looked at: the facts that it is made of, what its snapshot has, what the log should have of them.

    `name` is what a person calls it, `done` what was done with its images; the names of its gaps have `id` in them.
    """

    kind: type[ImageFact]
    saved: Callable[[Path, str, str | None], tuple[int, set[str]] | None]
    recorded: Callable[[Chain], ImageIds]
    name: str
    done: str
    id: str


def _saved_features(folder: Path, generation: str, guild: str | None) -> tuple[int, set[str]] | None:
    # Deferred: only a process that looks into pictures pays for importing OpenCV.
    from infra.features import snapshot

    return snapshot.read_saved_images(folder, generation, guild)


VECTOR_INDEX = AuditedIndex(ImageEmbedded, read_saved_images, lambda chain: chain.embedded, "the index", "embedded", "index")

FEATURE_INDEX = AuditedIndex(
    ImageFingerprinted,
    _saved_features,
    lambda chain: chain.fingerprinted,
    "the index of features",
    "fingerprinted",
    "features",
)


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """`images` are in the snapshot, `later` are those that the log behind it says something of."""

    images: ImageIds
    later: ImageIds


async def read_saved_index(scope: Scope, folder: Path, looked: AuditedIndex = VECTOR_INDEX) -> SavedIndex | None:
    """An index of the scope's generation as it was saved; None where none was, as then it is made anew from the log."""
    saved = await asyncio.to_thread(looked.saved, folder, scope.generation.name, scope.guild)
    if saved is None:
        return None
    position, images = saved
    told = [variant_filter(looked.kind, scope.generation.name), kind_filter(ImageRemoved)]
    async with aclosing(read_log(scope.client, IMAGES, told, after=position, bodies=False)) as messages:
        return SavedIndex(images, {parse_image_id(message.subject) async for message in messages})


async def ask_processes_for_gaps(client: Client) -> tuple[list[Gap], list[str]]:
    """Have every process that searches compare its index with the log; the gaps, and notes of those that could not."""
    reports = await ask_processes(client, verify=True, on_report=lambda _: None)
    compared = [(report.process, report.comparison) for report in reports if report.comparison is not None]
    others = tuple(process for process, comparison in compared if comparison.before != comparison.after)
    gaps = [Gap("index-differs", "whose index is not what the log says", others, REBUILD_COMMANDS, of="process")] if others else []
    failed = [report for report in reports if report.comparison is None]
    return gaps, [f"The index of {report.process} could not be compared with the log: {report.reason}." for report in failed]


def find_index_gaps(chain: Chain, ends: FinalState, index: SavedIndex, looked: AuditedIndex = VECTOR_INDEX) -> list[Gap]:
    """Images whose vector or fingerprint the index lacks, and images of it that were never posted or are removed.

    Of the latter only what was removed before the index was read: it could not know of the others.
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
    """The catalogue as sets of image ids. Raises Unavailable."""
    sets: dict[str, set[str]] = {name: set() for name in CatalogueSets.__dataclass_fields__}
    async for entry in catalogue.contents():
        image_id = sys.intern(entry.image_id)
        if entry.removed:
            sets["tombstones"].add(image_id)
            continue
        for name in _parts(entry.document):
            sets[name].add(image_id)
        if guild in (None, entry.document.get("metadata", {}).get("guild_id")):
            sets["documents"].add(image_id)
        if entry.vectors.get(generation):
            sets["vectors"].add(image_id)
    return CatalogueSets(**sets)


def _parts(document: Any) -> list[str]:
    return [name for field, name in _PARTS.items() if document.get(field)]
