"""Files that are not usable pictures, in the stage preprocess with a real blob store: each is rejected with its code."""

import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contracts.errors import Reject, RejectCode
from contracts.events import ImageDownloaded, ImagePosted, ImagePreprocessed, Person, StoredFile
from infra.blobs.files import open_blob_store
from infra.http.downloader import open_downloader
from stages import download
from stages.canonical_image import decode_image, encode_canonical_png, encode_thumbnail
from stages.preprocess import DEFAULT_PREPROCESSING, Deps, handle
from tests.support.files import IMAGE_FILES, encode_image, noise_pixels, png_chunk, raw_png
from tests.support.workers import ThreadWorkers

LIMIT = 50_000_000
Rejection = Callable[[bytes], Awaitable[RejectCode]]


def newest_version() -> tuple[str, ...]:
    return (DEFAULT_PREPROCESSING,)


@pytest.fixture
def rejection(tmp_path: Path) -> Rejection:
    """Return the code with which the stage rejects a file."""
    blobs = open_blob_store(tmp_path)

    async def handle_file(data: bytes) -> RejectCode:
        blob = await blobs.put(data)
        event = ImageDownloaded(guild_id="1", channel_id="2", image_id="3", blob=blob, size=len(data))
        with pytest.raises(Reject) as info:
            await handle(event, Deps(blobs, ThreadWorkers(), newest_version, LIMIT))
        return info.value.code

    return handle_file


