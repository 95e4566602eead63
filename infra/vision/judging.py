"""How likely a quadrilateral is the outline of map art: a small net looks at each, straightened, with some of what is around it.

A logistic of the figures of its sides (infra/vision/sides.py), which are finer than what the net sees, counts beside it: together
they are right more often than either. Both are trained by infra/vision/learning.py. The net has three convolutions and two dense
layers, so few that numpy will do.
"""

from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from infra.vision.lines import Quads
from infra.vision.sides import figures_of

INNER: Final = 32
AROUND: Final = 8
SIDE: Final = INNER + 2 * AROUND
"""Pixels on a side of what the net sees: the inside of the quadrilateral and what is around it."""

BOX: Final = np.array([[0, 0], [INNER, 0], [INNER, INNER], [0, INNER]], np.float32) + np.float32(AROUND - 0.5)
"""Where the corners of the quadrilateral are in that, clockwise from the top left."""

CONVOLUTIONS: Final = ((3, 16, 5), (16, 32, 3), (32, 48, 3))
"""Channels before and after, and pixels on a side of the kernel; each looks at every second pixel."""

HIDDEN: Final = 96
OF_SIDES: Final = 0.6
"""What the logit of the sides counts beside that of the net."""

SHADES: Final = 48.0
"""Levels of Lab that make 1."""

_TOGETHER: Final = 32
_LEVELS: Final = 4

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def judged(lab: Bytes, quads: Quads) -> Floats:
    """A logit for each quadrilateral (n, 4, 2), clockwise, of a picture in smoothed Lab."""
    if not len(quads):
        return np.empty(0, np.float32)
    levels, figures = halved(lab), figures_of(lab, quads)
    parts = [slice(start, start + _TOGETHER) for start in range(0, len(quads), _TOGETHER)]
    seen = (np.stack([straightened(levels, quad) for quad in quads[part]]) for part in parts)
    return np.concatenate([forward(shown, figures[part]) for shown, part in zip(seen, parts, strict=True)])


def halved(lab: Bytes) -> list[Bytes]:
    """The picture, and each time half as large."""
    levels = [lab]
    for _ in range(_LEVELS - 1):
        height, width = levels[-1].shape[:2]
        smaller = cv2.resize(levels[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8))
    return levels


def straightened(levels: list[Bytes], quad: NDArray[np.float32]) -> Bytes:
    """What the net sees of a quadrilateral (SIDE, SIDE, 3)."""
    side = float(np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1).mean())
    level = int(np.clip(np.floor(np.log2(max(side / INNER, 1))), 0, len(levels) - 1))
    corners = (quad + np.float32(0.5)) / np.float32(2**level) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(corners, BOX)
    return np.asarray(cv2.warpPerspective(levels[level], matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def as_input(seen: Bytes) -> Floats:
    """Pictures (n, SIDE, SIDE, 3) without their mean colours."""
    values = seen.astype(np.float32)
    return np.asarray((values - values.mean(axis=(1, 2), keepdims=True)) / np.float32(SHADES), np.float32)


def forward(seen: Bytes, figures: Floats) -> Floats:
    """The logit of each picture (n, SIDE, SIDE, 3), with the figures of its sides (n, FIGURES)."""
    layers = _layers()
    values = as_input(seen)
    for number, (_, _, size) in enumerate(CONVOLUTIONS):
        windows = sliding_window_view(values, (size, size), axis=(1, 2))[:, ::2, ::2]
        values = windows.reshape(*windows.shape[:3], -1) @ layers[f"kernel{number}"] + layers[f"bias{number}"]
        values = np.maximum(values, 0)
    hidden = np.maximum(values.reshape(len(values), -1) @ layers["hidden"] + layers["hidden_bias"], 0)
    seen_as = (hidden @ layers["out"] + layers["out_bias"])[:, 0]
    return np.asarray(seen_as + OF_SIDES * (figures @ layers["sides"]), np.float32)


@cache
def _layers() -> dict[str, Floats]:
    with np.load(Path(__file__).with_name("judging.npz")) as kept:
        return {name: kept[name].astype(np.float32) for name in kept.files}
