"""One piece of map art for each seed. The seed decides its kind, its size in maps and its palette style."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from infra.sandbox.art import drawings, fields
from infra.sandbox.art.canvas import Rng, quantise

MAP_PX = 128
"""The side of a map in pixels."""

PIECE_SIZES = ((1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (3, 2))
"""Width and height in maps. Single maps are the most common."""

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
    """Draw the piece of a seed: RGB in map colours only, 128 pixels a map, 1x1 to 3x2 maps. The kinds alternate by seed."""
    rng = np.random.default_rng(seed)
    art = _draw_art(seed, rng)
    return quantise(art, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))


def draw_original(seed: int) -> Image.Image:
    """Draw the original of the piece of a seed: the same art and size, before the conversion to map colours."""
    return _draw_art(seed, np.random.default_rng(seed))


def _draw_art(seed: int, rng: Rng) -> Image.Image:
    width, height = PIECE_SIZES[rng.integers(len(PIECE_SIZES))]
    return ART_KINDS[seed % len(ART_KINDS)](rng, width * MAP_PX, height * MAP_PX)
