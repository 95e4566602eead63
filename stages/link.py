"""Link: an image that shows an archived piece again becomes a repost of its first post. Replay-safe: it only reads.

Who looks at a piece is told its first post as it is known then; this fact is about what was known when the image came.

While two generations serve, both look at each image. The one that finds its document linked by the other says nothing more. Two
that look at the same moment may both say so, which costs one more fact: the post is marked once (stages/notify.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import Retry
from contracts.events import Calibration, Fact, ImageEmbedded, ImageReposted
from contracts.ports import Catalogue, Document, VectorSearch
from contracts.stage import Stage
from stages.scores import score_of

ATTEMPTS = 12
"""A vector may overtake its post, which is earlier in the log and so comes."""

FEW = 16
"""Neighbours looked at first; while all of them match, four times as many are."""

MOST = 1_024
"""Neighbours looked at in the end."""


@dataclass(frozen=True, slots=True)
class Deps:
    """The archive's vectors and documents, how to read a similarity of the generation, and whether it serves people already."""

    vectors: VectorSearch
    catalogue: Catalogue
    calibration: Calibration
    serves: Callable[[], bool]


async def handle(event: ImageEmbedded, deps: Deps) -> Sequence[Fact]:
    """Find the first post of the piece, if this is a later one. Raises Retry while the image's own post is not catalogued.

    A generation that is still being built is passed over: the one that serves meanwhile has said so already.
    """
    if not deps.serves():
        return ()
    scores = await scores_of_posts(event, deps)
    if not scores:
        return ()
    entries = await deps.catalogue.entries([event.image_id, *scores])
    documents = {image_id: entry.document for image_id, entry in entries.items() if "metadata" in entry.document}
    own = documents.pop(event.image_id, None)
    if own is None:
        if await deps.catalogue.removed(event.image_id):
            return ()
        raise Retry(f"image {event.image_id} has a vector, but its post has not been catalogued yet")
    if linked_by(own) not in (None, event.generation):
        return ()
    first = first_before(own, documents)
    if first is None:
        return ()
    return (ImageReposted(**event.identity, generation=event.generation, same_as=first, score=scores[first]),)


async def scores_of_posts(event: ImageEmbedded, deps: Deps) -> dict[str, float]:
    """The other images that match this one, in any channel, with their similarity.

    The image's own vector is taken from the fact, since the index may not have it yet.
    """
    wanted = FEW
    while True:
        nearest = await deps.vectors.search(event.guild_id, event.generation, event.vector, top=wanted, channels=None)
        scores = {found.image_id: score_of(found.score) for found in nearest}
        matching = {image_id: score for image_id, score in scores.items() if score >= deps.calibration.match_at}
        if len(matching) < wanted or wanted == MOST:
            matching.pop(event.image_id, None)
            return matching
        wanted = min(4 * wanted, MOST)


def first_before(own: Document, others: Mapping[str, Document]) -> str | None:
    """The earliest of the other posts by post time, if it is earlier than this one and not in the same message."""
    times = {
        image_id: posted_at(other)
        for image_id, other in others.items()
        if other["discord_message_id"] != own["discord_message_id"] and posted_at(other) < posted_at(own)
    }
    return min(times, key=lambda image_id: (times[image_id], image_id), default=None)


def linked_by(document: Document) -> str | None:
    """The generation that told of what the image is a repost, if one did."""
    generation: str | None = document.get("repost_of", {}).get("generation")
    return generation


def posted_at(document: Document) -> datetime:
    """When the image of a catalogue document was posted."""
    return datetime.fromisoformat(document["metadata"]["upload_timestamp"])


STAGE = Stage(
    name="link",
    consumes=(ImageEmbedded,),
    emits=(ImageReposted,),
    handle=handle,
    deps=Deps,
    attempts=ATTEMPTS,
    by_generation=(ImageEmbedded,),
)
