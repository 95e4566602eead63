"""Print: the content of a fingerprint, its bytes in the blob store, and the distance between the hashes of two prints.

The bytes are a header with all lengths, then one zlib stream with the arrays one after the other, little-endian. The same print
always has the same bytes. Whatever the bytes, `unpack_print` takes no more memory than the bounds in the header allow (about 12
MB).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

ORIENTATION_COUNT: Final = 8
"""A picture may be turned four ways, and so may its mirror image."""

HASH_BYTES: Final = 32
THUMB_PX: Final = 64
MAX_PICTURE_PX: Final = 640
"""The print of a query holds the picture with at most this longer side. Nearly everything else of the query is derived from it."""

_HEADER: Final = struct.Struct("<4sIIHBBHH")
_MAGIC: Final = b"MSf1"
_LEVEL_ARCHIVED: Final = 1
"""The compression level of zlib. The highest would make prints 4 % smaller and take several times as long."""

_LEVEL_QUERY: Final = 0
"""The print of a query is deleted soon, so it is not compressed."""

MAX_HASH_DISTANCE: Final = 31
"""Two PDQ hashes that differ in at most this many bits are of one picture, re-encoded: the figure that its authors recommend."""

MIN_HASH_QUALITY: Final = 50
"""A PDQ hash of a lower quality is not reliable."""

CHANCE_HASH_DISTANCE: Final = 128
"""The hashes of two unrelated pictures differ in about this many bits."""


def _no_places() -> NDArray[np.float32]:
    return np.empty((0, 8), np.float32)


def _no_hashes() -> NDArray[np.uint8]:
    return np.empty((0, ORIENTATION_COUNT, HASH_BYTES), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Print:
    """The content of a fingerprint.

    `size` is the (width, height) of the picture. `keypoints` (n, 4) are x, y, scale and angle: pixels, diameter in pixels, degrees.
    `descriptors` (n, 128) are RootSIFT with a length of about 255; `words` and `signatures` (n,) are derived from them. `hash` is
    the PDQ hash and `quality` its quality. `thumb` is the whole picture squeezed to a square.

    Only queries have the rest: the `picture` (longer side at most 640 pixels), its regions `places` (k, 8) in fractions, called so
    in the facts too, and `place_hashes` (k + 1, 8, 32) of the whole picture and of each region.
    """

    size: tuple[int, int]
    keypoints: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    hash: bytes
    quality: int
    thumb: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None = None
    places: NDArray[np.float32] = field(default_factory=_no_places)
    place_hashes: NDArray[np.uint8] = field(default_factory=_no_hashes)


def pack_print(source: Print) -> bytes:
    """Return the print as bytes. Raises ValueError if an array does not have the shape that the others require."""
    height, width = (0, 0) if source.picture is None else source.picture.shape[:2]
    counts = (*source.size, len(source.keypoints), source.quality, len(source.places), width, height)
    try:
        header = _HEADER.pack(_MAGIC, *counts)
    except struct.error as error:
        raise ValueError(f"a number is too large for the header of a print: {error}") from error
    body = bytearray()
    for name, kind, shape in _layout(*counts[2:]):
        array = np.asarray(_array_of(source, name))
        if array.shape != shape:
            raise ValueError(f"{name} of a print must have the shape {shape}, not {array.shape}")
        body += array.astype(kind, copy=False).tobytes()
    return header + zlib.compress(body, _LEVEL_ARCHIVED if source.picture is None else _LEVEL_QUERY)


def unpack_print(data: bytes) -> Print:
    """Return the print that `pack_print` packed. Its arrays are read-only. Raises ValueError for any other bytes."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise ValueError("these bytes are not a print")
    _, width, height, *counts = _HEADER.unpack_from(data)
    if counts[1] > 100 or max(counts[3:]) > MAX_PICTURE_PX or min(counts[3:]) == 0 < max(counts[3:]):
        raise ValueError("the header of this print is damaged")
    layout = list(_layout(*counts))
    body = _decompress(data[_HEADER.size :], sum(np.dtype(kind).itemsize * int(np.prod(shape)) for _, kind, shape in layout))
    arrays: dict[str, Any] = {}
    at = 0
    for name, kind, shape in layout:
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, np.dtype(kind), count, at).reshape(shape)
        at += arrays[name].nbytes
    if not arrays["picture"].size:
        arrays["picture"] = None
    return Print(size=(width, height), quality=counts[1], **(arrays | {"hash": arrays["hash"].tobytes()}))


def _array_of(source: Print, name: str) -> Any:
    if name == "hash":
        return np.frombuffer(source.hash, np.uint8)
    if name == "picture" and source.picture is None:
        return np.empty((0, 0, 3), np.uint8)
    return getattr(source, name)


def _layout(features: int, _quality: int, places: int, width: int, height: int) -> Iterator[tuple[str, DTypeLike, tuple[int, ...]]]:
    """Yield name, type and shape of each array in the order of the bytes. There are region hashes only where there is a picture."""
    yield "hash", "u1", (HASH_BYTES,)
    yield "thumb", "u1", (THUMB_PX, THUMB_PX, 3)
    yield "keypoints", "<f4", (features, 4)
    yield "descriptors", "u1", (features, 128)
    yield "words", "<u2", (features,)
    yield "signatures", "<u8", (features,)
    yield "places", "<f4", (places, 8)
    yield "place_hashes", "u1", ((places + 1) if width else 0, ORIENTATION_COUNT, HASH_BYTES)
    yield "picture", "u1", (height, width, 3)


def _decompress(stream: bytes, length: int) -> bytes:
    """Decompress exactly `length` bytes. Raises ValueError for a longer or shorter stream, without taking more memory than that."""
    decompressor = zlib.decompressobj()
    try:
        body = decompressor.decompress(stream, length + 1)
    except zlib.error as error:
        raise ValueError(f"this print is damaged: {error}") from error
    if len(body) != length or not decompressor.eof or decompressor.unused_data:
        raise ValueError("this print is damaged: its length is not the one in its header")
    return body


def compute_hash_distance(query: Print, archived: Print) -> int:
    """Return in how many bits the archived hash differs from the nearest hash of the query or one of its regions, in any turn.

    Returns CHANCE_HASH_DISTANCE where the hash is not reliable or the query has none.
    """
    if archived.quality < MIN_HASH_QUALITY or not query.place_hashes.size:
        return CHANCE_HASH_DISTANCE
    return int(np.bitwise_count(query.place_hashes ^ np.frombuffer(archived.hash, np.uint8)).sum(axis=-1).min())


def is_hash_near(query: Print, archived: Print) -> bool:
    """Whether the hash of the whole query, in any turn, is near that of the archived picture."""
    if min(query.quality, archived.quality) < MIN_HASH_QUALITY or not query.place_hashes.size:
        return False
    return bool(
        np.bitwise_count(query.place_hashes[0] ^ np.frombuffer(archived.hash, np.uint8)).sum(axis=-1).min() <= MAX_HASH_DISTANCE
    )
