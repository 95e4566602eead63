"""The stage preprocess and the canonical picture: every mode and format pixel by pixel, what is stored, what is recorded."""

import io
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.errors import BlobMissing, Reject, RejectCode, Unavailable
from contracts.events import (
    ImageDownloaded,
    ImagePreprocessed,
    LocalReply,
    Person,
    Question,
    SearchDownloaded,
    SearchPreprocessed,
)
from infra.blobs.files import FileBlobStore, open_blob_store
from stages import preprocess
from stages.canonical_image import decode_image, encode_canonical_png, encode_thumbnail, encode_uncompressed_png
from stages.preprocess import DEFAULT_PREPROCESSING, STAGE, Deps, handle
from tests.support.files import IMAGE_FILES, as_ycck, decode_mirrored, encode_image, noise_pixels, png_chunk, raw_png
from tests.support.workers import ThreadWorkers

LIMIT = 50_000_000
WHITE, BLACK, RED, GREEN, BLUE = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
FRAMES = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
QUESTION = Question(asker=Person(id="5", name="ann"), requested_at=datetime(2026, 1, 1, tzinfo=UTC), reply=LocalReply())


def canonical(data: bytes) -> Image.Image:
    image, _ = decode_image(data, LIMIT)
    assert image.mode == "RGB"
    assert image.info == {}
    return image


def row(image: Image.Image) -> list[object]:
    """The pixels of the first row."""
    return [image.getpixel((x, 0)) for x in range(image.width)]


def strip(mode: str, pixels: Sequence[object]) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)  # type: ignore[arg-type]
    return image


def palette_strip(colours: Sequence[tuple[int, int, int]]) -> Image.Image:
    image = strip("P", range(len(colours)))
    image.putpalette([sample for colour in colours for sample in colour])
    return image


