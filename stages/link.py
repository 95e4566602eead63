"""The stage link: records that an image is a repost of a piece that was posted before. Replay-safe: it only reads.

Two posts show the same piece if each shows the whole of the other, verified by their fingerprints: re-encoded, resized, turned or
mirrored. Variants count too, such as another dithering of a picture, or the original beside its map. A part of a piece does not.
A picture with hardly any features cannot be verified, so there a near vector is enough. One with nothing to see in it, such as a
black first frame, is known by its file alone. The very same file is always the same piece.

The fingerprint and the vector of an image are made in parallel. Whichever is recorded later finds both in the log. If both are
recorded before either is handled, both runs give the same result.

The fact is about what was archived when the image came. An answer shows the first post of a piece as known at that time.

While two generations can answer, both handle each image. The second one records nothing if the document is linked already. If both
run at the same moment, two facts may be recorded; the post is marked once all the same (stages/notify.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contracts.errors import BlobMissing, Retry
from contracts.events import Calibration, Fact, ImageDownloaded, ImageEmbedded, ImageFingerprinted, ImageReposted
from contracts.ports import Catalogue, Document, Journal, PrintComparison, VectorSearch
from contracts.stage import Stage
from stages.matching import ArchiveFingerprints, compare_with_archive, is_whole_piece, parse_post_time, round_score

_MAX_ATTEMPTS = 12
"""A fingerprint may be handled before its post is catalogued. The post is earlier in the log, so it will be."""

FIRST_CANDIDATES = 6
"""Candidates compared at first. While all of them show the piece, four times as many are compared."""

MAX_CANDIDATES = 1_024
"""Maximum number of candidates compared."""

MIN_DISTINCTIVE_FEATURES = 12
"""With fewer local features, fingerprints cannot tell two pictures apart; then a near vector is enough."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`calibration` is that of the generation's encoder; `serves` tells whether the generation answers searches, or did before."""

    journal: Journal
    vectors: VectorSearch
    catalogue: Catalogue
    prints: ArchiveFingerprints
    calibration: Calibration
    serves: Callable[[], bool]


async def handle(event: ImageFingerprinted | ImageEmbedded, deps: Deps) -> Sequence[Fact]:
    """Find the first post of the piece if this is a later one. Waits until the image has both a fingerprint and a vector.

    Raises Retry if the image's own post is not catalogued, or its fingerprint is not in the blob store. Does nothing for a
    generation that is still being built: the active one has handled the image.
    """
    if not deps.serves():
        return ()
    fingerprinted = event if isinstance(event, ImageFingerprinted) else await deps.journal.fetch(ImageFingerprinted, *event.key)
    embedded = event if isinstance(event, ImageEmbedded) else await deps.journal.fetch(ImageEmbedded, *event.key)
    if fingerprinted is None or embedded is None:
        return ()
    try:
        own_fingerprint = await deps.prints.archive.get(fingerprinted.fingerprint)
    except BlobMissing:
        if await deps.catalogue.is_removed(event.image_id):
            return ()
        raise Retry(f"the fingerprint {fingerprinted.fingerprint} is not in the blob store") from None
    scores = await find_same_piece(embedded, fingerprinted, own_fingerprint, deps)
    scores |= dict.fromkeys(await list_posts_of_file(event, deps), 1.0)
    if not scores:
        return ()
    entries = await deps.catalogue.entries([event.image_id], with_hidden=True) | await deps.catalogue.entries(scores)
    documents = {image_id: entry.document for image_id, entry in entries.items() if "metadata" in entry.document}
    own = documents.pop(event.image_id, None)
    if own is None:
        if await deps.catalogue.is_removed(event.image_id):
            return ()
        raise Retry(f"the post of image {event.image_id} is not catalogued yet")
    if get_linking_generation(own) not in (None, event.generation):
        return ()
    first = find_first_post(own, documents)
    if first is None:
        return ()
    return (ImageReposted(**event.identity, generation=event.generation, same_as=first, score=scores[first]),)


