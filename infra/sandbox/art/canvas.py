"""Tools for every kind of art: coordinates, smooth noise, harmonious colours, and conversion to map colours.

All random choices come from the generator given.
"""

import colorsys
import json
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
Rng = np.random.Generator

Style = Literal["flat", "staircase"]

SHADE_MULTIPLIERS: dict[Style, tuple[int, ...]] = {"flat": (220,), "staircase": (180, 220, 255)}
"""The shades that survival players can build: one on level ground, three when blocks go up and down."""


def pixel_grid(width: int, height: int) -> tuple[Array, Array]:
    """Return pixel coordinates x and y, each (height, width). The shorter side spans -1 to 1, and the centre is 0."""
    unit = min(width, height) / 2
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return (x - width / 2 + 0.5) / unit, (y - height / 2 + 0.5) / unit


def fractal_noise(rng: Rng, width: int, height: int, *, cells: int = 4, octaves: int = 4) -> Array:
    """Return smooth fractal noise, 0 to 1, (height, width). The coarsest octave has about `cells` bumps on the shorter side."""
    total = np.zeros((height, width), np.float32)
    unit = min(width, height)
    for octave in range(octaves):
        bumps = cells * 2**octave
        lattice = rng.random((max(2, height * bumps // unit), max(2, width * bumps // unit)), np.float32)
        layer = Image.fromarray(lattice).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) / 2**octave
    return normalise(total)


def normalise(field: Array) -> Array:
    """Stretch a field to 0 to 1."""
    low, high = float(field.min()), float(field.max())
    return (field - low) / max(high - low, 1e-9)


def colour_scheme(rng: Rng, count: int, *, dark: float = 0.15, light: float = 0.95) -> Array:
    """Return `count` harmonious colours, (count, 3) in 0 to 1, from dark to light.

    Their hues are one hue, two, three, or a short arc.
    """
    base = rng.random()
    offsets = ((0.0, 0.08, -0.08), (0.0, 0.5, 0.05), (0.0, 1 / 3, 2 / 3), (0.0, 0.15, 0.3))[rng.integers(4)]
    values = np.linspace(dark, light, count)
    picks = [(base + offsets[i % 3] + rng.normal(0, 0.015), rng.uniform(0.35, 0.95), values[i]) for i in range(count)]
    return np.array([colorsys.hsv_to_rgb(hue % 1, saturation, value) for hue, saturation, value in picks], np.float32)


def apply_gradient(field: Array, colours: Array) -> Array:
    """Colour a field of values from 0 to 1 by blending along `colours`: (h, w) to (h, w, 3)."""
    position = np.clip(field, 0, 1) * (len(colours) - 1)
    low = np.minimum(position.astype(np.intp), len(colours) - 2)
    weight = (position - low)[..., None].astype(np.float32)
    blended: Array = colours[low] * (1 - weight) + colours[low + 1] * weight
    return blended


def shuffle_colours(rng: Rng, colours: Array) -> Array:
    """Return the colours in a random order."""
    return colours[rng.permutation(len(colours))]


def to_rgb(colour: Array) -> tuple[int, int, int]:
    """Convert a colour to the form of Pillow's drawing functions."""
    red, green, blue = (round(255 * float(part)) for part in np.clip(colour, 0, 1))
    return red, green, blue


def to_image(pixels: Array) -> Image.Image:
    """Convert an (h, w, 3) array in 0 to 1 to a picture."""
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def to_pixels(image: Image.Image) -> Array:
    """Convert a picture to an (h, w, 3) array in 0 to 1."""
    return np.asarray(image, np.float32) / np.float32(255)


@cache
def map_colours(style: Style) -> NDArray[np.uint8]:
    """Return the map colours of a style as an (n, 3) array of sRGB: 61 for flat, 183 for staircase."""
    base = np.array(json.loads(files(__package__).joinpath("palette.json").read_text("utf-8"))["base"], np.uint16)
    return np.concatenate([base * multiplier // 255 for multiplier in SHADE_MULTIPLIERS[style]]).astype(np.uint8)


def quantise(image: Image.Image, style: Style, *, dither: bool) -> Image.Image:
    """Convert an RGB picture to map colours, with Floyd-Steinberg dithering or the nearest colour for each pixel."""
    table = map_colours(style)
    padding = np.repeat(table[:1], 256 - len(table), axis=0)  # an unfilled entry would be black, which no map can show
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([table, padding]).tobytes())
    method = Image.Dither.FLOYDSTEINBERG if dither else Image.Dither.NONE
    return image.quantize(palette=palette, dither=method).convert("RGB")
