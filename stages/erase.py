"""Erase: what the store and the log hold of a removed image goes. Replay-safe: all of it may be done again.

The log names the blobs, so it is purged last: an erasure that is cut short anywhere is begun again and finds them. It is purged as
far as it was read, and read again until nothing is left, since a stage that is at work on the image may record one more fact. The
catalogue's entry goes first (persist may have taken it away already, or will), so that an image does not keep its own blobs.

Posts of the same bytes share one blob. While another post is being downloaded, its blob may be there before its catalogue entry is:
the download found the bytes stored and did not write them again. But putting them touches them, so a blob is only deleted when it
was left alone for `grace`, in which that entry comes to be.
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
"""A blob that others keep putting is in use before long; until then each of them is waited for."""


@dataclass(frozen=True, slots=True)
class Deps:
    """What erase needs: `grace` is how long a blob must have been left alone before it may go."""

    catalogue: Catalogue
    blobs: BlobStore
    erasure: LogEraser
    grace: timedelta = BLOB_GRACE


async def handle(event: ImageRemoved | ImageResurfaced, deps: Deps) -> Sequence[Fact]:
    """Delete the image's blobs that no other image uses, then its facts. Raises Retry while one of them was put too lately."""
    await deps.catalogue.remove(event.image_id)
    left = True
    while left:
        facts, until = await deps.erasure.history(event.guild_id, event.image_id)
        await _delete(await _unshared(facts, deps.catalogue), deps)
        await deps.erasure.erase_image(event.guild_id, event.image_id, until)
        left = any(not isinstance(fact, ImageRemoved) for fact in facts)
    return ()


async def _unshared(facts: Sequence[ImageFact], catalogue: Catalogue) -> set[str]:
    """The blobs of an image but for those that another post shares with its pictures.

    A document names the pictures of the newest preprocessing and the newest fingerprint alone. Posts that share those pictures
    share the older ones too, and with them all that was made of them.
    """
    shared = [await catalogue.uses(fact.pixels) for fact in facts if isinstance(fact, ImagePreprocessed)]
    made = [fact for fact in facts if isinstance(fact, ImagePreprocessed | ImageFingerprinted)]
    return list_blobs(facts) - (list_blobs(made) if any(shared) else set())


async def _delete(blobs: Collection[str], deps: Deps) -> None:
    for blob in sorted(blobs):
        if await deps.catalogue.uses(blob):
            continue
        wait = deps.grace.total_seconds() - await deps.blobs.seconds_since_put(blob)
        if wait > 0:
            raise Retry(f"the blob {blob} was put a short while ago, perhaps for another image", after=wait)
        await deps.blobs.delete(blob)


def list_blobs(facts: Iterable[ImageFact]) -> set[str]:
    """The names of all blobs that were made of an image."""
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