class TestUnusable:
    async def test_zero_bytes(self, rejection: Rejection) -> None:
        assert await rejection(b"") is RejectCode.EMPTY

    @pytest.mark.parametrize(
        "data", [b"\0", b"hello, world", b"<svg/>", b"<!DOCTYPE html>", b"PK\3\4", b"BMW brochure, all models", b"%PDF"]
    )
    async def test_other_files(self, rejection: Rejection, data: bytes) -> None:
        assert await rejection(data) is RejectCode.NOT_AN_IMAGE

    @pytest.mark.parametrize(
        ("filename", "content_type"), [("map.png", "image/png"), ("map.exe", "application/x-msdownload"), ("", None)]
    )
    async def test_the_name_and_the_declared_type_are_ignored(
        self, tmp_path: Path, filename: str, content_type: str | None
    ) -> None:
        blobs = open_blob_store(tmp_path)
        posted = ImagePosted(
            guild_id="1",
            channel_id="2",
            image_id="3",
            message_id="4",
            author=Person(id="5", name="ann"),
            posted_at=datetime(2026, 1, 1, tzinfo=UTC),
            filename=filename,
            content_type=content_type,
            message_link="https://discord.com/channels/1/2/4",
            source=StoredFile(blob=await blobs.put(IMAGE_FILES["jpeg"])),
        )
        async with open_downloader() as downloader:
            (found,) = await download.handle(posted, download.Deps(downloader, blobs))
        assert isinstance(found, ImageDownloaded)
        (fact,) = await handle(found, Deps(blobs, ThreadWorkers(), newest_version))
        assert isinstance(fact, ImagePreprocessed)
        assert fact.format == "jpeg"

    @pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "PCX", "TGA", "AVIF", "JPEG2000", "EPS", "PDF"])
    async def test_other_picture_formats(self, rejection: Rejection, kind: str) -> None:
        assert await rejection(encode_image(Image.fromarray(noise_pixels()), kind)) is RejectCode.NOT_AN_IMAGE

    async def test_only_the_five_allowed_decoders_see_the_bytes(
        self, rejection: Rejection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Other Pillow plugins must not see a file, even if one of them would accept it."""
        Image.init()
        tried: list[str] = []

        def refuse(kind: str) -> Callable[[bytes], bool]:
            def accept(_: bytes) -> bool:
                tried.append(kind)
                return False

            return accept

        for kind, (factory, _) in list(Image.OPEN.items()):
            monkeypatch.setitem(Image.OPEN, kind, (factory, refuse(kind)))
        assert await rejection(IMAGE_FILES["png"]) is RejectCode.DAMAGED
        assert set(tried) == {"PNG", "JPEG", "WEBP", "GIF", "BMP"}

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    async def test_a_palette_picture_without_a_palette(self, rejection: Rejection, bits: int) -> None:
        """Pillow fails one of its own assertions here."""
        assert await rejection(raw_png(1, 1, bits, 3, b"\0\0")) is RejectCode.DAMAGED

    @pytest.mark.parametrize("name", IMAGE_FILES)
    def test_a_truncated_file_is_damaged_unless_every_pixel_is_there(self, name: str) -> None:
        data = IMAGE_FILES[name]
        whole, _ = decode_image(data, LIMIT)
        codes: list[RejectCode] = []
        for end in sorted({*range(16, 64), *range(64, len(data), max(1, len(data) // 60)), *range(len(data) - 40, len(data))}):
            try:
                image, _ = decode_image(data[:end], LIMIT)
            except Reject as reject:
                codes.append(reject.code)
            else:
                assert np.array_equal(np.asarray(image), np.asarray(whole)), end
        assert set(codes) == {RejectCode.DAMAGED}
        assert len(codes) > 60

    @pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0)])
    async def test_a_picture_without_pixels_is_damaged(self, rejection: Rejection, width: int, height: int) -> None:
        assert await rejection(raw_png(width, height, 8, 2, b"\0")) is RejectCode.DAMAGED
        bmp = bytearray(IMAGE_FILES["bmp"])
        bmp[18:26] = struct.pack("<ii", width, height)
        assert await rejection(bytes(bmp)) is RejectCode.DAMAGED
        gif = bytearray(IMAGE_FILES["gif"])
        start = gif.index(b"\x2c\0\0\0\0")  # the frame's own size; the screen is as large as its frames
        gif[6:10] = gif[start + 5 : start + 9] = struct.pack("<HH", width, height)
        assert await rejection(bytes(gif)) is RejectCode.DAMAGED


class TestBombs:
    async def test_a_tiny_file_that_claims_100_megapixels(self, rejection: Rejection) -> None:
        """It has no pixels at all. If it were decoded before its header is checked, it would be rejected as damaged."""
        assert await rejection(raw_png(10_000, 10_000, 8, 2, b"")) is RejectCode.TOO_MANY_PIXELS

    async def test_a_real_100_megapixel_picture(self, rejection: Rejection) -> None:
        rows = b"".join(b"\0" + bytes(1250) for _ in range(10_000))
        data = raw_png(10_000, 10_000, 1, 0, rows)
        assert len(data) < 20_000
        assert await rejection(data) is RejectCode.TOO_MANY_PIXELS

    @pytest.mark.parametrize("side", [8_000, 13_000, 60_000])
    async def test_other_formats_that_claim_too_much(self, rejection: Rejection, side: int) -> None:
        gif = bytearray(IMAGE_FILES["gif"])
        gif[6:10] = struct.pack("<HH", side, side)
        assert await rejection(bytes(gif)) is RejectCode.TOO_MANY_PIXELS
        bmp = bytearray(IMAGE_FILES["bmp"])
        bmp[18:26] = struct.pack("<ii", side, side)
        assert await rejection(bytes(bmp)) is RejectCode.TOO_MANY_PIXELS
        jpeg = bytearray(IMAGE_FILES["jpeg"])
        start = jpeg.index(b"\xff\xc0") + 5
        jpeg[start : start + 4] = struct.pack(">HH", side, side)
        assert await rejection(bytes(jpeg)) is RejectCode.TOO_MANY_PIXELS

    @pytest.mark.parametrize("side", [8_000, 13_000, 16_383])
    async def test_a_webp_that_claims_too_much(self, rejection: Rejection, side: int) -> None:
        data = bytearray(IMAGE_FILES["webp"])
        data[26:30] = struct.pack("<HH", side, side)
        assert await rejection(bytes(data)) is RejectCode.TOO_MANY_PIXELS

    async def test_a_text_chunk_that_decompresses_to_too_much(self, rejection: Rejection) -> None:
        bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
        assert await rejection(raw_png(1, 1, 8, 0, b"\0\0", bomb)) is RejectCode.DAMAGED


def read(data: bytes) -> None:
    """Do all that the stage does with a file."""
    image, _ = decode_image(data, LIMIT)
    encode_canonical_png(image)
    encode_thumbnail(image)


class TestFuzz:
    @pytest.mark.parametrize("name", IMAGE_FILES)
    @settings(max_examples=60)
    @given(data=st.data())
    def test_hostile_bytes_are_either_read_or_rejected(self, name: str, data: st.DataObject) -> None:
        file = bytearray(IMAGE_FILES[name])
        for _ in range(data.draw(st.integers(1, 8))):
            file[data.draw(st.integers(0, min(len(file), 400) - 1))] = data.draw(st.integers(0, 255))
        with suppress(Reject):
            read(bytes(file))

    @settings(max_examples=200)
    @given(
        st.sampled_from(
            [b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\1\0\0WEBPVP8 ", b"BM\0\1\0\0\0\0\0\0"]
        ),
        st.binary(max_size=400),
    )
    def test_random_bytes_are_either_read_or_rejected(self, start: bytes, rest: bytes) -> None:
        with suppress(Reject):
            read(start + rest)

    @settings(max_examples=200)
    @given(
        size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
        depth=st.sampled_from(
            [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6), (7, 5)]
        ),
        rows=st.binary(max_size=800),
        chunks=st.lists(
            st.tuples(
                st.sampled_from([b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"gAMA"]), st.binary(max_size=40)
            )
        ),
    )
    def test_valid_pngs_of_random_parts_are_either_read_or_rejected(
        self, size: tuple[int, int], depth: tuple[int, int], rows: bytes, chunks: list[tuple[bytes, bytes]]
    ) -> None:
        """Mutated bytes mostly fail the checksums of a PNG. These files have valid checksums."""
        with suppress(Reject):
            read(raw_png(*size, *depth, rows, *(png_chunk(kind, body) for kind, body in chunks)))
