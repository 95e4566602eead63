"""One piece of map art for each seed: a kind, a size in maps, and a palette style, all drawn by lot from the seed."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from infra.sandbox.art import drawings, fields
from infra.sandbox.art.canvas import Rng, quantise

MAP_PX = 128
"""Pixels on a side of one map."""

PIECE_SIZES = ((1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (3, 2))
"""Width and height in maps; single maps are the most common."""

ART_KINDS: tuple[Callable[[Rng, int, int], Image.Image], ...] = (
    drawings.landscape,
    fields.fractal,
    fields.stained_glass,
    drawings.sprite,
    fields.plasma,
    drawings.banner,
    drawings.maze,
    drawings.night,
    fields.mandala,
    drawings.rectangles,
    fields.contours,
    drawings.discs,
    fields.interference,
)


def draw_piece(seed: int) -> Image.Image:
    """The piece of that seed: RGB, 128 pixels a map, 1x1 to 3x2 maps, in map colours only. Kinds take turns from seed to seed."""
    rng = np.random.default_rng(seed)
    art = _drawn(seed, rng)
    return quantise(art, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))


def draw_original(seed: int) -> Image.Image:
    """The art that the piece of that seed is made of, in its own colours and in the piece's size."""
    return _drawn(seed, np.random.default_rng(seed))


def _drawn(seed: int, rng: Rng) -> Image.Image:
    width, height = PIECE_SIZES[rng.integers(len(PIECE_SIZES))]
    return ART_KINDS[seed % len(ART_KINDS)](rng, width * MAP_PX, height * MAP_PX)
