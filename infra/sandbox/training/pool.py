"""The pieces that the tower is trained and measured on: drawn by our generator, and made from photographs where there are any.

Every piece is kept twice, as the original and in map colours, resized to a square as the tower sees it.
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
"""The side of a piece in the pool, in pixels."""

FIRST_SEED = 1_000_000
"""The first seed for training. Demos, tests and benchmarks use lower seeds."""

HELD_OUT_SEED = 2_000_000
"""The first seed of the pieces for measurement."""

HELD_OUT_EVERY = 5
"""Every fifth photograph is not used for training."""

PIECES_PER_PHOTOGRAPH = 2
"""How many training pieces are made from one photograph, with different crops and colours."""


@dataclass(frozen=True, slots=True)
class Pool:
    """n pieces: the originals and the archived versions, (n, POOL_PIECE_PX, POOL_PIECE_PX, 3) each."""

    originals: Pixels
    archived: Pixels

    def __len__(self) -> int:
        return len(self.originals)

    def select(self, which: slice) -> "Pool":
        """Select some of the pieces."""
        return Pool(self.originals[which], self.archived[which])


def draw_training_pool(count: int, photographs: Path | None) -> Pool:
    """Draw `count` pieces, and add those made from the photographs in the folder, except the held-out photographs."""
    held_out = set(list_held_out_photographs(photographs))
    names = [name for name in _list_photographs(photographs) if name not in held_out]
    return _build_pool(count, FIRST_SEED, names, PIECES_PER_PHOTOGRAPH)


def draw_held_out_pool(count: int, photographs: Path | None) -> Pool:
    """Draw `count` other pieces, and add those made from the held-out photographs."""
    return _build_pool(count, HELD_OUT_SEED, list_held_out_photographs(photographs), 1)


def list_held_out_photographs(folder: Path | None) -> list[Path]:
    """List the photographs in the folder that are not used for training. Only they can measure how good the tower is."""
    return _list_photographs(folder)[::HELD_OUT_EVERY]


def _list_photographs(folder: Path | None) -> list[Path]:
    return sorted(folder.glob("*.jpg")) if folder else []


def _build_pool(count: int, first: int, photographs: list[Path], turns: int) -> Pool:
    total = count + turns * len(photographs)
    originals = np.empty((total, POOL_PIECE_PX, POOL_PIECE_PX, 3), np.uint8)
    archived = np.empty_like(originals)
    for at, (original, quantised) in enumerate(track(_iter_pieces(count, first, photographs, turns), "drawing pieces", total)):
        originals[at], archived[at] = _to_square(original), _to_square(quantised)
    return Pool(originals, archived)


def _iter_pieces(count: int, first: int, photographs: list[Path], turns: int) -> Iterator[tuple[Image.Image, Image.Image]]:
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        width, height = PIECE_SIZES[rng.integers(len(PIECE_SIZES))]
        original = ART_KINDS[seed % len(ART_KINDS)](rng, width * MAP_PX, height * MAP_PX)
        yield original, _to_map_colours(original, rng)
    for turn in range(turns):
        for at, path in enumerate(photographs):
            rng = np.random.default_rng([first, turn, at])
            width, height = PIECE_SIZES[rng.integers(len(PIECE_SIZES))]
            where = float(rng.random()), float(rng.random())
            framed = ImageOps.fit(Image.open(path).convert("RGB"), (width * MAP_PX, height * MAP_PX), centering=where)
            yield framed, _to_map_colours(framed, rng)


def _to_map_colours(original: Image.Image, rng: Rng) -> Image.Image:
    return quantise(original, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))


def _to_square(picture: Image.Image) -> Pixels:
    pixels = np.asarray(picture)
    shrinks = max(pixels.shape[:2]) > POOL_PIECE_PX
    return np.asarray(
        cv2.resize(pixels, (POOL_PIECE_PX, POOL_PIECE_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST), np.uint8
    )
