"""Preprocess: a downloaded file becomes its canonical picture, in every version that a generation is made of.

A question's is made small enough to be looked at quickly, and is not compressed, since it is soon gone.

Replay-safe: same bytes, same version, same pixels, same blobs.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from contracts.errors import Unavailable
from contracts.events import Fact, ImageDownloaded, ImagePreprocessed, SearchDownloaded, SearchPreprocessed
from contracts.ports import BlobStore
from contracts.stage import Stage
from stages.canonical_image import decode_image, encode_canonical_png, encode_thumbnail, encode_uncompressed_png

PREPROCESSORS: Final[Mapping[str, Callable[[bytes, int, int | None], tuple[Image.Image, str]]]] = {"p1": decode_image}
"""How the canonical picture of a file is made, by version, the newest last. Add one whenever any file's canonical pixels change:
other handling of colour, transparency, orientation or frames, or a Pillow that decodes otherwise; an earlier one stays as long as
archives may have a generation that is made of it. Another thumbnail or another compression of the PNG is no reason."""

MAX_QUERY_SIDE_PX: Final = 1600
"""Pixels on the longer side of a question at most: as many as whatever looks at it most closely (infra/vision) has a use for."""

DEFAULT_PREPROCESSING: Final = [*PREPROCESSORS][-1]
"""The version that new generations are made of. Vectors of two versions never share an index."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`versions` are those to make now: for the archive all that generations are made of, for a question the one that answers.

    `max_pixels` is width times height beyond which no picture is decoded (a 50-megapixel phone photograph just fits).
    """

    blobs: BlobStore
    versions: Callable[[], Sequence[str]]
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class _Made:
    png: bytes
    thumbnail: bytes
    width: int
    height: int
    format: str


def _archived(data: bytes, version: str, max_pixels: int) -> _Made:
    """Everything that costs processor time, in one go, for a thread."""
    picture, file_format = PREPROCESSORS[version](data, max_pixels, None)
    return _Made(encode_canonical_png(picture), encode_thumbnail(picture), picture.width, picture.height, file_format)


def _asked(data: bytes, version: str, max_pixels: int) -> _Made:
    """The same for a question, which has no thumbnail."""
    picture, file_format = PREPROCESSORS[version](data, max_pixels, MAX_QUERY_SIDE_PX)
    return _Made(encode_uncompressed_png(picture), b"", picture.width, picture.height, file_format)


def preprocess_again(picture: bytes, version: str, max_pixels: int) -> bytes:
    """A canonical picture of any version as nearly as can be what another version makes of its file, which is not kept."""
    return encode_canonical_png(PREPROCESSORS[version](picture, max_pixels, None)[0])


async def handle(event: ImageDownloaded | SearchDownloaded, deps: Deps) -> Sequence[Fact]:
    """Store the canonical pictures, and thumbnails for the archive. Raises Reject for bytes that are no usable picture.

    A blob that is lost is not the image's fault: BlobMissing goes up to become a dead letter, to be retried once the blob is back.
    Raises Unavailable while a newer release makes a version that this one does not know: left out, it would be missed for ever.
    """
    versions = deps.versions()
    if unknown := [version for version in versions if version not in PREPROCESSORS]:
        raise Unavailable(f"preprocessing {unknown[0]}", "this release of MapSeek does not know it, and must be updated")
    data = await deps.blobs.get(event.blob)
    return [await _preprocessed(event, data, version, deps) for version in versions]


async def _preprocessed(event: ImageDownloaded | SearchDownloaded, data: bytes, version: str, deps: Deps) -> Fact:
    made = await asyncio.to_thread(_archived if isinstance(event, ImageDownloaded) else _asked, data, version, deps.max_pixels)
    pixels = await deps.blobs.put(made.png)
    if isinstance(event, SearchDownloaded):
        return SearchPreprocessed(
            guild_id=event.guild_id,
            search_id=event.search_id,
            question=event.question,
            pixels=pixels,
            width=made.width,
            height=made.height,
            preprocessing=version,
        )
    return ImagePreprocessed(
        **event.identity,
        pixels=pixels,
        thumbnail=await deps.blobs.put(made.thumbnail),
        width=made.width,
        height=made.height,
        format=made.format,
        preprocessing=version,
    )


STAGE = Stage(
    name="preprocess",
    consumes=(ImageDownloaded, SearchDownloaded),
    emits=(ImagePreprocessed, SearchPreprocessed),
    handle=handle,
    deps=Deps,
)
