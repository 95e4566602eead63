"""Distortions of a picture, as chats and editors make them: re-encoding, resizing, cropping, another brightness."""

from io import BytesIO

from PIL import Image, ImageEnhance


def encode_png(image: Image.Image) -> bytes:
    """Return the picture as a PNG file."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """Return the picture as a JPEG file of this quality (1 to 95)."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def reencode(image: Image.Image, quality: int) -> Image.Image:
    """Return the picture as decoded from a JPEG file of this quality (1 to 95)."""
    return Image.open(BytesIO(encode_jpeg(image, quality))).convert("RGB")


def resize(image: Image.Image, factor: float) -> Image.Image:
    """Return the picture with both sides scaled by `factor`, at least one pixel each."""
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def crop(image: Image.Image, fraction: float, *, anchor: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """Return the picture without `fraction` (0 to 1) of its width and height.

    `anchor` says which part remains: (0, 0) the top left, (1, 1) the bottom right, (0.5, 0.5) the middle.
    """
    lost = image.width * fraction, image.height * fraction
    left, top = round(lost[0] * anchor[0]), round(lost[1] * anchor[1])
    return image.crop((left, top, left + round(image.width - lost[0]), top + round(image.height - lost[1])))


def change_brightness(image: Image.Image, factor: float) -> Image.Image:
    """Return the picture with every channel multiplied by `factor`: 0.8 is a fifth darker, 1.2 a fifth lighter."""
    return ImageEnhance.Brightness(image).enhance(factor)
