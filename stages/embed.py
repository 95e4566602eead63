"""The stage embed: makes the vectors of archived images, queries, and the pictures of alerts in other generations.

The regions of a query picture that may be map art get vectors too, each one rectified.

Replay-safe: the same input and encoder give the same vector, except for the last bit, since a float sum depends a little on the
rest of the batch. The vector that is recorded first counts.
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
"""The weight with which the vector of excluded words is subtracted from the vector of the wanted words.

CLIP does not understand "not", but differences of its vectors are meaningful. Its text vectors lie in a narrow cone (Liang et al.
2022, Mind the Gap); short texts often have cosines of 0.8, and a full difference of two such vectors is mostly noise. With a half,
the vector turns by less than a third of a right angle, and similarities to pictures keep their scale.
"""

MAX_VIEWS = 3
"""How many regions of a query get a vector, the likeliest first. Each costs as much as the whole picture."""

TEXT_NOT_SUPPORTED = "This MapSeek compares pictures only, so /find-text is not available here: models such as ViT-B-32 offer it."


@dataclass(frozen=True, slots=True)
class HostedEncoder:
    """An encoder and the generation it belongs to. `text` is the calibration for words; None: it cannot search by words."""

    generation: str
    encoder: ImageEncoder
    text: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Deps:
    """`select_encoder` selects the generation to embed in, among those of a preprocessing version if one is given.

    For archived images and alerts it is always the same generation, for queries the active one. It raises Unavailable while no
    encoder is loaded here, and Reject if no generation that answers uses that preprocessing version any more.
    `preprocess_again` turns an alert's picture, which was preprocessed for another generation, into what this generation compares.
    `views` extracts the picture and its rectified regions from a query's fingerprint. None: only the whole picture is embedded.
    """

    blobs: BlobStore
    select_encoder: Callable[[str | None], HostedEncoder]
    preprocess_again: Callable[[bytes], bytes] = bytes
    views: Callable[[bytes, Sequence[Quad]], Sequence[bytes]] | None = None


async def handle(event: ImagePreprocessed | SearchFingerprinted | SearchDescribed | AlertSet, deps: Deps) -> Sequence[Fact]:
    """Encode a picture or words. Queries go before archived images.

    Raises Retry if the picture is not in the blob store, Reject if the encoder cannot encode words, and what `select_encoder`
    raises.
    """
    match event:
        case ImagePreprocessed():
            hosted = deps.select_encoder(event.preprocessing)
            vector = await hosted.encoder.encode(await _get_blob("canonical picture", event.pixels, deps.blobs), urgent=False)
            return (ImageEmbedded(**event.identity, generation=hosted.generation, vector=vector),)
        case SearchFingerprinted():
            hosted = deps.select_encoder(event.preprocessing)
            whole, *views = await _encode_views(event, hosted.encoder, deps)
            embedded = _build_embedded(event, whole, hosted.encoder.encoder.calibration, "image", hosted)
            query_fields = {"fingerprint": event.fingerprint, "method": event.method, "file": event.file, "spoiler": event.spoiler}
            return (embedded.model_copy(update={"views": tuple(views), **query_fields}),)
        case SearchDescribed():
            hosted = deps.select_encoder(None)
            if hosted.text is None:
                raise Reject(RejectCode.NO_TEXT, TEXT_NOT_SUPPORTED)
            wanted = await hosted.encoder.encode_text(event.words)
            excluded = [await hosted.encoder.encode_text(words) for words in event.excluded]
            return (_build_embedded(event, subtract_excluded(wanted, excluded), hosted.text, "text", hosted),)
        case AlertSet():
            return await _embed_alert(event, deps)


async def _encode_views(event: SearchFingerprinted, encoder: ImageEncoder, deps: Deps) -> Sequence[bytes]:
    """Encode the whole picture and its likeliest regions, in one batch.

    The fingerprint has a smaller copy of the picture, so that the full one need not be decoded again.
    """
    if deps.views is None:
        return [await encoder.encode(await _get_blob("canonical picture", event.pixels, deps.blobs), urgent=True)]
    fingerprint = await _get_blob("fingerprint", event.fingerprint, deps.blobs)
    views = await asyncio.to_thread(deps.views, fingerprint, event.places[:MAX_VIEWS])
    return await asyncio.gather(*(encoder.encode(each, urgent=True) for each in views))


async def _embed_alert(event: AlertSet, deps: Deps) -> Sequence[Fact]:
    """Embed an alert's picture. Nothing to do in the generation that the alert was set in, or if its picture is gone."""
    hosted = deps.select_encoder(None)
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


async def _get_blob(what: Literal["canonical picture", "fingerprint"], blob: str, blobs: BlobStore) -> bytes:
    try:
        return await blobs.get(blob)
    except BlobMissing:
        raise Retry(f"the {what} {blob} is not in the blob store") from None


def _build_embedded(
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
    """Subtract the weighted mean of the excluded vectors from the wanted one. Return a unit vector."""
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
