"""The pieces of the benchmark: the original art and the map made from it. Everything is random, from a seed and a number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infra.sandbox.art import drawings
from infra.sandbox.art.canvas import Rng, colour_scheme, quantise, to_rgb
from infra.sandbox.art.generate import ART_KINDS, MAP_PX
from infra.sandbox.art.hud import SYLLABLES
from tests.quality import plain

Family = Literal["drawn", "plain", "photo"]
SIZES = ((1, 1), (1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (2, 2), (3, 2), (2, 3), (3, 1), (3, 3), (4, 2), (4, 3))
"""Width and height in maps."""
FIRST_STRANGER = 1_000_000
"""Pieces with this number or a higher one are never archived."""
ONE_HELD_OUT_OF = 4
"""One of this many photographs is never archived."""
ORIGINAL_SCALE = 2
"""An original has this many times the resolution of its map."""
PIXEL_KINDS = frozenset({drawings.sprite, drawings.banner, drawings.maze, drawings.night})
"""Kinds whose details have a size in pixels. Their originals are enlarged maps."""


@dataclass(frozen=True, slots=True)
class Art:
    """A piece: the original picture, and the map made from it in map colours, with 128 pixels a map."""

    number: int
    family: Family
    original: Image.Image
    maps: Image.Image

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in maps."""
        return self.maps.width // MAP_PX, self.maps.height // MAP_PX


@dataclass(frozen=True)
class Pieces:
    """All pieces for a seed, those below FIRST_STRANGER in the gallery. `photos` must be the same files in the same order."""

    seed: int
    photos: Sequence[Path] = ()

    @cached_property
    def _shared_out(self) -> tuple[list[Path], list[Path]]:
        mixed = [self.photos[at] for at in np.random.default_rng(self.seed).permutation(len(self.photos))]
        held_out = len(mixed) // ONE_HELD_OUT_OF
        return mixed[held_out:], mixed[:held_out]

    def family(self, number: int) -> Family:
        """Return the family of a piece. One in eight is plain; one in four is a photograph while there are any left."""
        if number % 8 == 3:
            return "plain"
        return "photo" if number % 4 == 1 and self._photo(number) else "drawn"

    def _photo(self, number: int) -> Path | None:
        archived, held_out = self._shared_out
        if number < FIRST_STRANGER:
            return archived[number // 4] if number // 4 < len(archived) else None
        return held_out[number // 4 % len(held_out)] if held_out else None

    def size(self, number: int) -> tuple[int, int]:
        """Return width and height in maps, without drawing the piece."""
        return SIZES[int(self._rng(number).integers(len(SIZES)))]

    def _rng(self, number: int) -> Rng:
        return np.random.default_rng([self.seed, 1, number])

    def art(self, number: int) -> Art:
        """Draw the piece with this number."""
        rng = self._rng(number)
        family = self.family(number)
        width, height = (side * MAP_PX for side in SIZES[int(rng.integers(len(SIZES)))])
        if family == "photo" and (file := self._photo(number)):
            original = _crop_photo(Image.open(file).convert("RGB"), width / height, rng)
        elif family == "plain":
            original = plain.draw_plain(rng, width * ORIGINAL_SCALE, height * ORIGINAL_SCALE)
        else:
            original = _draw_kind(rng, ART_KINDS[int(rng.integers(len(ART_KINDS)))], width, height)
        small = original.resize((width, height), Image.Resampling.BOX if rng.random() < 0.5 else Image.Resampling.LANCZOS)
        maps = quantise(small, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))
        return Art(number, family, original, maps)


def _draw_kind(rng: Rng, kind: Callable[[Rng, int, int], Image.Image], width: int, height: int) -> Image.Image:
    """Draw a piece of a kind, finer than its map. Some have a title or a frame."""
    if kind in PIXEL_KINDS:
        drawn = kind(rng, width, height).resize((width * ORIGINAL_SCALE, height * ORIGINAL_SCALE), Image.Resampling.NEAREST)
    else:
        drawn = kind(rng, width * ORIGINAL_SCALE, height * ORIGINAL_SCALE)
    if rng.random() < 0.25:
        _draw_title(drawn, rng)
    if rng.random() < 0.2:
        edge = int(rng.integers(4, 24)) * ORIGINAL_SCALE
        ImageDraw.Draw(drawn).rectangle(
            (0, 0, drawn.width - 1, drawn.height - 1), outline=to_rgb(colour_scheme(rng, 3)[1]), width=edge
        )
    return drawn


def _draw_title(drawn: Image.Image, rng: Rng) -> None:
    text = "".join(SYLLABLES[at] for at in rng.integers(0, len(SYLLABLES), rng.integers(2, 5))).upper()
    font = ImageFont.load_default(max(20, int(drawn.width / len(text) * rng.uniform(0.7, 1.5))))
    place = drawn.width * rng.uniform(0.02, 0.3), drawn.height * rng.choice([0.03, 0.4, 0.72])
    dark = bool(rng.random() < 0.5)
    fill, edge = ((16, 16, 20), (245, 245, 240)) if dark else ((245, 245, 240), (16, 16, 20))
    ImageDraw.Draw(drawn).text(place, text, fill=fill, font=font, stroke_width=max(2, drawn.width // 150), stroke_fill=edge)


def _crop_photo(photo: Image.Image, ratio: float, rng: Rng) -> Image.Image:
    """Crop the largest part of a photograph with these proportions, at a random position."""
    width = min(photo.width, round(photo.height * ratio))
    height = min(photo.height, round(width / ratio))
    left, top = int(rng.integers(0, photo.width - width + 1)), int(rng.integers(0, photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height))
