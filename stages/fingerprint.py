"""The stage fingerprint: makes the fingerprint (hash and local features) of a preprocessed picture and stores it as a blob.

Replay-safe: the same pixels and method give the same blob. A query's fingerprint has more in it and comes with the regions that may
be map art. If another generation has the fingerprint of the same picture already, it is reused. A generation's own fingerprint is
made again, so that a replay restores a lost blob.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.errors import BlobMissing, Retry, Unavailable
from contracts.events import (
    Fact,
    ImageFingerprinted,
    ImagePreprocessed,
    SearchFingerprinted,
    SearchPreprocessed,
)
from contracts.ports import BlobStore, Journal, PictureFingerprinter
from contracts.stage import Stage

DEFAULT_METHOD: Final = "f1"
"""The fingerprint method of new generations. Change it whenever the fingerprint of any picture changes.

Fingerprints of different methods are never compared.
"""

KNOWN_METHODS: Final = (DEFAULT_METHOD,)
"""The methods that this release supports, the newest last."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`method` returns the method of the generation in question; for queries, that of the active generation.

    `generation` is None for queries. `has_same_pictures` tells whether another generation has the same canonical pictures.
    """

    blobs: BlobStore
    fingerprinter: PictureFingerprinter
    journal: Journal
    method: Callable[[], str]
    generation: str | None = None
    has_same_pictures: Callable[[str], bool] = lambda _: False


async def handle(event: ImagePreprocessed | SearchPreprocessed, deps: Deps) -> Sequence[Fact]:
    """Make and store the fingerprint.

    Raises Retry if the canonical picture is not in the blob store, Unavailable for a method that this release does not support.
    """
    if deps.method() != deps.fingerprinter.method:
        raise Unavailable(f"fingerprint {deps.method()}", "this release of MapSeek does not support it: update MapSeek")
    if isinstance(event, SearchPreprocessed):
        return (await _make_query_fingerprint(event, deps),)
    return (await reuse_fingerprint(event, deps) or await _make_fingerprint(event, deps),)


async def reuse_fingerprint(event: ImagePreprocessed, deps: Deps) -> ImageFingerprinted | None:
    """Build the fact from the fingerprint that another generation has of the same picture. None if there is none to reuse."""
    other = await deps.journal.fetch_first(ImageFingerprinted, event.guild_id, event.image_id)
    if other is None or deps.generation is None or other.generation == deps.generation:
        return None
    if other.method != deps.fingerprinter.method or not deps.has_same_pictures(other.generation):
        return None
    try:
        data = await deps.blobs.get(other.fingerprint)
    except BlobMissing:
        return None
    await deps.blobs.put(data)  # renews the time of the last put, so that the blob is not deleted with the other generation
    return other.model_copy(update={"generation": deps.generation})


async def _make_fingerprint(event: ImagePreprocessed, deps: Deps) -> ImageFingerprinted:
    made = await deps.fingerprinter.fingerprint(await _get_picture(event.pixels, deps.blobs))
    return ImageFingerprinted(
        **event.identity,
        generation=deps.generation,
        method=deps.fingerprinter.method,
        fingerprint=await deps.blobs.put(made.data),
        hash=made.hash,
        quality=made.quality,
        features=made.features,
    )


async def _make_query_fingerprint(event: SearchPreprocessed, deps: Deps) -> SearchFingerprinted:
    examined = await deps.fingerprinter.examine(await _get_picture(event.pixels, deps.blobs))
    return SearchFingerprinted(
        guild_id=event.guild_id,
        search_id=event.search_id,
        question=event.question,
        pixels=event.pixels,
        width=event.width,
        height=event.height,
        preprocessing=event.preprocessing,
        method=deps.fingerprinter.method,
        fingerprint=await deps.blobs.put(examined.fingerprint.data),
        places=examined.places,
        file=event.file,
        spoiler=event.spoiler,
    )


async def _get_picture(blob: str, blobs: BlobStore) -> bytes:
    try:
        return await blobs.get(blob)
    except BlobMissing:
        raise Retry(f"the canonical picture {blob} is not in the blob store") from None


STAGE = Stage(
    name="fingerprint",
    consumes=(ImagePreprocessed, SearchPreprocessed),
    emits=(ImageFingerprinted, SearchFingerprinted),
    handle=handle,
    deps=Deps,
    by_generation=(ImagePreprocessed,),
)