class TestModes:
    def test_rgb_is_untouched(self) -> None:
        pixels = noise_pixels()
        assert np.array_equal(np.asarray(canonical(encode_image(Image.fromarray(pixels), "PNG"))), pixels)

    def test_transparency_is_shown_over_white(self) -> None:
        data = encode_image(strip("RGBA", [(9, 8, 7, 255), (0, 0, 0, 0), (0, 0, 0, 128), (255, 0, 0, 51)]), "PNG")
        assert row(canonical(data)) == [(9, 8, 7), WHITE, (127, 127, 127), (255, 204, 204)]

    def test_palette(self) -> None:
        assert row(canonical(encode_image(palette_strip([RED, GREEN, BLUE]), "PNG"))) == [RED, GREEN, BLUE]

    def test_palette_with_one_transparent_colour(self) -> None:
        assert row(canonical(encode_image(palette_strip([RED, GREEN, BLUE]), "PNG", transparency=1))) == [RED, WHITE, BLUE]

    def test_palette_with_an_alpha_for_each_colour(self) -> None:
        data = encode_image(palette_strip([RED, GREEN, BLACK]), "PNG", transparency=bytes([255, 0, 128]))
        assert row(canonical(data)) == [RED, WHITE, (127, 127, 127)]

    def test_one_bit(self) -> None:
        assert row(canonical(encode_image(strip("1", [0, 255, 0]), "PNG"))) == [BLACK, WHITE, BLACK]

    def test_one_bit_with_a_transparent_colour(self) -> None:
        assert row(canonical(raw_png(2, 1, 1, 0, b"\0\x40", png_chunk(b"tRNS", b"\0\0")))) == [WHITE, WHITE]

    def test_grey(self) -> None:
        assert row(canonical(encode_image(strip("L", [0, 77, 255]), "PNG"))) == [BLACK, (77, 77, 77), WHITE]

    def test_grey_with_alpha(self) -> None:
        data = encode_image(strip("LA", [(77, 255), (77, 0), (0, 128)]), "PNG")
        assert row(canonical(data)) == [(77, 77, 77), WHITE, (127, 127, 127)]

    @pytest.mark.parametrize(
        ("bits", "rows", "transparent", "expected"),
        [
            (2, b"\0\x1b", 2, [0, 85, 255, 255]),
            (4, b"\0\x0a\xa5", 10, [0, 255, 255, 85]),
            (8, b"\0\x00\x4d\x4e\xff", 77, [0, 255, 78, 255]),
        ],
    )
    def test_grey_with_a_transparent_colour(self, bits: int, rows: bytes, transparent: int, expected: list[int]) -> None:
        data = raw_png(4, 1, bits, 0, rows, png_chunk(b"tRNS", struct.pack(">H", transparent)))
        assert row(canonical(data)) == [(grey, grey, grey) for grey in expected]

    def test_rgb_with_a_transparent_colour(self) -> None:
        data = raw_png(2, 1, 8, 2, b"\0\x12\x34\x56\x01\x02\x03", png_chunk(b"tRNS", struct.pack(">3H", 0x12, 0x34, 0x56)))
        assert row(canonical(data)) == [WHITE, (1, 2, 3)]

    def test_16_bit_grey_is_scaled_not_clipped(self) -> None:
        data = raw_png(4, 1, 16, 0, b"\0" + struct.pack(">4H", 0, 0x12FF, 0x8000, 0xFFFF))
        assert row(canonical(data)) == [BLACK, (0x12,) * 3, (0x80,) * 3, WHITE]

    def test_16_bit_grey_with_a_transparent_colour(self) -> None:
        rows = b"\0" + struct.pack(">3H", 0x1234, 0x1235, 0)
        assert row(canonical(raw_png(3, 1, 16, 0, rows, png_chunk(b"tRNS", b"\x12\x34")))) == [WHITE, (0x12,) * 3, BLACK]

    def test_16_bit_grey_with_alpha(self) -> None:
        rows = b"\0" + struct.pack(">4H", 0x12FF, 0xFFFF, 0, 0x80FF)
        assert row(canonical(raw_png(2, 1, 16, 4, rows))) == [(0x12,) * 3, (127,) * 3]

    def test_16_bit_rgb(self) -> None:
        rows = b"\0" + struct.pack(">6H", 0x12FF, 0x8000, 0xFFFF, 0, 1, 256)
        assert row(canonical(raw_png(2, 1, 16, 2, rows))) == [(0x12, 0x80, 0xFF), (0, 0, 1)]

    def test_16_bit_rgb_with_a_transparent_colour(self) -> None:
        colour = struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)
        data = raw_png(2, 1, 16, 2, b"\0" + colour + struct.pack(">3H", 0x100, 0x200, 0x300), png_chunk(b"tRNS", colour))
        assert row(canonical(data)) == [WHITE, (1, 2, 3)]

    def test_16_bit_rgb_with_alpha(self) -> None:
        rows = b"\0" + struct.pack(">8H", 0x12FF, 0x8000, 0xFFFF, 0xFFFF, 0, 0, 0, 0)
        assert row(canonical(raw_png(2, 1, 16, 6, rows))) == [(0x12, 0x80, 0xFF), WHITE]

    @pytest.mark.parametrize("adobe_transform", [0, 2], ids=["CMYK", "YCCK"])
    def test_cmyk_is_read_as_adobe_writes_it(self, adobe_transform: int) -> None:
        """Adobe stores inverted ink, either plain or (transform 2) as YCCK."""
        inks = {BLACK: (0, 0, 0, 255), WHITE: (0, 0, 0, 0), (155, 155, 155): (100, 100, 100, 0)}
        for expected, ink in inks.items():
            data = encode_image(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
            if adobe_transform == 2:
                data = as_ycck(data)
            image = canonical(data)
            assert image.size == (16, 16)
            assert np.abs(np.asarray(image, dtype=int) - expected).max() <= 2

    def test_cmyk_colours(self) -> None:
        data = encode_image(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100, subsampling=0)
        assert np.abs(np.asarray(canonical(data), dtype=int) - RED).max() <= 2


class TestFormats:
    @pytest.mark.parametrize("name", ["png", "lossless", "bmp"])
    def test_a_lossless_format_keeps_every_pixel(self, name: str) -> None:
        assert np.array_equal(np.asarray(canonical(IMAGE_FILES[name])), noise_pixels())

    @pytest.mark.parametrize("name", ["jpeg", "progressive", "webp"])
    def test_a_lossy_format_is_decoded(self, name: str) -> None:
        expected = np.asarray(Image.open(io.BytesIO(IMAGE_FILES[name])).convert("RGB"))
        assert np.array_equal(np.asarray(canonical(IMAGE_FILES[name])), expected)

    @pytest.mark.parametrize(
        ("name", "expected"), [("png", "png"), ("apng", "png"), ("jpeg", "jpeg"), ("webp", "webp"), ("gif", "gif"), ("bmp", "bmp")]
    )
    def test_the_format_is_named_by_content(self, name: str, expected: str) -> None:
        assert decode_image(IMAGE_FILES[name], LIMIT)[1] == expected

    def test_a_camera_jpeg_with_a_preview_appended_is_a_jpeg(self) -> None:
        data = encode_image(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:])
        image, kind = decode_image(data, LIMIT)
        assert kind == "jpeg"
        assert np.abs(np.asarray(image, dtype=int) - RED).max() <= 2

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
    def test_of_an_animation_the_first_frame_counts(self, kind: str) -> None:
        options = {"lossless": True} if kind == "WEBP" else {}
        image = canonical(encode_image(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], duration=50, **options))
        assert image.getcolors() == [(64, RED)]

    def test_a_gif_with_a_transparent_colour(self) -> None:
        assert row(canonical(encode_image(palette_strip([RED, GREEN, BLUE]), "GIF", transparency=2))) == [RED, GREEN, WHITE]

    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
    def test_bmp_modes(self, mode: str) -> None:
        image = Image.fromarray(noise_pixels()).convert(mode)
        expected = image.convert("RGB") if mode != "RGBA" else Image.fromarray(noise_pixels())
        assert np.array_equal(np.asarray(canonical(encode_image(image, "BMP"))), np.asarray(expected))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_exif_orientation_is_undone(self, orientation: int, kind: str) -> None:
        upright = Image.new("RGB", (32, 16), BLACK)
        upright.paste(RED, (0, 0, 16, 8))
        upright.paste(GREEN, (16, 0, 32, 8))
        turn = Image.Transpose
        stored_as = {
            2: turn.FLIP_LEFT_RIGHT,
            3: turn.ROTATE_180,
            4: turn.FLIP_TOP_BOTTOM,
            5: turn.TRANSPOSE,
            6: turn.ROTATE_90,
            7: turn.TRANSVERSE,
            8: turn.ROTATE_270,
        }
        stored = upright.transpose(stored_as[orientation]) if orientation > 1 else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
        image = canonical(encode_image(stored, kind, exif=exif, **options))
        assert image.size == (32, 16)
        assert np.abs(np.asarray(image, dtype=int) - np.asarray(upright)).max() <= 3

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage!", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\0"])
    def test_broken_exif_does_not_make_a_picture_unreadable(self, exif: bytes) -> None:
        assert canonical(encode_image(FRAMES[0], "PNG", exif=exif)).getcolors() == [(64, RED)]

    def test_a_nonsense_orientation_is_ignored(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 42
        assert canonical(encode_image(FRAMES[0], "PNG", exif=exif)).getcolors() == [(64, RED)]


class TestOutputs:
    def test_the_png_is_pixel_identical_and_deterministic(self) -> None:
        image = canonical(IMAGE_FILES["png"])
        first, second = encode_canonical_png(image), encode_canonical_png(canonical(IMAGE_FILES["lossless"]))
        assert first == second
        assert np.array_equal(np.asarray(canonical(first)), noise_pixels())
        assert encode_canonical_png(canonical(first)) == first

    def test_the_outputs_carry_no_metadata(self) -> None:
        exif = Image.Exif()
        exif[0x010E] = "taken at home"
        data = encode_image(
            Image.fromarray(noise_pixels()), "JPEG", exif=exif, icc_profile=b"profile", dpi=(300, 300), comment=b"hello"
        )
        image = canonical(data)
        for output in (encode_canonical_png(image), encode_uncompressed_png(image), encode_thumbnail(image)):
            again = Image.open(io.BytesIO(output))
            assert not {"exif", "icc_profile", "dpi", "comment", "xmp"} & set(again.info)
            assert b"taken at home" not in output

    @pytest.mark.parametrize(
        ("size", "expected"), [((128, 128), (128, 128)), ((512, 256), (256, 128)), ((256, 1024), (64, 256)), ((5000, 1), (256, 1))]
    )
    def test_a_thumbnail_fits_256_and_is_never_enlarged(self, size: tuple[int, int], expected: tuple[int, int]) -> None:
        image = Image.new("RGB", size, RED)
        thumbnail = Image.open(io.BytesIO(encode_thumbnail(image)))
        assert (thumbnail.format, thumbnail.size) == ("WEBP", expected)
        assert np.abs(np.asarray(thumbnail.convert("RGB"), dtype=int) - RED).max() <= 8
        assert image.size == size


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobStore:
    return open_blob_store(tmp_path)


def downloaded(blob: str) -> ImageDownloaded:
    return ImageDownloaded(guild_id="1", channel_id="2", image_id="3", blob=blob, size=1)


def asked(blob: str) -> SearchDownloaded:
    return SearchDownloaded(guild_id="1", search_id="9", question=QUESTION, blob=blob, size=1)


def newest() -> tuple[str, ...]:
    return (DEFAULT_PREPROCESSING,)


class TestStage:
    async def test_an_archived_image_gets_pixels_and_a_thumbnail(self, blobs: FileBlobStore) -> None:
        (fact,) = await handle(downloaded(await blobs.put(IMAGE_FILES["png"])), Deps(blobs, ThreadWorkers(), newest))
        assert isinstance(fact, ImagePreprocessed)
        assert (fact.guild_id, fact.channel_id, fact.image_id) == ("1", "2", "3")
        assert (fact.width, fact.height, fact.format, fact.preprocessing) == (60, 40, "png", DEFAULT_PREPROCESSING)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(await blobs.get(fact.pixels)))), noise_pixels())
        assert Image.open(io.BytesIO(await blobs.get(fact.thumbnail))).size == (60, 40)

    async def test_a_query_image_gets_pixels_only(self, blobs: FileBlobStore, tmp_path: Path) -> None:
        (fact,) = await handle(asked(await blobs.put(IMAGE_FILES["png"])), Deps(blobs, ThreadWorkers(), newest))
        assert isinstance(fact, SearchPreprocessed)
        assert (fact.guild_id, fact.search_id, fact.question) == ("1", "9", QUESTION)
        assert (fact.width, fact.height, fact.preprocessing) == (60, 40, DEFAULT_PREPROCESSING)
        assert sum(path.is_file() for path in tmp_path.rglob("*")) == 2

    async def test_both_lanes_give_the_same_pixels(self, blobs: FileBlobStore) -> None:
        blob = await blobs.put(IMAGE_FILES["jpeg"])
        (image,) = await handle(downloaded(blob), Deps(blobs, ThreadWorkers(), newest))
        (search,) = await handle(asked(blob), Deps(blobs, ThreadWorkers(), newest))
        assert isinstance(image, ImagePreprocessed)
        assert isinstance(search, SearchPreprocessed)
        posted, shown = [Image.open(io.BytesIO(await blobs.get(fact.pixels))) for fact in (image, search)]
        assert np.array_equal(np.asarray(posted), np.asarray(shown))

    @pytest.mark.parametrize(("kind", "orientation"), [("JPEG", 6), ("PNG", 1)])
    async def test_a_large_query_is_reduced_but_an_archived_picture_is_not(
        self, blobs: FileBlobStore, kind: str, orientation: int
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        blob = await blobs.put(encode_image(Image.new("RGB", (4000, 3000), (200, 30, 30)), kind, exif=exif))
        (image,) = await handle(downloaded(blob), Deps(blobs, ThreadWorkers(), newest))
        (search,) = await handle(asked(blob), Deps(blobs, ThreadWorkers(), newest))
        assert isinstance(image, ImagePreprocessed)
        assert isinstance(search, SearchPreprocessed)
        long, short = preprocess.MAX_QUERY_SIDE_PX, preprocess.MAX_QUERY_SIDE_PX * 3 // 4
        assert (image.width, image.height) == ((3000, 4000) if orientation == 6 else (4000, 3000))
        assert (search.width, search.height) == ((short, long) if orientation == 6 else (long, short))
        shown = np.asarray(Image.open(io.BytesIO(await blobs.get(search.pixels))))
        assert shown.shape == (search.height, search.width, 3)
        assert np.abs(shown.astype(int) - (200, 30, 30)).max() <= 3

    async def test_a_replay_gives_the_same_fact(self, blobs: FileBlobStore) -> None:
        event = downloaded(await blobs.put(IMAGE_FILES["jpeg"]))
        assert await handle(event, Deps(blobs, ThreadWorkers(), newest)) == await handle(
            event, Deps(blobs, ThreadWorkers(), newest)
        )

    async def test_the_pixel_limit_is_a_dependency(self, blobs: FileBlobStore) -> None:
        event = downloaded(await blobs.put(IMAGE_FILES["png"]))
        with pytest.raises(Reject) as info:
            await handle(event, Deps(blobs, ThreadWorkers(), newest, max_pixels=2399))
        assert info.value.code is RejectCode.TOO_MANY_PIXELS
        assert await handle(event, Deps(blobs, ThreadWorkers(), newest, max_pixels=2400))

    async def test_a_lost_blob_is_not_the_images_fault(self, blobs: FileBlobStore) -> None:
        with pytest.raises(BlobMissing):
            await handle(downloaded("0" * 64), Deps(blobs, ThreadWorkers(), newest))

    async def test_all_needed_versions_are_made(self, blobs: FileBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(preprocess.PREPROCESSORS, "p2", decode_mirrored)
        needed = ["p1"]
        event, deps = downloaded(await blobs.put(IMAGE_FILES["png"])), Deps(blobs, ThreadWorkers(), lambda: tuple(needed))
        (before,) = await handle(event, deps)
        needed.append("p2")
        first, second = await handle(event, deps)
        assert first == before
        assert isinstance(first, ImagePreprocessed)
        assert isinstance(second, ImagePreprocessed)
        assert (first.key, second.key) == (("1", "3", "p1"), ("1", "3", "p2"))
        for fact, pixels in ((first, noise_pixels()), (second, noise_pixels()[:, ::-1])):
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(await blobs.get(fact.pixels)))), pixels)

    def test_a_canonical_picture_is_preprocessed_again_for_another_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(preprocess.PREPROCESSORS, "p2", decode_mirrored)
        kept = encode_canonical_png(canonical(IMAGE_FILES["jpeg"]))
        assert preprocess.preprocess_again(kept, "p1", LIMIT) == kept
        again = Image.open(io.BytesIO(preprocess.preprocess_again(kept, "p2", LIMIT)))
        assert np.array_equal(np.asarray(again), np.asarray(canonical(kept))[:, ::-1])

    async def test_a_version_of_a_newer_release_is_an_outage(self, blobs: FileBlobStore) -> None:
        event = downloaded(await blobs.put(IMAGE_FILES["png"]))
        with pytest.raises(Unavailable, match="preprocessing p9 is unavailable"):
            await handle(event, Deps(blobs, ThreadWorkers(), lambda: (DEFAULT_PREPROCESSING, "p9")))

    def test_new_generations_use_the_newest_version(self) -> None:
        assert [*preprocess.PREPROCESSORS][-1] == DEFAULT_PREPROCESSING

    def test_it_is_one_stage_in_two_lanes(self) -> None:
        assert STAGE.families == ("image", "search")
        assert STAGE.deps is Deps
