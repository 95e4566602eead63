"""Whether an index has every vector or fingerprint, and no other: its snapshot, and in memory where it is searched.

A process that searches loads the snapshot and follows the log from there. What the snapshot should have had when it was written is
never made up for. The processes themselves can only be asked whether all is as the log says, for which they play all of it anew.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from contracts.events import ImageEmbedded, ImageFact, ImageFingerprinted, ImageRemoved
from contracts.subjects import IMAGES, kind_filter, variant_filter
from infra.nats.connection import Client
from infra.nats.reader import past
from infra.vectors.snapshot import saved_images
from pipeline.audit.chain import Chain, Ends, Images, Scope, image_of
from pipeline.audit.gaps import Gap
from pipeline.rebuild.asking import ask_processes

REBUILD = ("mapseek rebuild index",)


@dataclass(frozen=True, slots=True)
class Looked:
    """An index that is looked at: the facts that it is made of, what its snapshot has, what the log should have of them.

    `name` is what a person calls it, `done` what was done with its images; the names of its gaps have `id` in them.
    """

    kind: type[ImageFact]
    saved: Callable[[Path, str, str | None], tuple[int, set[str]] | None]
    recorded: Callable[[Chain], Images]
    name: str
    done: str
    id: str


def _saved_features(folder: Path, generation: str, guild: str | None) -> tuple[int, set[str]] | None:
    # Deferred: only a process that looks into pictures pays for importing OpenCV.
    from infra.features import snapshot

    return snapshot.saved_images(folder, generation, guild)


VECTORS = Looked(ImageEmbedded, saved_images, lambda chain: chain.embedded, "the index", "embedded", "index")
FEATURES = Looked(
    ImageFingerprinted,
    _saved_features,
    lambda chain: chain.fingerprinted,
    "the index of features",
    "fingerprinted",
    "features",
)


@dataclass(frozen=True, slots=True)
class Index:
    """`images` are in the snapshot, `later` are those that the log behind it says something of."""

    images: Images
    later: Images


async def read_index(scope: Scope, folder: Path, looked: Looked = VECTORS) -> Index | None:
    """An index of the scope's generation as it was saved; None where none was, as then it is made anew from the log."""
    saved = await asyncio.to_thread(looked.saved, folder, scope.generation.name, scope.guild)
    if saved is None:
        return None
    position, images = saved
    told = [variant_filter(looked.kind, scope.generation.name), kind_filter(ImageRemoved)]
    async with aclosing(past(scope.client, IMAGES, told, after=position, bodies=False)) as messages:
        return Index(images, {image_of(message.subject) async for message in messages})


async def ask_for_gaps(client: Client) -> tuple[list[Gap], list[str]]:
    """Have every process that searches compare its index with the log; the gaps, and notes of those that could not."""
    reports = await ask_processes(client, verify=True, heard=lambda _: None)
    compared = [(report.process, report.comparison) for report in reports if report.comparison is not None]
    others = tuple(process for process, comparison in compared if comparison.before != comparison.after)
    gaps = [Gap("index-differs", "whose index is not what the log says", others, REBUILD, of="process")] if others else []
    failed = [report for report in reports if report.comparison is None]
    return gaps, [f"The index of {report.process} could not be compared with the log: {report.reason}." for report in failed]


def index_gaps(chain: Chain, ends: Ends, index: Index, looked: Looked = VECTORS) -> list[Gap]:
    """Images whose vector or fingerprint the index lacks, and images of it that were never posted or are removed.

    Of the latter only what was removed before the index was read: it could not know of the others.
    """
    lacking = looked.recorded(chain) - index.images - index.later - ends.removed
    settled = index.images - index.later
    too_many = (settled - ends.posted - ends.removed) | (settled & chain.removed)
    found = []
    if lacking:
        found.append(Gap(f"not-in-{looked.id}", f"{looked.done}, but not in {looked.name}", tuple(sorted(lacking)), REBUILD))
    if too_many:
        what = f"in {looked.name}, but removed or never posted"
        found.append(Gap(f"{looked.id}-too-much", what, tuple(sorted(too_many)), REBUILD))
    return found
