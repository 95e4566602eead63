"""Limits on how a picture file is built, checked before a pixel is decoded.

A small file can cost minutes: a progressive JPEG may repeat its scans without end (libjpeg-turbo's report LJT-01-003), any format
may have millions of tiny parts, and Pillow reads most parts in Python. Each limit is far above what programs write. What is not
foreseen here, the limits of the worker processes catch.
"""

import itertools
import re
import struct
from collections.abc import Callable
from typing import Final

from contracts.errors import build_costly_rejection

MAX_SIDE_PX: Final = 32_768
"""256 maps side by side. JPEG allows twice as much, PNG any number."""

FREE_PIXELS: Final = 4_000_000
MAX_PIXELS_PER_BYTE: Final = 2_000
"""A picture with more than FREE_PIXELS may have so many pixels for each byte of its file. An empty PNG has 1,030 at 8 bits."""

MAX_JPEG_SCANS: Final = 50
"""Encoders write up to 20. One costs 0.045 s of CPU at 49 million pixels, however few bytes it has."""

MAX_PARTS: Final = 25_000
"""Segments, chunks, and blocks before the first frame. A PNG of 25 MB has 3,200 chunks of the usual 8 KB."""

MAX_FRAMES: Final = 5_000

MAX_EXIF_BYTES: Final = 128 * 1024
"""Of EXIF metadata, whose entries may all refer to the same large value. A JPEG segment holds 64 KB."""

MAX_RUN_LENGTH_BYTES: Final = 2_000_000
MAX_RUN_LENGTH_PIXELS: Final = 4_000_000
"""Of a run-length encoded BMP, which Pillow decodes in Python, partly pixel by pixel."""

MAX_JUNK_BYTES: Final = 100_000
"""Of bytes that belong to no part. Pillow skips them one by one."""

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_GIF_PART = re.compile(rb"[!,;]")
_STANDALONE_MARKERS = b"\x01\xd8"


def refuse_costly_file(data: bytes) -> None:
    """Raise Reject(TOO_COSTLY) if a file is built so that reading it would cost too much. A damaged file is left to its decoder."""
    for signature, check in _CHECKS.items():
        if data.startswith(signature):
            check(data)


def refuse_costly_size(width: int, height: int, file_bytes: int) -> None:
    """Raise Reject(TOO_COSTLY) for a side longer than MAX_SIDE_PX, and for far more pixels than the file can describe."""
    _allow(max(width, height), MAX_SIDE_PX)
    _allow(width * height, FREE_PIXELS + MAX_PIXELS_PER_BYTE * file_bytes)


def _allow(number: int, most: int) -> None:
    if number > most:
        raise build_costly_rejection()


def _check_jpeg(data: bytes) -> None:
    scans = exif_bytes = junk = at = 0
    for number in itertools.count(1):
        found = _MARKER.search(data, at)
        if not scans:  # behind the first start of a scan, this is entropy-coded data
            junk += (found.start() if found else len(data)) - at
            _allow(junk, MAX_JUNK_BYTES)
        if found is None or (marker := found[1][0]) == 0xD9:  # the end of the picture
            return
        at = found.end()
        length = 0 if marker in _STANDALONE_MARKERS else max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == 0xE1 and data.startswith(b"Exif", at + 2):
            exif_bytes += length
        scans += marker == 0xDA
        at += length
        _allow(number, MAX_PARTS)
        _allow(scans, MAX_JPEG_SCANS)
        _allow(exif_bytes, MAX_EXIF_BYTES)


def _check_png(data: bytes) -> None:
    at, number = 8, 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        number += 1
        _allow(number, MAX_PARTS)
        if kind == b"acTL" and at + 12 <= len(data):
            _allow(int.from_bytes(data[at + 8 : at + 12], "big"), MAX_FRAMES)
        if kind == b"IEND":
            return
        at += 12 + length


def _check_gif(data: bytes) -> None:
    _allow(data.count(b"\x00\x2c"), MAX_FRAMES)  # the end of one part and the start of a frame; in pixels it is rare
    has_palette, bits = len(data) > 12 and data[10] & 0x80, data[10] & 7 if len(data) > 12 else 0
    at, number, junk = 13 + (6 << bits if has_palette else 0), 0, 0
    while (found := _GIF_PART.search(data, at)) is not None:
        junk += found.start() - at
        _allow(junk, MAX_JUNK_BYTES)
        if found[0] != b"!":
            return
        at = found.start() + 2  # an extension
        while at < len(data) and (length := data[at]):
            at += 1 + length
            number += 1
            _allow(number, MAX_PARTS)
        at += 1
        number += 1
        _allow(number, MAX_PARTS)
    _allow(len(data) - at + junk, MAX_JUNK_BYTES)


def _check_webp(data: bytes) -> None:
    at, number, frames = 12, 0, 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        number += 1
        frames += kind == b"ANMF"
        _allow(number, MAX_PARTS)
        _allow(frames, MAX_FRAMES)
        at += 8 + length + length % 2


def _check_bmp(data: bytes) -> None:
    if len(data) < 34:
        return
    width, height, _, compression = struct.unpack_from("<iiII", data, 18)
    if compression in (1, 2):  # RLE8 and RLE4
        _allow(len(data), MAX_RUN_LENGTH_BYTES)
        _allow(abs(width * height), MAX_RUN_LENGTH_PIXELS)


_CHECKS: Final[dict[bytes, Callable[[bytes], None]]] = {
    b"\xff\xd8": _check_jpeg,
    b"\x89PNG": _check_png,
    b"GIF8": _check_gif,
    b"RIFF": _check_webp,
    b"BM": _check_bmp,
}
