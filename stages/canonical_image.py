"""Decodes files into canonical pictures: the first frame as upright 8-bit RGB over white.

Pictures are never sharpened, denoised or colour-managed: measurements showed that such "enhancement" harms matching. Archived
pictures are never resized; a large query picture is reduced. Only the bytes decide what a file is, not its name or claimed type.
"""

import io
import re
import zlib
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageFile

from contracts.errors import Reject, RejectCode, build_damaged_rejection
from stages.file_limits import MAX_EXIF_BYTES, refuse_costly_file, refuse_costly_size

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
THUMBNAIL_PX: Final = 256

_SIGNATURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF.{4}WEBP|GIF8[79]a|BM.{4}\0{4}", re.DOTALL)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation: the transpose operation that turns a picture upright."""


def decode_image(data: bytes, max_pixels: int, longest: int | None = None) -> tuple[Image.Image, str]:
    """Decode a file into its canonical picture. Return it with the file's format in lower case.

    `longest` limits the longer side in pixels: a larger picture is reduced, and a JPEG is then not even decoded at full size.
    Raises Reject: EMPTY, NOT_AN_IMAGE, DAMAGED, TOO_MANY_PIXELS or TOO_COSTLY. Size and structure are checked before any pixel is
    decoded.
    """
    if not data:
        raise Reject(RejectCode.EMPTY, "The file is empty.")
    if not _SIGNATURE.match(data):
        raise Reject(RejectCode.NOT_AN_IMAGE, "The file is not a PNG, JPEG, WebP, GIF or BMP picture.")
    refuse_costly_file(data)
    too_many = Reject(RejectCode.TOO_MANY_PIXELS, f"The picture has more than {max_pixels / 1e6:g} million pixels.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise too_many
            refuse_costly_size(*image.size, len(data))
            size = _fit_within(image.size, longest)
            if size != image.size:
                image.draft(None, size)
            _scale_transparent_colour(image)
            image.load()
            flat = _flatten_on_white(image)
            if flat.size != size:
                flat = flat.resize(size, Image.Resampling.BILINEAR)
            return _turn_upright(flat, _read_orientation(image)), _format_name(image)
    except (Reject, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many from None
    except Exception as error:  # hostile bytes make Pillow raise nearly every kind of exception
        raise build_damaged_rejection() from error


def encode_canonical_png(image: Image.Image) -> bytes:
    """Encode a canonical picture as PNG, always to the same bytes. Light compression: it is read more often than transferred."""
    return _encode(image, "PNG", compress_level=1)


def encode_uncompressed_png(image: Image.Image) -> bytes:
    """Encode a picture as PNG without compression, for short-lived data: a twentieth of the time, twice the bytes."""
    width, height = image.size
    pixels = np.asarray(image).reshape(height, 3 * width)
    rows = np.column_stack([np.zeros(height, np.uint8), pixels])  # each row begins with filter type 0: none
    header = b"".join(side.to_bytes(4, "big") for side in (width, height)) + b"\x08\x02\0\0\0"  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(data, zlib.crc32(kind)).to_bytes(4, "big")


def encode_thumbnail(image: Image.Image) -> bytes:
    """Encode a thumbnail of at most 256x256 pixels as WebP. Small pictures are not enlarged.

    Lanczos, since "nearest" would drop rows of pixel art and turn dithering into moiré.
    """
    small = image.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return _encode(small, "WEBP", quality=80, method=0)  # half the time of the default method, an eighth more bytes


def make_thumbnail(canonical: bytes) -> bytes:
    """Return the thumbnail of a stored canonical picture."""
    return encode_thumbnail(Image.open(io.BytesIO(canonical)).convert("RGB"))


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _fit_within(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Scale a size down so that no side is longer than `longest`."""
    factor = 1.0 if longest is None else min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _format_name(image: Image.Image) -> str:
    return "jpeg" if image.format == "MPO" else str(image.format).lower()  # MPO is a camera's JPEG with previews appended


def _read_orientation(image: Image.Image) -> int:
    stored = image.info.get("exif") or image.info.get("Raw profile type exif", "")
    if len(stored) > MAX_EXIF_BYTES:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  broken metadata must not make a good picture unreadable; viewers ignore it too
        return 1


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Scale the transparent colour of a PNG to 8 bits. Pillow scales the samples, but not this colour."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None:
        return
    match [tile.args for tile in image.tile]:
        case ["L;2"]:
            image.info["transparency"] = colour * 85
        case ["L;4"]:
            image.info["transparency"] = colour * 17
        case ["RGB;16B"]:
            image.info["transparency"] = tuple(sample >> 8 for sample in colour)


def _flatten_on_white(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB over white, without metadata."""
    if image.mode == "I;16":
        flat = _from_16_bit_grey(image)
    elif image.has_transparency_data:
        picture = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(picture, mask=picture)
    else:
        flat = image.convert("RGB")
    flat.info = {}
    return flat


def _from_16_bit_grey(image: Image.Image) -> Image.Image:
    """Take the high byte, as Pillow does for 16-bit colours. Its own conversion of 16-bit grey clips instead of scaling."""
    samples = np.asarray(image)
    grey = (samples >> 8).astype(np.uint8)
    grey[samples == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey).convert("RGB")
