"""The stage erase: deletes the blobs and facts of a removed image. Replay-safe: everything may be repeated.

The log has the names of the blobs, so it is purged last: an erasure that was interrupted starts again and still finds them. The log
is purged up to where it was read, and read again until nothing is left, since another stage may record one more fact about the
image meanwhile. The catalogue document is deleted first (persist does that too), so that an image does not protect its own blobs.

Posts of the same bytes share one blob. While another such post is being processed, its blob may be in use before its catalogue
document exists: the download found the bytes stored and did not write them again. But `put` also updates the time of the last put.
So a blob is deleted only if its last put is older than `grace`; by then the other document exists.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from contracts.errors import Retry
from contracts.events import (
    Fact,
    ImageDownloaded,
    ImageFact,
    ImageFingerprinted,
    ImagePosted,
    ImagePreprocessed,
    ImageRemoved,
    ImageResurfaced,
    StoredFile,
)
from contracts.ports import BlobStore, Catalogue, LogEraser
from contracts.stage import Stage

BLOB_GRACE: Final = timedelta(minutes=10)

_MAX_ATTEMPTS: Final = 12
"""Enough to wait until a blob that others put again and again is in use."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`grace` is how long ago a blob must have been put before it may be deleted."""

    catalogue: Catalogue
    blobs: BlobStore
    erasure: LogEraser
    grace: timedelta = BLOB_GRACE


async def handle(event: ImageRemoved | ImageResurfaced, deps: Deps) -> Sequence[Fact]:
    """Delete the blobs of the image that no other image uses, then its facts. Raises Retry if a blob was put too recently."""
    await deps.catalogue.remove(event.image_id)
    left = True
    while left:
        facts, until = await deps.erasure.history(event.guild_id, event.image_id)
        await _delete_blobs(await _find_unshared_blobs(facts, deps.catalogue), deps)
        await deps.erasure.erase_image(event.guild_id, event.image_id, until)
        left = any(not isinstance(fact, ImageRemoved) for fact in facts)
    return ()


async def _find_unshared_blobs(facts: Sequence[ImageFact], catalogue: Catalogue) -> set[str]:
    """Return the blobs of an image that no other post shares.

    A catalogue document names only the pictures of the newest preprocessing and the newest fingerprint. But posts that share those
    pictures share the older ones too, and everything that was made of them.
    """
    shared = [await catalogue.uses(fact.pixels) for fact in facts if isinstance(fact, ImagePreprocessed)]
    made = [fact for fact in facts if isinstance(fact, ImagePreprocessed | ImageFingerprinted)]
    return list_blobs(facts) - (list_blobs(made) if any(shared) else set())


async def _delete_blobs(blobs: Collection[str], deps: Deps) -> None:
    for blob in sorted(blobs):
        if await deps.catalogue.uses(blob):
            continue
        wait = deps.grace.total_seconds() - await deps.blobs.seconds_since_put(blob)
        if wait > 0:
            raise Retry(f"the blob {blob} was put too recently: another image may need it", after=wait)
        await deps.blobs.delete(blob)


def list_blobs(facts: Iterable[ImageFact]) -> set[str]:
    """List the names of all blobs of an image."""
    names: set[str] = set()
    for fact in facts:
        match fact:
            case ImagePosted(source=StoredFile(blob=blob)) | ImageDownloaded(blob=blob):
                names.add(blob)
            case ImagePreprocessed():
                names |= {fact.pixels, fact.thumbnail}
            case ImageFingerprinted():
                names.add(fact.fingerprint)
    return names


STAGE = Stage(name="erase", consumes=(ImageRemoved, ImageResurfaced), emits=(), handle=handle, deps=Deps, attempts=_MAX_ATTEMPTS)
