"""A print: what one picture is recognised by, and its bytes in the blob store.

The bytes are a header that tells every length, then one zlib stream with the arrays one after the other in little-endian order. The
same print has the same bytes, and no bytes make `unpacked` take more memory than the header's bounds allow (about 12 MB).

How near a question's hashes are to an archived picture's, where their qualities let them say anything.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

ORIENTATION_COUNT: Final = 8
"""The ways in which a picture may lie: four quarter turns, and four of its mirror image."""

HASH_BYTES: Final = 32
THUMB_PX: Final = 64
MAX_PICTURE_PX: Final = 640
"""The longest side of the picture that a question's print carries, from which nearly all that is known of it is made."""

_HEADER: Final = struct.Struct("<4sIIHBBHH")
_MAGIC: Final = b"MSf1"
_LEVEL: Final = 1
"""Of zlib: the highest would make prints 4 % smaller, and take several times as long."""

_LEVEL_ASKED: Final = 0
"""A question's print is soon gone."""

MAX_HASH_DISTANCE: Final = 31
"""Bits of PDQ that may differ for one picture re-encoded: the figure that its authors recommend."""

MIN_HASH_QUALITY: Final = 50
"""PDQ's quality below which a hash says little."""

CHANCE_HASH_DISTANCE: Final = 128
"""Bits in which the hashes of two unrelated pictures differ."""


def _no_places() -> NDArray[np.float32]:
    return np.empty((0, 8), np.float32)


def _no_hashes() -> NDArray[np.uint8]:
    return np.empty((0, ORIENTATION_COUNT, HASH_BYTES), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Print:
    """`size` is the picture's (width, height); `points` are (n, 4): x, y in its pixels, scale (diameter) and angle (degrees).

    `descriptors` are RootSIFT (n, 128) with a length of about 255; `words` and `signatures` (n,) are made of them. `hash` is PDQ's,
    `quality` its figure, `thumb` the whole picture squeezed to a square. Questions alone have the `picture` (at most 640 pixels on
    its longer side), its `places` (k, 8) in fractions, and `place_hashes` (k + 1, 8, 32) of the whole picture and of each place.
    """

    size: tuple[int, int]
    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    hash: bytes
    quality: int
    thumb: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None = None
    places: NDArray[np.float32] = field(default_factory=_no_places)
    place_hashes: NDArray[np.uint8] = field(default_factory=_no_hashes)


def pack_print(made: Print) -> bytes:
    """The print as bytes. Raises ValueError where an array has not the shape that the others call for."""
    height, width = (0, 0) if made.picture is None else made.picture.shape[:2]
    counts = (*made.size, len(made.points), made.quality, len(made.places), width, height)
    try:
        header = _HEADER.pack(_MAGIC, *counts)
    except struct.error as error:
        raise ValueError(f"a print cannot hold this: {error}") from error
    body = bytearray()
    for name, kind, shape in _layout(*counts[2:]):
        array = np.asarray(_raw(made, name))
        if array.shape != shape:
            raise ValueError(f"{name} of a print must be {shape}, not {array.shape}")
        body += array.astype(kind, copy=False).tobytes()
    return header + zlib.compress(body, _LEVEL if made.picture is None else _LEVEL_ASKED)


def unpack_print(data: bytes) -> Print:
    """The print that `packed` made these bytes of; its arrays can only be read. Raises ValueError for any other bytes."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise ValueError("these bytes are no print")
    _, width, height, *counts = _HEADER.unpack_from(data)
    if counts[1] > 100 or max(counts[3:]) > MAX_PICTURE_PX or min(counts[3:]) == 0 < max(counts[3:]):
        raise ValueError("the header of this print is damaged")
    layout = list(_layout(*counts))
    body = _inflated(data[_HEADER.size :], sum(np.dtype(kind).itemsize * int(np.prod(shape)) for _, kind, shape in layout))
    arrays: dict[str, Any] = {}
    at = 0
    for name, kind, shape in layout:
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, np.dtype(kind), count, at).reshape(shape)
        at += arrays[name].nbytes
    if not arrays["picture"].size:
        arrays["picture"] = None
    return Print(size=(width, height), quality=counts[1], **(arrays | {"hash": arrays["hash"].tobytes()}))


def _raw(made: Print, name: str) -> Any:
    if name == "hash":
        return np.frombuffer(made.hash, np.uint8)
    if name == "picture" and made.picture is None:
        return np.empty((0, 0, 3), np.uint8)
    return getattr(made, name)


def _layout(features: int, _quality: int, places: int, width: int, height: int) -> Iterator[tuple[str, DTypeLike, tuple[int, ...]]]:
    """The arrays in the order of their bytes; hashes are there where there is a picture."""
    yield "hash", "u1", (HASH_BYTES,)
    yield "thumb", "u1", (THUMB_PX, THUMB_PX, 3)
    yield "points", "<f4", (features, 4)
    yield "descriptors", "u1", (features, 128)
    yield "words", "<u2", (features,)
    yield "signatures", "<u8", (features,)
    yield "places", "<f4", (places, 8)
    yield "place_hashes", "u1", ((places + 1) if width else 0, ORIENTATION_COUNT, HASH_BYTES)
    yield "picture", "u1", (height, width, 3)


def _inflated(stream: bytes, length: int) -> bytes:
    """Exactly as many bytes as the header told. Raises ValueError for any other stream, before it has grown beyond them."""
    opened = zlib.decompressobj()
    try:
        body = opened.decompress(stream, length + 1)
    except zlib.error as error:
        raise ValueError(f"this print is damaged: {error}") from error
    if len(body) != length or not opened.eof or opened.unused_data:
        raise ValueError("this print is damaged: it is longer or shorter than its header tells")
    return body


def compute_hash_distance(asked: Print, archived: Print) -> int:
    """In how many bits the archived hash differs from the nearest of the question's places; CHANCE where it says nothing."""
    if archived.quality < MIN_HASH_QUALITY or not asked.place_hashes.size:
        return CHANCE_HASH_DISTANCE
    return int(np.bitwise_count(asked.place_hashes ^ np.frombuffer(archived.hash, np.uint8)).sum(axis=-1).min())


def is_hash_near(asked: Print, archived: Print) -> bool:
    """Whether the whole question has the archived picture's hash, however it is turned."""
    if min(asked.quality, archived.quality) < MIN_HASH_QUALITY or not asked.place_hashes.size:
        return False
    return bool(
        np.bitwise_count(asked.place_hashes[0] ^ np.frombuffer(archived.hash, np.uint8)).sum(axis=-1).min() <= MAX_HASH_DISTANCE
    )
