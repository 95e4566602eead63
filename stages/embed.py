"""Embed: one preprocessed image, or a question's words, becomes its vector; and an alert's picture one in every other generation.

Of a question's picture, the places in it that may be map art become vectors too, each by itself and seen from the front.

Replay-safe: same input, same encoder, same vector but for the last bit. A float sum depends a little on what else is in the batch;
the vector that was recorded first stands.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BlobMissing, Reject, RejectCode, Retry
from contracts.events import (
    AlertEmbedded,
    AlertSet,
    By,
    Calibration,
    Fact,
    ImageEmbedded,
    ImagePreprocessed,
    Quad,
    SearchDescribed,
    SearchEmbedded,
    SearchFingerprinted,
)
from contracts.ports import BlobStore, ImageEncoder
from contracts.stage import Stage

EXCLUDED_WEIGHT = 0.5
"""How much of what a picture must not look like is taken from what it should look like.

CLIP does not understand "not", but differences of its vectors: what is excluded is subtracted. Its texts lie in a narrow cone
(Liang et al. 2022, Mind the Gap), short ones often at cosines of 0.8, and a full difference of two such is mostly noise. With a
half, the vector turns by less than a third of a right angle, and similarities to pictures keep their scale.
"""

MAX_VIEWS = 3
"""Places in a question that become vectors, the likeliest ones: each costs as much as the whole picture."""

TEXT_NOT_SUPPORTED = "This MapSeek compares pictures only, so /find-text is not available here: models such as ViT-B-32 offer it."


@dataclass(frozen=True, slots=True)
class HostedEncoder:
    """A generation's encoder. `text` is how to read the similarity of words to its pictures; None: words are not compared."""

    generation: str
    encoder: ImageEncoder
    text: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Deps:
    """What embed needs. `hosted` gives the generation to embed in now, among those of a preprocessing version where it is named.

    For an archived image and an alert that is always the same one, for a question the one that answers at the moment.
    `preprocessed_again` makes of an alert's picture, which was preprocessed for another generation, what this one compares.
    `views` makes of a question's fingerprint the picture, and places in it seen from the front; None: its pixels are all there is.
    `hosted` raises Unavailable while none is loaded here, and Reject where none that answers is made of that version any more.
    """

    blobs: BlobStore
    hosted: Callable[[str | None], HostedEncoder]
    preprocess_again: Callable[[bytes], bytes] = bytes
    views: Callable[[bytes, Sequence[Quad]], Sequence[bytes]] | None = None


async def handle(event: ImagePreprocessed | SearchFingerprinted | SearchDescribed | AlertSet, deps: Deps) -> Sequence[Fact]:
    """Give a picture or words their vector; a question goes before the archive.

    Raises Retry while the pixels are not in the blob store, Reject where the encoder knows no words, and as `hosted` does.
    """
    match event:
        case ImagePreprocessed():
            hosted = deps.hosted(event.preprocessing)
            vector = await hosted.encoder.encode(await _blob("pixels", event.pixels, deps.blobs), urgent=False)
            return (ImageEmbedded(**event.identity, generation=hosted.generation, vector=vector),)
        case SearchFingerprinted():
            hosted = deps.hosted(event.preprocessing)
            whole, *views = await _views(event, hosted.encoder, deps)
            embedded = _question(event, whole, hosted.encoder.encoder.calibration, "image", hosted)
            seen = {"views": tuple(views), "fingerprint": event.fingerprint, "method": event.method}
            return (embedded.model_copy(update=seen),)
        case SearchDescribed():
            hosted = deps.hosted(None)
            if hosted.text is None:
                raise Reject(RejectCode.NO_TEXT, TEXT_NOT_SUPPORTED)
            wanted = await hosted.encoder.encode_text(event.words)
            excluded = [await hosted.encoder.encode_text(words) for words in event.excluded]
            return (_question(event, subtract_excluded(wanted, excluded), hosted.text, "text", hosted),)
        case AlertSet():
            return await _alert(event, deps)


async def _views(event: SearchFingerprinted, encoder: ImageEncoder, deps: Deps) -> Sequence[bytes]:
    """The vectors of the whole picture and of its likeliest places, which share a batch.

    The fingerprint holds a smaller copy of the picture: that spares decoding the full one once more.
    """
    if deps.views is None:
        return [await encoder.encode(await _blob("pixels", event.pixels, deps.blobs), urgent=True)]
    fingerprint = await _blob("fingerprint", event.fingerprint, deps.blobs)
    views = await asyncio.to_thread(deps.views, fingerprint, event.places[:MAX_VIEWS])
    return await asyncio.gather(*(encoder.encode(each, urgent=True) for each in views))


async def _alert(event: AlertSet, deps: Deps) -> Sequence[Fact]:
    """Nothing in the generation that the alert was set in, nor where its picture is gone."""
    hosted = deps.hosted(None)
    if event.generation == hosted.generation:
        return ()
    try:
        kept = await deps.blobs.get(event.pixels)
    except BlobMissing:
        return ()
    pixels = await asyncio.to_thread(deps.preprocess_again, kept)
    return (
        AlertEmbedded(
            guild_id=event.guild_id,
            alert_id=event.alert_id,
            person=event.person,
            generation=hosted.generation,
            vector=await hosted.encoder.encode(pixels, urgent=False),
            calibration=hosted.encoder.encoder.calibration,
        ),
    )


async def _blob(what: Literal["pixels", "fingerprint"], blob: str, blobs: BlobStore) -> bytes:
    try:
        return await blobs.get(blob)
    except BlobMissing:
        missing = f"the pixels {blob} are" if what == "pixels" else f"the fingerprint {blob} is"
        raise Retry(f"{missing} not in the blob store") from None


def _question(
    event: SearchFingerprinted | SearchDescribed, vector: bytes, calibration: Calibration, by: By, hosted: HostedEncoder
) -> SearchEmbedded:
    return SearchEmbedded(
        guild_id=event.guild_id,
        search_id=event.search_id,
        question=event.question,
        generation=hosted.generation,
        vector=vector,
        calibration=calibration,
        trained=hosted.encoder.encoder.trained,
        by=by,
    )


def subtract_excluded(wanted: bytes, excluded: Sequence[bytes]) -> bytes:
    """The unit vector of what is wanted, turned away from the mean of what is excluded."""
    if not excluded:
        return wanted
    unwanted = np.stack([_components(vector) for vector in excluded]).mean(axis=0)
    turned = _components(wanted) - EXCLUDED_WEIGHT * unwanted
    unit: NDArray[np.float32] = (turned / np.linalg.norm(turned)).astype("<f4")
    return unit.tobytes()


def _components(vector: bytes) -> NDArray[np.float64]:
    return np.frombuffer(vector, "<f4").astype(np.float64)


STAGE = Stage(
    name="embed",
    consumes=(ImagePreprocessed, SearchFingerprinted, SearchDescribed, AlertSet),
    emits=(ImageEmbedded, SearchEmbedded, AlertEmbedded),
    handle=handle,
    deps=Deps,
    by_generation=(ImagePreprocessed, AlertSet),
)
