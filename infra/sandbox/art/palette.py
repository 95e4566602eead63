"""The colours that a Minecraft map can show, and pictures reduced to them.

`palette.json` holds the 61 visible base colours (the transparent one is not among them) and the brightness multipliers.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Style = Literal["flat", "staircase"]

MULTIPLIERS: dict[Style, tuple[int, ...]] = {"flat": (220,), "staircase": (180, 220, 255)}
"""Shades that survival players can build: one on level ground, three when blocks go up and down."""


@cache
def colours(style: Style) -> NDArray[np.uint8]:
    """The colours of a style as an (n, 3) array of sRGB: 61 flat ones or 183 staircase ones."""
    base = np.array(json.loads(files(__package__).joinpath("palette.json").read_text("utf-8"))["base"], np.uint16)
    return np.concatenate([base * multiplier // 255 for multiplier in MULTIPLIERS[style]]).astype(np.uint8)


def quantise(image: Image.Image, style: Style, *, dither: bool) -> Image.Image:
    """An RGB picture in map colours alone, with Floyd-Steinberg dithering or the nearest colour for each pixel."""
    table = colours(style)
    padding = np.repeat(table[:1], 256 - len(table), axis=0)  # an unfilled entry would be black, which no map can show
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([table, padding]).tobytes())
    method = Image.Dither.FLOYDSTEINBERG if dither else Image.Dither.NONE
    return image.quantize(palette=palette, dither=method).convert("RGB")
