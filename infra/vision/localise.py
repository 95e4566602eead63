"""Where in a question map art may lie: a map in an item frame, a screen in a photograph, a picture with a border around it.

Quadrilaterals come from contours and from straight lines. How likely each is the outline of map art is told by a small net
(infra/vision/judging.py).
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.events import Quad
from infra.vision.judging import judged
from infra.vision.lines import Quads, line_quads
from infra.vision.outlines import contour_quads
from infra.vision.sides import areas
from infra.vision.sift import resized

MOST: Final = 6
"""How many places a question has at most."""

_WORKING: Final = 512
"""Pixels on the longer side of the picture that is looked at."""

_LEAST: Final = 32
"""Pixels on its shorter side from which there is anything to look for."""

_FROM_LINES: Final = 50
_SAME: Final = 0.8
"""The overlap (intersection over union) from which two outlines are of one place."""

_ALMOST_ALL: Final = 0.9
"""An outline of that much of the picture is the whole picture, which is compared anyhow."""


def places_of(rgb: NDArray[np.uint8]) -> list[Quad]:
    """The outlines of what may be map art, at most six, the likeliest first, clockwise from the top left."""
    lab = working(rgb)
    if min(lab.shape[:2]) < _LEAST:
        return []
    quads = candidates(lab)
    frame = np.array([lab.shape[1], lab.shape[0]], np.float32)
    chosen = _distinct(quads[np.argsort(-judged(lab, quads), kind="stable")])
    return [cast(Quad, tuple(((quad + 0.5) / frame).reshape(-1).tolist())) for quad in islice(chosen, MOST)]


def working(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is looked at of a picture: at most 512 pixels on its longer side, smoothed, in Lab."""
    height, width = rgb.shape[:2]
    factor = min(1.0, _WORKING / max(height, width))
    small = resized(rgb, max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_RGB2LAB), np.uint8)


def candidates(lab: NDArray[np.uint8], from_lines: int = _FROM_LINES) -> Quads:
    """Every quadrilateral (n, 4, 2) worth judging, convex, clockwise from the top left; of nearly equal ones one is kept."""
    quads = np.concatenate([contour_quads(lab), line_quads(lab, from_lines)])
    quads = _ordered(quads)
    _, first = np.unique(np.rint(quads.reshape(-1, 8) / 3).astype(np.int32), axis=0, return_index=True)
    quads = quads[np.sort(first)]
    shares = areas(quads) / (lab.shape[0] * lab.shape[1])
    return np.asarray(quads[(shares < _ALMOST_ALL) & (shares > 0)], np.float32)


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two convex outlines (4, 2)."""
    shared, _ = cv2.intersectConvexConvex(one, other)
    return float(shared / max(cv2.contourArea(one) + cv2.contourArea(other) - shared, 1e-6))


def _ordered(quads: Quads) -> Quads:
    """Clockwise from the top left."""
    around = quads - quads.mean(axis=1, keepdims=True)
    order = np.argsort(np.arctan2(around[..., 1], around[..., 0]), axis=1)
    quads = np.take_along_axis(quads, order[..., None], axis=1)
    first = np.argmin(quads.sum(axis=2), axis=1)
    return np.take_along_axis(quads, ((first[:, None] + np.arange(4)) % 4)[..., None], axis=1)


def _distinct(quads: Quads) -> Iterator[NDArray[np.float32]]:
    """The quadrilaterals in their order, but for those that overlap an earlier one too much."""
    kept: list[NDArray[np.float32]] = []
    for quad in quads:
        if all(overlap(quad, other) < _SAME for other in kept):
            kept.append(quad)
            yield quad
