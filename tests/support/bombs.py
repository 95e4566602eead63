"""Small files that would cost much: each kind of bomb that the decoders of the five formats know of."""

import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from PIL import Image

from tests.support.files import encode_image, png_chunk, raw_png

MAX_BOMB_BYTES: Final = 25_000_000


def repeat_scans(scans: int, size: tuple[int, int] = (7_000, 7_000), **options: object) -> bytes:
    """Return a progressive JPEG whose last scan is repeated (libjpeg-turbo's report LJT-01-003)."""
    data = encode_image(Image.new("L", size, 90), "JPEG", progressive=True, **options)
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    return data[:-2] + scan * scans + b"\xff\xd9"


@cache
def draw_large_noise() -> bytes:
    """Return a JPEG of 49 million pixels of noise: as costly to archive as the limits allow, some seconds of CPU time."""
    noise = np.random.default_rng(0).integers(0, 256, (7_000, 7_000), dtype=np.uint8)
    return encode_image(Image.fromarray(noise), "JPEG", quality=20)


def add_segments(count: int, marker: int = 0xFE, body: bytes = b"") -> bytes:
    """Return a JPEG with so many segments before its picture."""
    data = encode_image(Image.new("RGB", (64, 64)), "JPEG")
    segment = b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
    return data[:2] + segment * count + data[2:]


def add_junk(junk: bytes, kind: str = "JPEG") -> bytes:
    """Return a file with bytes before its picture that belong to nothing."""
    data = encode_image(Image.new("P" if kind == "GIF" else "RGB", (8, 8)), kind)
    at = 20 if kind == "JPEG" else 13 + (3 << ((data[10] & 7) + 1))
    return data[:at] + junk + data[at:]


def build_exif(entries: int, value_bytes: int) -> bytes:
    """Return EXIF metadata whose entries all refer to the same large value."""
    entry_bytes = b"".join(struct.pack(">HHII", 1_000 + number, 1, value_bytes, 8) for number in range(entries))
    head = b"Exif\0\0MM\0*" + struct.pack(">I", 8 + value_bytes) + bytes(value_bytes)
    return head + struct.pack(">H", entries) + entry_bytes + bytes(4)


def add_exif_segments() -> bytes:
    """Return a JPEG whose EXIF metadata goes on in many segments, which Pillow joins."""
    exif = build_exif(60_000, 20_000_000)
    data = encode_image(Image.new("RGB", (64, 64)), "JPEG")
    parts = [exif[:60_000], *(b"Exif\0\0" + exif[at : at + 60_000] for at in range(60_000, len(exif), 60_000))]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return data[:2] + segments + data[2:]


def flat_png(width: int, height: int, bits: int = 1, colour: int = 0) -> bytes:
    """Return a PNG of one colour."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    row = b"\0" + bytes((width * bits * channels + 7) // 8)
    packer = zlib.compressobj(9)
    rows = row * max(1, min(height, 1_000_000 // len(row)))
    whole, rest = divmod(height * len(row), len(rows))
    data = b"".join(packer.compress(rows) for _ in range(whole)) + packer.compress(rows[:rest]) + packer.flush()
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    palette = png_chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + head + palette + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def add_chunks(count: int, kind: bytes = b"tEXt", body: bytes = b"a\0b") -> bytes:
    """Return a PNG with so many chunks before its picture."""
    return raw_png(1, 1, 8, 0, b"\0\0", png_chunk(kind, body) * count)


def split_idat(count: int) -> bytes:
    """Return a PNG with so many empty IDAT chunks before the one with its pixels."""
    data = raw_png(1, 1, 8, 0, b"\0\0")
    at = data.index(b"IDAT") - 4
    return data[:at] + png_chunk(b"IDAT", b"") * count + data[at:]


def claim_frames(count: int) -> bytes:
    """Return a PNG that claims to be an animation of so many frames."""
    data = encode_image(Image.new("RGB", (8, 8)), "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    at = data.index(b"acTL") - 4
    return data[:at] + png_chunk(b"acTL", struct.pack(">II", count, 0)) + data[at + 20 :]


def add_gif_blocks(count: int, label: int = 0xFE) -> bytes:
    """Return a GIF with a comment (or another extension) of so many blocks of one byte."""
    data = encode_image(Image.new("P", (8, 8)), "GIF")
    at = 13 + (3 << ((data[10] & 7) + 1))
    return data[:at] + b"!" + bytes([label]) + b"\x01x" * count + b"\0" + data[at:]


def repeat_gif_frames(count: int) -> bytes:
    """Return a GIF of so many frames of one pixel."""
    frame = b",\0\0\0\0\1\0\1\0\0\2\2L\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * count + b";"


def add_webp_chunks(count: int) -> bytes:
    """Return a WebP with so many unknown chunks behind its picture."""
    data = bytearray(encode_image(Image.new("RGB", (8, 8)), "WEBP", exif=build_exif(1, 8)) + b"junk\0\0\0\0" * count)
    data[4:8] = struct.pack("<I", len(data) - 8)
    return bytes(data)


def repeat_webp_frames(count: int) -> bytes:
    """Return an animated WebP whose last frame is repeated."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    data = encode_image(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    frame = data[data.rindex(b"ANMF") :]
    longer = bytearray(data + frame * count)
    longer[4:8] = struct.pack("<I", len(longer) - 8)
    return bytes(longer)


