"""The pieces of the benchmark: the original art, and the map that was built of it. All by lot from a seed and a number."""

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
STRANGERS = 1_000_000
"""Pieces from this number on are never archived."""
HELD_OUT = 4
"""One photograph in so many is never archived."""
FINE = 2
"""How much finer an original is than its map."""
OF_PIXELS = frozenset({drawings.sprite, drawings.banner, drawings.maze, drawings.night})
"""Kinds whose details are counted in pixels: their originals are enlarged."""


@dataclass(frozen=True, slots=True)
class Art:
    """A piece: the picture that somebody drew or took, and the map of it, 128 pixels a map, in map colours."""

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
    """Every piece there is for a seed: below STRANGERS those of the gallery. `photos` are files, the same in the same order."""

    seed: int
    photos: Sequence[Path] = ()

    @cached_property
    def _shared_out(self) -> tuple[list[Path], list[Path]]:
        mixed = [self.photos[at] for at in np.random.default_rng(self.seed).permutation(len(self.photos))]
        held_out = len(mixed) // HELD_OUT
        return mixed[held_out:], mixed[:held_out]

    def family(self, number: int) -> Family:
        """One in eight is plain; one in four is a photograph, for as long as there are some."""
        if number % 8 == 3:
            return "plain"
        return "photo" if number % 4 == 1 and self._photo(number) else "drawn"

    def _photo(self, number: int) -> Path | None:
        archived, held_out = self._shared_out
        if number < STRANGERS:
            return archived[number // 4] if number // 4 < len(archived) else None
        return held_out[number // 4 % len(held_out)] if held_out else None

    def size(self, number: int) -> tuple[int, int]:
        """Width and height in maps, without drawing the piece."""
        return SIZES[int(self._rng(number).integers(len(SIZES)))]

    def _rng(self, number: int) -> Rng:
        return np.random.default_rng([self.seed, 1, number])

    def art(self, number: int) -> Art:
        """The piece of that number."""
        rng = self._rng(number)
        family = self.family(number)
        width, height = (side * MAP_PX for side in SIZES[int(rng.integers(len(SIZES)))])
        if family == "photo" and (file := self._photo(number)):
            original = _cut(Image.open(file).convert("RGB"), width / height, rng)
        elif family == "plain":
            original = plain.drawn(rng, width * FINE, height * FINE)
        else:
            original = _drawn(rng, ART_KINDS[int(rng.integers(len(ART_KINDS)))], width, height)
        small = original.resize((width, height), Image.Resampling.BOX if rng.random() < 0.5 else Image.Resampling.LANCZOS)
        maps = quantise(small, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))
        return Art(number, family, original, maps)


def _drawn(rng: Rng, kind: Callable[[Rng, int, int], Image.Image], width: int, height: int) -> Image.Image:
    """A piece of a kind, finer than the map will be; some have a title or a frame."""
    if kind in OF_PIXELS:
        drawn = kind(rng, width, height).resize((width * FINE, height * FINE), Image.Resampling.NEAREST)
    else:
        drawn = kind(rng, width * FINE, height * FINE)
    if rng.random() < 0.25:
        _title(drawn, rng)
    if rng.random() < 0.2:
        edge = int(rng.integers(4, 24)) * FINE
        ImageDraw.Draw(drawn).rectangle(
            (0, 0, drawn.width - 1, drawn.height - 1), outline=to_rgb(colour_scheme(rng, 3)[1]), width=edge
        )
    return drawn


def _title(drawn: Image.Image, rng: Rng) -> None:
    text = "".join(SYLLABLES[at] for at in rng.integers(0, len(SYLLABLES), rng.integers(2, 5))).upper()
    font = ImageFont.load_default(max(20, int(drawn.width / len(text) * rng.uniform(0.7, 1.5))))
    place = drawn.width * rng.uniform(0.02, 0.3), drawn.height * rng.choice([0.03, 0.4, 0.72])
    dark = bool(rng.random() < 0.5)
    fill, edge = ((16, 16, 20), (245, 245, 240)) if dark else ((245, 245, 240), (16, 16, 20))
    ImageDraw.Draw(drawn).text(place, text, fill=fill, font=font, stroke_width=max(2, drawn.width // 150), stroke_fill=edge)


def _cut(photo: Image.Image, ratio: float, rng: Rng) -> Image.Image:
    """The largest part of a photograph with these proportions, somewhere in it."""
    width = min(photo.width, round(photo.height * ratio))
    height = min(photo.height, round(width / ratio))
    left, top = int(rng.integers(0, photo.width - width + 1)), int(rng.integers(0, photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height))
