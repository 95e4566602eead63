"""The canonical picture: the first frame of any accepted file as upright 8-bit RGB over white, and nothing more.

It is never resized, sharpened, denoised or colour-managed: such "enhancement" was measured to harm matching. Its bytes alone decide
what a file is, never its name or the type it claims.
"""

import io
import re
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageFile

from contracts.errors import Reject, RejectCode

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
THUMBNAIL_SIDE: Final = 256

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
"""What sets a picture upright, by its EXIF orientation."""


def decode(data: bytes, max_pixels: int) -> tuple[Image.Image, str]:
    """The canonical picture of a file's bytes, and the file's format in lower case.

    Raises Reject: EMPTY, NOT_AN_IMAGE, DAMAGED, or TOO_MANY_PIXELS, which the header tells before a pixel is decoded.
    """
    if not data:
        raise Reject(RejectCode.EMPTY, "The file is empty.")
    if not _SIGNATURE.match(data):
        raise Reject(RejectCode.NOT_AN_IMAGE, "The file is not a PNG, JPEG, WebP, GIF or BMP picture.")
    too_many = Reject(RejectCode.TOO_MANY_PIXELS, f"The picture has more than {max_pixels / 1e6:g} million pixels.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise too_many
            _scale_transparent_colour(image)
            image.load()
            return _turn_upright(_flatten(image), _orientation(image)), _format_name(image)
    except (Reject, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many from None
    except Exception as error:  # Pillow answers hostile bytes with nearly every exception there is
        raise Reject(RejectCode.DAMAGED, "The picture is damaged and cannot be read.") from error


def as_png(image: Image.Image) -> bytes:
    """A canonical picture without loss, the same bytes each time; compressed lightly, since it is read more often than moved."""
    return _encoded(image, "PNG", compress_level=1)


def as_thumbnail(image: Image.Image) -> bytes:
    """At most 256x256 as WebP, never enlarged. Lanczos: nearest would drop rows of pixel art and turn dithering into moiré."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return _encoded(small, "WEBP", quality=80, method=0)  # half the time of the default for an eighth more bytes


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _format_name(image: Image.Image) -> str:
    return "jpeg" if image.format == "MPO" else str(image.format).lower()  # MPO: a camera's JPEG with previews appended


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  broken metadata does not make a good picture unreadable: viewers show it as it is stored
        return 1


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Pillow scales a PNG's samples to 8 bits, but not the one colour that the file calls transparent: make them comparable."""
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


def _flatten(image: Image.Image) -> Image.Image:
    """8-bit RGB with what is transparent in front of white, and no metadata."""
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
    """The high byte, as Pillow itself does for 16-bit colours; its own conversion of 16-bit grey clips instead of scaling."""
    samples = np.asarray(image)
    grey = (samples >> 8).astype(np.uint8)
    grey[samples == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey).convert("RGB")
