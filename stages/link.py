"""Link: an image that shows an archived piece again becomes a repost of its first post. Replay-safe: it only reads.

Two posts show the same piece when the whole of the one is the whole of the other, verified by their fingerprints: re-encoded,
resized, turned or mirrored. Variants are linked too, another dithering of a picture or the original beside its map; a part of a
piece is not. A picture in which nothing stands out has hardly any features, so there a vector tells as well.

The fingerprint and the vector of an image are made side by side, and nobody waits for the other one: whichever is recorded later
finds both in the log. Where both are recorded by the time that the first one is looked at, both looks say the same.

Who looks at a piece is told its first post as it is known then; this fact is about what was known when the image came.

While two generations serve, both look at each image. The one that finds its document linked by the other says nothing more. Two
that look at the same moment may both say so, which costs one more fact: the post is marked once (stages/notify.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import BlobMissing, Retry
from contracts.events import Calibration, Fact, ImageEmbedded, ImageFingerprinted, ImageReposted
from contracts.ports import Catalogue, Document, Journal, PrintComparison, VectorSearch
from contracts.stage import Stage
from stages.matching import ArchiveFingerprints, compare_with_archive, is_whole_piece, round_score

_MAX_ATTEMPTS = 12
"""A fingerprint may overtake its post, which is earlier in the log and so comes."""

FIRST_CANDIDATES = 6
"""Candidates looked at first; while all of them show the piece, four times as many are."""

MAX_CANDIDATES = 1_024
"""Candidates looked at in the end."""

MIN_DISTINCTIVE_FEATURES = 12
"""Local features that an image needs at least for two pictures to be told apart by them; below, a near vector is enough."""


@dataclass(frozen=True, slots=True)
class Deps:
    """The log, the archive's vectors, documents and fingerprints, how to read a cosine, and whether the generation serves."""

    journal: Journal
    vectors: VectorSearch
    catalogue: Catalogue
    prints: ArchiveFingerprints
    calibration: Calibration
    serves: Callable[[], bool]


async def handle(event: ImageFingerprinted | ImageEmbedded, deps: Deps) -> Sequence[Fact]:
    """Find the first post of the piece, if this is a later one, once the image has both a fingerprint and a vector.

    Raises Retry while the image's own post is not catalogued, and while its fingerprint is not in the blob store. A generation that
    is still being built is passed over: the one that serves meanwhile has said so already.
    """
    if not deps.serves():
        return ()
    fingerprinted = event if isinstance(event, ImageFingerprinted) else await deps.journal.fetch(ImageFingerprinted, *event.key)
    embedded = event if isinstance(event, ImageEmbedded) else await deps.journal.fetch(ImageEmbedded, *event.key)
    if fingerprinted is None or embedded is None:
        return ()
    try:
        own_print = await deps.prints.archive.get(fingerprinted.fingerprint)
    except BlobMissing:
        if await deps.catalogue.is_removed(event.image_id):
            return ()
        raise Retry(f"the fingerprint {fingerprinted.fingerprint} is not in the blob store") from None
    vectors_tell = fingerprinted.features < MIN_DISTINCTIVE_FEATURES
    scores = await find_same_piece(embedded, own_print, deps, vectors_tell=vectors_tell)
    if not scores:
        return ()
    entries = await deps.catalogue.entries([event.image_id, *scores])
    documents = {image_id: entry.document for image_id, entry in entries.items() if "metadata" in entry.document}
    own = documents.pop(event.image_id, None)
    if own is None:
        if await deps.catalogue.is_removed(event.image_id):
            return ()
        raise Retry(f"image {event.image_id} is known, but its post has not been catalogued yet")
    if get_linking_generation(own) not in (None, event.generation):
        return ()
    first = find_first_post(own, documents)
    if first is None:
        return ()
    return (ImageReposted(**event.identity, generation=event.generation, same_as=first, score=scores[first]),)


async def find_same_piece(own: ImageEmbedded, own_print: bytes, deps: Deps, *, vectors_tell: bool) -> dict[str, float]:
    """The other images that show the same piece, in any channel, with how sure that is (by a vector: with the cosine)."""
    features, guild, generation = deps.prints.features, own.guild_id, own.generation
    among = await features.size(guild, generation)
    compared: dict[str, PrintComparison] = {}
    seen: set[str] = set()
    wanted = FIRST_CANDIDATES
    while True:
        shared = await features.candidates(guild, generation, own_print, top=wanted, channels=None)
        near = await deps.vectors.search(guild, generation, own.vector, top=wanted, channels=None)
        cosines = {found.image_id: round_score(found.score) for found in near if found.score >= deps.calibration.possible_at}
        cosines.pop(own.image_id, None)
        known = await features.fingerprints(guild, generation, cosines)
        found = {each.image_id: each.fingerprint for each in (*known.values(), *shared) if each.image_id != own.image_id}
        near_enough = {each: cosine for each, cosine in cosines.items() if cosine >= deps.calibration.match_at}
        unseen = {image_id: blob for image_id, blob in found.items() if image_id not in seen}
        # Where vectors tell, a hundred pictures of hardly anything may be near enough, and comparing them would change nothing.
        unsure = {image_id: blob for image_id, blob in unseen.items() if not (vectors_tell and image_id in near_enough)}
        compared |= await compare_with_archive(own_print, unsure, cosines, deps.prints, among=among)
        scores = select_same_piece(compared, near_enough, vectors_tell=vectors_tell)
        if not unseen or wanted == MAX_CANDIDATES or any(each not in scores for each in found):
            return scores
        seen |= set(found)
        wanted = min(4 * wanted, MAX_CANDIDATES)


def select_same_piece(
    compared: Mapping[str, PrintComparison], near: Mapping[str, float], *, vectors_tell: bool
) -> dict[str, float]:
    """The images that show the same piece: by comparison, or as near by vectors where they tell and where nothing was compared."""
    by_comparison = {each: round_score(result.probability) for each, result in compared.items() if is_whole_piece(result)}
    by_vector = {each: cosine for each, cosine in near.items() if vectors_tell or each not in compared}
    return by_vector | by_comparison


def find_first_post(own: Document, others: Mapping[str, Document]) -> str | None:
    """The earliest of the other posts by post time, if it is earlier than this one and not in the same message."""
    times = {
        image_id: parse_post_time(other)
        for image_id, other in others.items()
        if other["discord_message_id"] != own["discord_message_id"] and parse_post_time(other) < parse_post_time(own)
    }
    return min(times, key=lambda image_id: (times[image_id], image_id), default=None)


def get_linking_generation(document: Document) -> str | None:
    """The generation that told of what the image is a repost, if one did."""
    generation: str | None = document.get("repost_of", {}).get("generation")
    return generation


def parse_post_time(document: Document) -> datetime:
    """When the image of a catalogue document was posted."""
    return datetime.fromisoformat(document["metadata"]["upload_timestamp"])


STAGE = Stage(
    name="link",
    consumes=(ImageFingerprinted, ImageEmbedded),
    emits=(ImageReposted,),
    handle=handle,
    deps=Deps,
    attempts=_MAX_ATTEMPTS,
    by_generation=(ImageFingerprinted, ImageEmbedded),
)
