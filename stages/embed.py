"""Embed: one preprocessed image becomes its vector. Replay-safe: same pixels, same encoder, same vector but for the last bit.

A float sum depends a little on what else is in the batch; the vector that was recorded first stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import BlobMissing, Retry
from contracts.events import Fact, ImageEmbedded, ImagePreprocessed, SearchEmbedded, SearchPreprocessed
from contracts.ports import BlobStore, ImageEncoder
from contracts.stage import Stage


@dataclass(frozen=True, slots=True)
class Deps:
    """What embed needs: `generation` is the one that the encoder's vectors belong to."""

    blobs: BlobStore
    encoder: ImageEncoder
    generation: str


async def handle(event: ImagePreprocessed | SearchPreprocessed, deps: Deps) -> Sequence[Fact]:
    """Give the picture its vector; a question goes before the archive. Raises Retry while its pixels are not in the blob store."""
    try:
        pixels = await deps.blobs.get(event.pixels)
    except BlobMissing:
        raise Retry(f"the pixels {event.pixels} are not in the blob store") from None
    vector = await deps.encoder.encode(pixels, urgent=isinstance(event, SearchPreprocessed))
    if isinstance(event, ImagePreprocessed):
        return (
            ImageEmbedded(
                guild_id=event.guild_id,
                channel_id=event.channel_id,
                image_id=event.image_id,
                generation=deps.generation,
                vector=vector,
            ),
        )
    encoder = deps.encoder.encoder
    return (
        SearchEmbedded(
            guild_id=event.guild_id,
            search_id=event.search_id,
            question=event.question,
            generation=deps.generation,
            vector=vector,
            calibration=encoder.calibration,
            trained=encoder.trained,
        ),
    )


STAGE = Stage(
    name="embed",
    consumes=(ImagePreprocessed, SearchPreprocessed),
    emits=(ImageEmbedded, SearchEmbedded),
    handle=handle,
    deps=Deps,
)
