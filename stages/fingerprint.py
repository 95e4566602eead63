"""Fingerprint: a preprocessed picture becomes what it is known by besides its vector: its hash and its local features, as a blob.

Replay-safe: same pixels, same method, same blob. A question's fingerprint has more in it, and says where in the picture map art may
lie. What another generation of the same pictures knows already is taken over; what one recorded itself is made again, so that a
replay brings back a blob that is lost.
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
"""How fingerprints are made of which new generations consist. Change it whenever any picture's fingerprint changes; those of two
methods are never compared."""

KNOWN_METHODS: Final = (DEFAULT_METHOD,)
"""The methods that this release can make, the newest last."""


@dataclass(frozen=True, slots=True)
class Deps:
    """What fingerprint needs: `method` is that of the generation that is worked for, for a question the one that answers now.

    `generation` is None for questions; `alike` says of another one whether its pictures are the same.
    """

    blobs: BlobStore
    fingerprinting: PictureFingerprinter
    journal: Journal
    method: Callable[[], str]
    generation: str | None = None
    alike: Callable[[str], bool] = lambda _: False


async def handle(event: ImagePreprocessed | SearchPreprocessed, deps: Deps) -> Sequence[Fact]:
    """Store the fingerprint.

    Raises Retry while the pixels are not in the blob store, Unavailable for a method that this release does not know.
    """
    if deps.method() != deps.fingerprinting.method:
        raise Unavailable(f"fingerprint {deps.method()}", "this release of MapSeek does not know it, and must be updated")
    if isinstance(event, SearchPreprocessed):
        return (await _examined(event, deps),)
    return (await reuse_fingerprint(event, deps) or await _fingerprinted(event, deps),)


async def reuse_fingerprint(event: ImagePreprocessed, deps: Deps) -> ImageFingerprinted | None:
    """The fact as it follows from what another generation has recorded of the same picture; None where it is to be made."""
    other = await deps.journal.fetch_first(ImageFingerprinted, event.guild_id, event.image_id)
    if other is None or deps.generation is None or other.generation == deps.generation:
        return None
    if other.method != deps.fingerprinting.method or not deps.alike(other.generation):
        return None
    try:
        data = await deps.blobs.get(other.fingerprint)
    except BlobMissing:
        return None
    await deps.blobs.put(data)  # lest it be deleted with that generation before this is recorded
    return other.model_copy(update={"generation": deps.generation})


async def _fingerprinted(event: ImagePreprocessed, deps: Deps) -> ImageFingerprinted:
    made = await deps.fingerprinting.fingerprint(await _pixels(event.pixels, deps.blobs))
    return ImageFingerprinted(
        **event.identity,
        generation=deps.generation,
        method=deps.fingerprinting.method,
        fingerprint=await deps.blobs.put(made.data),
        hash=made.hash,
        quality=made.quality,
        features=made.features,
    )


async def _examined(event: SearchPreprocessed, deps: Deps) -> SearchFingerprinted:
    examined = await deps.fingerprinting.examine(await _pixels(event.pixels, deps.blobs))
    return SearchFingerprinted(
        guild_id=event.guild_id,
        search_id=event.search_id,
        question=event.question,
        pixels=event.pixels,
        width=event.width,
        height=event.height,
        preprocessing=event.preprocessing,
        method=deps.fingerprinting.method,
        fingerprint=await deps.blobs.put(examined.fingerprint.data),
        places=examined.places,
    )


async def _pixels(blob: str, blobs: BlobStore) -> bytes:
    try:
        return await blobs.get(blob)
    except BlobMissing:
        raise Retry(f"the pixels {blob} are not in the blob store") from None


STAGE = Stage(
    name="fingerprint",
    consumes=(ImagePreprocessed, SearchPreprocessed),
    emits=(ImageFingerprinted, SearchFingerprinted),
    handle=handle,
    deps=Deps,
    by_generation=(ImagePreprocessed,),
)