async def list_posts_of_file(event: ImageFingerprinted | ImageEmbedded, deps: Deps) -> list[str]:
    """Find the other images whose file has the same SHA-256, in any channel."""
    own = await deps.journal.fetch(ImageDownloaded, event.guild_id, event.image_id)
    found = {} if own is None else await deps.catalogue.find_file(event.guild_id, own.blob)
    return [image_id for image_id in found if image_id != event.image_id]


async def find_same_piece(
    own: ImageEmbedded, fingerprinted: ImageFingerprinted, own_fingerprint: bytes, deps: Deps
) -> dict[str, float]:
    """Find the other images that show the same piece, in any channel, with their score: the probability, or the cosine."""
    features, guild, generation = deps.prints.features, own.guild_id, own.generation
    vector_suffices = fingerprinted.features < MIN_DISTINCTIVE_FEATURES
    is_blank = not fingerprinted.features and not fingerprinted.quality
    among = await features.size(guild, generation)
    compared: dict[str, PrintComparison] = {}
    seen: set[str] = set()
    wanted = FIRST_CANDIDATES
    while True:
        shared = await features.candidates(guild, generation, own_fingerprint, top=wanted, channels=None)
        near = await deps.vectors.search(guild, generation, own.vector, top=wanted, channels=None)
        cosines = {found.image_id: round_score(found.score) for found in near if found.score >= deps.calibration.possible_at}
        cosines.pop(own.image_id, None)
        known = await features.fingerprints(guild, generation, cosines)
        found = {each.image_id: each.fingerprint for each in (*known.values(), *shared) if each.image_id != own.image_id}
        near_enough = {each: cosine for each, cosine in cosines.items() if cosine >= deps.calibration.match_at and not is_blank}
        unseen = {image_id: blob for image_id, blob in found.items() if image_id not in seen}
        # If a near vector is enough, a hundred nearly empty pictures may be near; comparing them would change nothing.
        unsure = {image_id: blob for image_id, blob in unseen.items() if not (vector_suffices and image_id in near_enough)}
        compared |= await compare_with_archive(own_fingerprint, unsure, cosines, deps.prints, among=among)
        scores = select_same_piece(compared, near_enough, vector_suffices=vector_suffices)
        if not unseen or wanted == MAX_CANDIDATES or any(each not in scores for each in found):
            return scores
        seen |= set(found)
        wanted = min(4 * wanted, MAX_CANDIDATES)


def select_same_piece(
    compared: Mapping[str, PrintComparison], near: Mapping[str, float], *, vector_suffices: bool
) -> dict[str, float]:
    """Select the images that show the same piece: by comparison, or by near vectors if these are enough or nothing was compared."""
    by_comparison = {each: round_score(result.probability) for each, result in compared.items() if is_whole_piece(result)}
    by_vector = {each: cosine for each, cosine in near.items() if vector_suffices or each not in compared}
    return by_vector | by_comparison


def find_first_post(own: Document, others: Mapping[str, Document]) -> str | None:
    """Find the earliest of the other posts by post time, if it is earlier than this one. Posts of the same message do not count."""
    times = {
        image_id: parse_post_time(other)
        for image_id, other in others.items()
        if other["discord_message_id"] != own["discord_message_id"] and parse_post_time(other) < parse_post_time(own)
    }
    return min(times, key=lambda image_id: (times[image_id], image_id), default=None)


def get_linking_generation(document: Document) -> str | None:
    """Return the generation that linked the image as a repost, if any."""
    generation: str | None = document.get("repost_of", {}).get("generation")
    return generation


STAGE = Stage(
    name="link",
    consumes=(ImageFingerprinted, ImageEmbedded),
    emits=(ImageReposted,),
    handle=handle,
    deps=Deps,
    attempts=_MAX_ATTEMPTS,
    by_generation=(ImageFingerprinted, ImageEmbedded),
)
