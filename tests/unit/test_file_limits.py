"""Limits on how a file is built: bombs are rejected before a pixel is decoded, and what programs write is not."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from contracts.errors import Reject, RejectCode, build_costly_rejection
from stages import file_limits
from stages.canonical_image import decode_image
from tests.support.bombs import (
    BOMBS,
    MAX_BOMB_BYTES,
    add_chunks,
    add_gif_blocks,
    add_segments,
    add_webp_exif,
    build_exif,
    flat_png,
    repeat_gif_frames,
    repeat_scans,
    run_length_bmp,
)
from tests.support.files import IMAGE_FILES, encode_image, noise_pixels

LIMIT = 50_000_000


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_rejected_before_a_pixel_is_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("a pixel is decoded"))
    data = BOMBS[name]()
    assert len(data) <= MAX_BOMB_BYTES
    with pytest.raises(Reject) as caught:
        decode_image(data, LIMIT)
    assert (caught.value.code, caught.value.reason) == (RejectCode.TOO_COSTLY, build_costly_rejection().reason)


def size_of(data: bytes) -> tuple[int, int]:
    return decode_image(data, LIMIT)[0].size


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_every_format_is_read(name: str) -> None:
    assert size_of(IMAGE_FILES[name]) == (60, 40)


def test_files_within_the_limits_are_read() -> None:
    assert size_of(repeat_scans(file_limits.MAX_JPEG_SCANS - 10, (600, 600))) == (600, 600)
    assert size_of(add_segments(20_000)) == (64, 64)
    assert size_of(add_chunks(20_000, b"abCd", b"")) == (1, 1)
    assert size_of(add_gif_blocks(20_000)) == (8, 8)
    assert size_of(repeat_gif_frames(4_000)) == (1, 1)
    assert size_of(flat_png(file_limits.MAX_SIDE_PX, 100)) == (file_limits.MAX_SIDE_PX, 100)
    assert size_of(flat_png(4_000, 4_000, 8, 3)) == (4_000, 4_000)
    assert size_of(run_length_bmp(2_000, 1_000, (b"\xfa\1" * 8 + b"\0\0") * 1_000)) == (2_000, 1_000)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"progressive": True, "optimize": True}, {"restart_marker_rows": 1}, {}]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_scans_of_ordinary_jpegs_are_counted_right(mode: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither restart markers, nor metadata, nor what is behind the end of the picture count as scans."""
    exif = Image.Exif()
    exif[0x9286] = b"\xff\xda\0\2" * 2_000
    picture = Image.fromarray(noise_pixels()).resize((300, 200)).convert(mode)
    data = encode_image(picture, "JPEG", exif=exif, **options) + b"\xff\xda\0\2" * 2_000
    monkeypatch.setattr(file_limits, "MAX_JPEG_SCANS", data.count(b"\xff\xda") - 4_000)
    assert size_of(data) == (300, 200)
    monkeypatch.setattr(file_limits, "MAX_JPEG_SCANS", data.count(b"\xff\xda") - 4_001)
    with pytest.raises(Reject):
        decode_image(data, LIMIT)


def test_a_picture_with_far_more_pixels_than_bytes_is_rejected() -> None:
    file_limits.refuse_costly_size(2_000, 2_000, 1)
    file_limits.refuse_costly_size(7_000, 7_000, 45_000)
    for width, height, file_bytes in ((7_000, 7_000, 20_000), (2_001, 2_001, 1), (1, 32_769, 10_000), (32_769, 1, 10_000)):
        with pytest.raises(Reject):
            file_limits.refuse_costly_size(width, height, file_bytes)


def test_large_exif_metadata_does_not_matter() -> None:
    upright = Image.Exif()
    upright[0x0112] = 6
    assert size_of(encode_image(Image.new("RGB", (30, 20)), "WEBP", exif=upright)) == (20, 30)
    assert size_of(add_webp_exif()) == (8, 8)
    assert size_of(encode_image(Image.new("RGB", (30, 20)), "PNG", exif=build_exif(60_000, 1_000_000)[6:])) == (30, 20)


@pytest.mark.parametrize(
    "data", [b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1", b"GIF8", b"GIF89a\1\0\1\0\xf7", b"RIFF", b"BM", b"\x89PNG"]
)
def test_a_file_that_ends_at_once_is_left_to_its_decoder(data: bytes) -> None:
    file_limits.refuse_costly_file(data)


def test_a_jpeg_of_two_pictures_counts_the_first() -> None:
    """Cameras append previews (MPO)."""
    frames = [Image.new("RGB", (80, 60), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:] * 30)
    assert size_of(buffer.getvalue()) == (80, 60)
    assert np.asarray(decode_image(buffer.getvalue(), LIMIT)[0])[0, 0, 0] > 200
    assert struct.unpack(">H", buffer.getvalue()[:2]) == (0xFFD8,)
