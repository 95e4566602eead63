"""The pieces that the tower learns from: drawn by our own generator, and photographs turned into maps where there are any.

Every piece is kept twice, as the original and in map colours, squeezed to a square: that is how the tower sees it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.progress import track

from infra.sandbox.art.canvas import Rng, quantise
from infra.sandbox.art.generate import ART_KINDS, MAP_PX, PIECE_SIZES

Pixels = NDArray[np.uint8]
"""A (height, width, 3) picture."""

POOL_PIECE_PX = 160
"""Pixels on a side of a piece in the pool."""

FIRST_SEED = 1_000_000
"""The first piece that is drawn for the training; the ones below are for demos, tests and benchmarks."""

HELD_OUT_SEED = 2_000_000
"""The first piece that is drawn to measure with."""

HELD_OUT_EVERY = 5
"""Every fifth photograph is kept out of the training."""

PIECES_PER_PHOTOGRAPH = 2
"""How many training pieces are made of one photograph: other frames of it, in other colours."""


@dataclass(frozen=True, slots=True)
class Pool:
    """n pieces: their originals and what an archive has of them, (n, SIDE, SIDE, 3) each."""

    originals: Pixels
    archived: Pixels

    def __len__(self) -> int:
        return len(self.originals)

    def part(self, which: slice) -> "Pool":
        """Some of the pieces."""
        return Pool(self.originals[which], self.archived[which])


def draw_training_pool(count: int, photographs: Path | None) -> Pool:
    """`count` drawn pieces, and those made of the photographs in that folder, without the ones held out."""
    held_out = set(list_held_out_photographs(photographs))
    names = [name for name in _photographs(photographs) if name not in held_out]
    return _pool(count, FIRST_SEED, names, PIECES_PER_PHOTOGRAPH)


def draw_held_out_pool(count: int, photographs: Path | None) -> Pool:
    """`count` other drawn pieces, and those made of the photographs held out."""
    return _pool(count, HELD_OUT_SEED, list_held_out_photographs(photographs), 1)


def list_held_out_photographs(folder: Path | None) -> list[Path]:
    """The photographs in that folder that the tower never learns from: only these say how good it is."""
    return _photographs(folder)[::HELD_OUT_EVERY]


def _photographs(folder: Path | None) -> list[Path]:
    return sorted(folder.glob("*.jpg")) if folder else []


def _pool(count: int, first: int, photographs: list[Path], turns: int) -> Pool:
    total = count + turns * len(photographs)
    originals = np.empty((total, POOL_PIECE_PX, POOL_PIECE_PX, 3), np.uint8)
    archived = np.empty_like(originals)
    for at, (original, quantised) in enumerate(track(_pieces(count, first, photographs, turns), "drawing pieces", total)):
        originals[at], archived[at] = _square(original), _square(quantised)
    return Pool(originals, archived)


def _pieces(count: int, first: int, photographs: list[Path], turns: int) -> Iterator[tuple[Image.Image, Image.Image]]:
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        width, height = PIECE_SIZES[rng.integers(len(PIECE_SIZES))]
        original = ART_KINDS[seed % len(ART_KINDS)](rng, width * MAP_PX, height * MAP_PX)
        yield original, _as_map(original, rng)
    for turn in range(turns):
        for at, path in enumerate(photographs):
            rng = np.random.default_rng([first, turn, at])
            width, height = PIECE_SIZES[rng.integers(len(PIECE_SIZES))]
            where = float(rng.random()), float(rng.random())
            framed = ImageOps.fit(Image.open(path).convert("RGB"), (width * MAP_PX, height * MAP_PX), centering=where)
            yield framed, _as_map(framed, rng)


def _as_map(original: Image.Image, rng: Rng) -> Image.Image:
    return quantise(original, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))


def _square(picture: Image.Image) -> Pixels:
    pixels = np.asarray(picture)
    shrinks = max(pixels.shape[:2]) > POOL_PIECE_PX
    return np.asarray(
        cv2.resize(pixels, (POOL_PIECE_PX, POOL_PIECE_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST), np.uint8
    )
