"""Embed: one preprocessed image, or a question's words, becomes its vector.

Replay-safe: same input, same encoder, same vector but for the last bit. A float sum depends a little on what else is in the batch;
the vector that was recorded first stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BlobMissing, Reject, RejectCode, Retry
from contracts.events import (
    By,
    Calibration,
    Fact,
    ImageEmbedded,
    ImagePreprocessed,
    SearchDescribed,
    SearchEmbedded,
    SearchPreprocessed,
)
from contracts.ports import BlobStore, ImageEncoder
from contracts.stage import Stage

EXCLUDED_WEIGHT = 0.5
"""How much of what a picture must not look like is taken from what it should look like.

CLIP does not understand "not", but differences of its vectors: what is excluded is subtracted. Its texts lie in a narrow cone
(Liang et al. 2022, Mind the Gap), short ones often at cosines of 0.8, and a full difference of two such is mostly noise. With a
half, the vector turns by less than a third of a right angle, and similarities to pictures keep their scale.
"""

NO_WORDS = "This MapSeek compares pictures only, so /find-text is not available here."


@dataclass(frozen=True, slots=True)
class Deps:
    """What embed needs: `generation` is the one that the encoder's vectors belong to.

    `text` is how to read the similarity of words to its pictures; None where words are not compared.
    """

    blobs: BlobStore
    encoder: ImageEncoder
    generation: str
    text: Calibration | None = None


async def handle(event: ImagePreprocessed | SearchPreprocessed | SearchDescribed, deps: Deps) -> Sequence[Fact]:
    """Give a picture or words their vector; a question goes before the archive.

    Raises Retry while the pixels are not in the blob store, Reject where the encoder knows no words.
    """
    match event:
        case ImagePreprocessed():
            vector = await deps.encoder.encode(await _pixels(event.pixels, deps.blobs), urgent=False)
            return (ImageEmbedded(**event.identity, generation=deps.generation, vector=vector),)
        case SearchPreprocessed():
            vector = await deps.encoder.encode(await _pixels(event.pixels, deps.blobs), urgent=True)
            return (_question(event, vector, deps.encoder.encoder.calibration, "image", deps),)
        case SearchDescribed():
            if deps.text is None:
                raise Reject(RejectCode.NO_TEXT, NO_WORDS)
            wanted = await deps.encoder.encode_text(event.words)
            excluded = [await deps.encoder.encode_text(words) for words in event.excluded]
            return (_question(event, without(wanted, excluded), deps.text, "text", deps),)


async def _pixels(blob: str, blobs: BlobStore) -> bytes:
    try:
        return await blobs.get(blob)
    except BlobMissing:
        raise Retry(f"the pixels {blob} are not in the blob store") from None


def _question(
    event: SearchPreprocessed | SearchDescribed, vector: bytes, calibration: Calibration, by: By, deps: Deps
) -> SearchEmbedded:
    return SearchEmbedded(
        guild_id=event.guild_id,
        search_id=event.search_id,
        question=event.question,
        generation=deps.generation,
        vector=vector,
        calibration=calibration,
        trained=deps.encoder.encoder.trained,
        by=by,
    )


def without(wanted: bytes, excluded: Sequence[bytes]) -> bytes:
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
    consumes=(ImagePreprocessed, SearchPreprocessed, SearchDescribed),
    emits=(ImageEmbedded, SearchEmbedded),
    handle=handle,
    deps=Deps,
)
