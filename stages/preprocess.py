"""The stage preprocess: turns a downloaded file into its canonical picture, in every version that a generation uses.

A query picture is reduced, so that it is handled quickly, and is stored uncompressed, since it is deleted soon.

Replay-safe: the same bytes and version give the same pixels and blobs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from contracts.errors import Unavailable
from contracts.events import Fact, ImageDownloaded, ImagePreprocessed, SearchDownloaded, SearchPreprocessed
from contracts.ports import BlobStore, PictureWorkers
from contracts.stage import Stage
from stages.canonical_image import decode_image, encode_canonical_png, encode_thumbnail, encode_uncompressed_png

PREPROCESSORS: Final[Mapping[str, Callable[[bytes, int, int | None], tuple[Image.Image, str]]]] = {"p1": decode_image}
"""The functions that make canonical pictures, by version, the newest last.

Add a version whenever the canonical pixels of any file change: other handling of colour, transparency, orientation or frames, or a
Pillow that decodes differently. An earlier version stays as long as an archive may have a generation that uses it. Another
thumbnail or another compression of the PNG needs no new version.
"""

MAX_QUERY_SIDE_PX: Final = 1600
"""Maximum longer side of a query picture: as many pixels as infra/vision can use."""

DEFAULT_PREPROCESSING: Final = [*PREPROCESSORS][-1]
"""The version that new generations use. Vectors of two versions are never in the same index."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`versions` returns the versions to make: for archived images all that generations use, for queries that of the active one.

    `max_pixels` limits width times height; larger pictures are not decoded. A 50-megapixel phone photograph just fits.
    """

    blobs: BlobStore
    workers: PictureWorkers
    versions: Callable[[], Sequence[str]]
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class _Encoded:
    png: bytes
    thumbnail: bytes
    width: int
    height: int
    format: str


def _make_archived(data: bytes, version: str, max_pixels: int) -> _Encoded:
    """Do all the CPU work for an archived image, in one call."""
    picture, file_format = PREPROCESSORS[version](data, max_pixels, None)
    return _Encoded(encode_canonical_png(picture), encode_thumbnail(picture), picture.width, picture.height, file_format)


def _make_query(data: bytes, version: str, max_pixels: int) -> _Encoded:
    """The same for a query, which has no thumbnail."""
    picture, file_format = PREPROCESSORS[version](data, max_pixels, MAX_QUERY_SIDE_PX)
    return _Encoded(encode_uncompressed_png(picture), b"", picture.width, picture.height, file_format)


def preprocess_again(picture: bytes, version: str, max_pixels: int) -> bytes:
    """Preprocess a canonical picture of another version, since its file is not kept. The result is close to that of the file."""
    return encode_canonical_png(PREPROCESSORS[version](picture, max_pixels, None)[0])


async def handle(event: ImageDownloaded | SearchDownloaded, deps: Deps) -> Sequence[Fact]:
    """Store the canonical pictures, and thumbnails of archived images. Raises Reject for bytes that are not a usable picture.

    A lost blob is not the image's fault: BlobMissing makes the message a dead letter, which can be retried once the blob is back.
    Raises Unavailable if a newer release uses a version that this one does not support: skipping it would leave a gap for good.
    """
    versions = deps.versions()
    if unknown := [version for version in versions if version not in PREPROCESSORS]:
        raise Unavailable(f"preprocessing {unknown[0]}", "this release of MapSeek does not support it: update MapSeek")
    data = await deps.blobs.get(event.blob)
    return [await _preprocess(event, data, version, deps) for version in versions]


async def _preprocess(event: ImageDownloaded | SearchDownloaded, data: bytes, version: str, deps: Deps) -> Fact:
    make = _make_archived if isinstance(event, ImageDownloaded) else _make_query
    encoded = await deps.workers.run(make, data, version, deps.max_pixels)
    pixels = await deps.blobs.put(encoded.png)
    if isinstance(event, SearchDownloaded):
        return SearchPreprocessed(
            guild_id=event.guild_id,
            search_id=event.search_id,
            question=event.question,
            pixels=pixels,
            width=encoded.width,
            height=encoded.height,
            preprocessing=version,
            file=event.blob,
            spoiler=event.spoiler,
        )
    return ImagePreprocessed(
        **event.identity,
        pixels=pixels,
        thumbnail=await deps.blobs.put(encoded.thumbnail),
        width=encoded.width,
        height=encoded.height,
        format=encoded.format,
        preprocessing=version,
    )


STAGE = Stage(
    name="preprocess",
    consumes=(ImageDownloaded, SearchDownloaded),
    emits=(ImagePreprocessed, SearchPreprocessed),
    handle=handle,
    deps=Deps,
)
