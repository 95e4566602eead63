"""Preprocess: a downloaded file becomes its canonical picture. Replay-safe: same bytes, same version, same pixels, same blobs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.events import Fact, ImageDownloaded, ImagePreprocessed, SearchDownloaded, SearchPreprocessed
from contracts.ports import BlobStore
from contracts.stage import Stage
from stages.canonical import as_png, as_thumbnail, decode

PREPROCESSING: Final = "p1"
"""The version of the canonical picture. Raise it whenever any file's canonical pixels change: other handling of colour,
transparency, orientation or frames, or a Pillow that decodes otherwise. Vectors of two versions never share an index. Another
thumbnail or another compression of the PNG is no reason."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`max_pixels` is width times height beyond which no picture is decoded (a 50-megapixel phone photograph just fits)."""

    blobs: BlobStore
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class _Made:
    png: bytes
    thumbnail: bytes
    width: int
    height: int
    format: str


def _canonical(data: bytes, max_pixels: int, with_thumbnail: bool) -> _Made:
    """Everything that costs processor time, in one go, for a thread."""
    picture, file_format = decode(data, max_pixels)
    thumbnail = as_thumbnail(picture) if with_thumbnail else b""
    return _Made(as_png(picture), thumbnail, picture.width, picture.height, file_format)


async def handle(event: ImageDownloaded | SearchDownloaded, deps: Deps) -> Sequence[Fact]:
    """Store the canonical picture, and a thumbnail for the archive. Raises Reject for bytes that are no usable picture.

    A blob that is lost is not the image's fault: BlobMissing goes up to become a dead letter, to be retried once the blob is back.
    """
    data = await deps.blobs.get(event.blob)
    made = await asyncio.to_thread(_canonical, data, deps.max_pixels, isinstance(event, ImageDownloaded))
    pixels = await deps.blobs.put(made.png)
    if isinstance(event, SearchDownloaded):
        return [
            SearchPreprocessed(
                guild_id=event.guild_id,
                search_id=event.search_id,
                question=event.question,
                pixels=pixels,
                width=made.width,
                height=made.height,
                preprocessing=PREPROCESSING,
            )
        ]
    return [
        ImagePreprocessed(
            **event.identity,
            pixels=pixels,
            thumbnail=await deps.blobs.put(made.thumbnail),
            width=made.width,
            height=made.height,
            format=made.format,
            preprocessing=PREPROCESSING,
        )
    ]


STAGE = Stage(
    name="preprocess",
    consumes=(ImageDownloaded, SearchDownloaded),
    emits=(ImagePreprocessed, SearchPreprocessed),
    handle=handle,
    deps=Deps,
)