def add_webp_exif() -> bytes:
    """Return a WebP with EXIF metadata whose entries refer to the same large value."""
    return encode_image(Image.new("RGB", (8, 8)), "WEBP", exif=build_exif(60_000, 20_000_000)[6:])


def run_length_bmp(width: int, height: int, data: bytes, bits: int = 8) -> bytes:
    """Return a run-length encoded BMP."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 1 if bits == 8 else 2, len(data), 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62 + len(data), 0, 0, 62) + head + bytes(4) + b"\xff\xff\xff\0" + data


BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "3,000 scans": lambda: repeat_scans(3_000),
    "200 scans": lambda: repeat_scans(200),
    "60 scans of colour": lambda: repeat_scans(60, (5_000, 5_000)),
    "a million scans of one pixel": lambda: repeat_scans(1_000_000, (1, 1)),
    "millions of JPEG comments": lambda: add_segments(5_000_000),
    "100,000 APP segments": lambda: add_segments(100_000, 0xE5, b"x" * 100),
    "EXIF in hundreds of segments": add_exif_segments,
    "20 MB of zeros between JPEG segments": lambda: add_junk(bytes(20_000_000)),
    "20 MB of fill bytes before a JPEG segment": lambda: add_junk(b"\xff" * 20_000_000),
    "20 MB of fill bytes before nothing": lambda: b"\xff\xd8" + b"\xff" * 20_000_000 + b"\0",
    "20 MB of zeros between GIF blocks": lambda: add_junk(bytes(20_000_000), "GIF"),
    "a million empty GIF extensions": lambda: add_junk(b"!\1\0" * 1_000_000, "GIF"),
    "one pixel wide": lambda: flat_png(1, 49_000_000),
    "one pixel high": lambda: flat_png(49_000_000, 1),
    "40,000 pixels wide": lambda: flat_png(40_000, 1_000),
    "49 million pixels in 6 KB": lambda: flat_png(7_000, 7_000),
    "49 million pixels of two colours": lambda: flat_png(7_000, 7_000, 1, 3),
    "two million PNG chunks": lambda: add_chunks(1_600_000),
    "a million private chunks": lambda: add_chunks(1_000_000, b"abCd", b""),
    "a million empty IDAT chunks": lambda: split_idat(1_000_000),
    "two billion PNG frames": lambda: claim_frames(2_000_000_000),
    "10,000 PNG frames": lambda: claim_frames(10_000),
    "ten million blocks of a GIF comment": lambda: add_gif_blocks(10_000_000),
    "ten million blocks of a GIF extension": lambda: add_gif_blocks(10_000_000, 0x01),
    "a million GIF frames": lambda: repeat_gif_frames(1_000_000),
    "two million WebP chunks": lambda: add_webp_chunks(2_000_000),
    "100,000 WebP frames": lambda: repeat_webp_frames(100_000),
    "RLE8 of single pixels": lambda: run_length_bmp(7_000, 7_000, b"\1\0" * 12_000_000),
    "RLE8 of ends of lines": lambda: run_length_bmp(1_000, 1_000, b"\0\0" * 12_000_000),
    "RLE4 of long runs": lambda: run_length_bmp(7_000, 7_000, b"\xff\0" * 200_000, 4),
    "RLE8 of one long line": lambda: run_length_bmp(30_000, 1_600, b"\1\0\0\0" * 1_600),
}
"""Files that are rejected as too costly, by what is wrong with them. Each function takes a moment."""
