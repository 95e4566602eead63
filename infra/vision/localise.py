"""Where in a question map art may lie: a map in an item frame, a screen in a photograph, a picture with a border around it.

Quadrilaterals come from contours and from straight lines; each is scored by how clear an edge its four sides are, how little these
edges go on beyond its corners (those of walls and of drawings do), how its inside differs from what is around, and its shape.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.events import Quad
from infra.vision.lines import CLEAR, Quads, line_quads
from infra.vision.outlines import contour_quads
from infra.vision.sift import resized

MOST: Final = 6
"""How many places a question has at most."""

_WORKING: Final = 512
"""Pixels on the longer side of the picture that is looked at."""

_FROM_LINES: Final = 150
_SAMPLES: Final = 24
_SAME: Final = 0.7
"""The overlap (intersection over union) from which two outlines are of one place."""

_ALMOST_ALL: Final = 0.9
"""An outline of that much of the picture is the whole picture, which is compared anyhow."""

WEIGHTS: Final = np.array(
    [
        0.424,
        2.437,
        7.989,
        -1.372,
        0.377,
        -2.397,
        1.355,
        -2.986,
        1.084,
        1.309,
        3.232,
        -6.446,
        0.87,
        -4.112,
        -0.732,
        -0.873,
        -1.46,
        7.878,
    ]
)
"""What each of `features` is worth: a logistic regression on whether an outline overlaps map art by 0.85."""


def places_of(rgb: NDArray[np.uint8]) -> list[Quad]:
    """The outlines of what may be map art, at most six, the likeliest first, clockwise from the top left."""
    height, width = rgb.shape[:2]
    factor = min(1.0, _WORKING / max(height, width))
    size = round(width * factor), round(height * factor)
    if min(size) < 32:
        return []
    lab = cv2.cvtColor(cv2.GaussianBlur(resized(rgb, *size), (0, 0), 1.0), cv2.COLOR_RGB2LAB)
    quads = candidates(np.asarray(lab, np.uint8))
    if not len(quads):
        return []
    scores = features(np.asarray(lab, np.uint8), quads) @ WEIGHTS
    frame = np.array(size, np.float32)
    chosen = _distinct(quads[np.argsort(-scores, kind="stable")])
    return [cast(Quad, tuple(((quad + 0.5) / frame).reshape(-1).tolist())) for quad in islice(chosen, MOST)]


def candidates(lab: NDArray[np.uint8]) -> Quads:
    """Every quadrilateral (n, 4, 2) worth scoring, convex, clockwise from the top left; of nearly equal ones one is kept."""
    quads = np.concatenate([contour_quads(lab), line_quads(lab, _FROM_LINES)])
    quads = _ordered(quads)
    _, first = np.unique(np.rint(quads.reshape(-1, 8) / 3).astype(np.int32), axis=0, return_index=True)
    quads = quads[np.sort(first)]
    areas = _areas(quads) / (lab.shape[0] * lab.shape[1])
    return np.asarray(quads[(areas < _ALMOST_ALL) & (areas > 0)], np.float32)


def features(lab: NDArray[np.uint8], quads: Quads) -> NDArray[np.float64]:
    """What speaks for each quadrilateral and against it, (n, 18)."""
    height, width = lab.shape[:2]
    sides = np.roll(quads, -1, axis=1) - quads
    lengths = np.maximum(np.linalg.norm(sides, axis=2), 1e-3)
    ahead = sides / lengths[..., None]
    outward = np.stack([ahead[..., 1], -ahead[..., 0]], axis=-1)
    along = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    on = quads[:, :, None] + sides[:, :, None] * along[:, None]
    inside = ((on >= 0) & (on < (width, height))).all(axis=-1)

    def across(points: NDArray[Any], near: float, far: float, off: NDArray[Any]) -> NDArray[np.float64]:
        step = _colours(lab, points + far * off) - _colours(lab, points + near * off)
        return np.asarray(np.minimum(1, np.linalg.norm(step, axis=-1) / CLEAR))

    normal = outward[:, :, None]
    clear = np.where(inside, across(on, -2.5, 2.5, normal), 0.5)
    within, around = across(on, -8.5, -3.5, normal).mean(axis=(1, 2)), across(on, 3.5, 8.5, normal).mean(axis=(1, 2))
    reach = np.maximum(8, 0.2 * lengths)[..., None, None] * (np.arange(8)[:, None] / 7) + 3
    ends = np.concatenate(
        [quads[:, :, None] - reach * ahead[:, :, None], np.roll(quads, -1, 1)[:, :, None] + reach * ahead[:, :, None]], 1
    )
    beyond = across(ends, -2.5, 2.5, np.concatenate([normal, normal], 1)).mean(axis=2)
    step = _colours(lab, on - 4 * normal).mean(axis=2) - _colours(lab, on + 4 * normal).mean(axis=2)
    grid = _inner(quads, 0.08, 0.92)
    ring = on + np.maximum(6, 0.12 * lengths)[..., None, None] * normal
    seen, other = _colours(lab, grid), _colours(lab, ring.reshape(len(quads), -1, 2))
    bends = np.abs((ahead * np.roll(ahead, 1, axis=1)).sum(axis=2))
    opposite = np.abs(np.log(lengths[:, :2] / lengths[:, 2:]))
    area = np.log(np.maximum(_areas(quads) / (height * width), 1e-4))
    sides_clear = np.sort(clear.mean(axis=2), axis=1)
    ends_clear = np.sort(beyond, axis=1)
    rows = (
        *sides_clear.T,
        within,
        around,
        ends_clear[:, :4].mean(axis=1),
        ends_clear[:, 4:].mean(axis=1),
        np.minimum(np.linalg.norm(step, axis=2), 40).mean(axis=1) / 40,
        np.minimum(np.linalg.norm(seen.mean(1) - other.mean(1), axis=1), 40) / 40,
        np.log(1 + seen.std(axis=1).sum(axis=1)) / 4,
        np.log(1 + other.std(axis=1).sum(axis=1)) / 4,
        bends.max(axis=1),
        opposite.max(axis=1),
        opposite.min(axis=1),
        area,
        area**2 / 4,
        (~inside).mean(axis=(1, 2)),
    )
    return np.stack(rows, axis=1)


def _colours(lab: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.float32]:
    """The colours nearest to points (..., 2); outside the picture those of its edge."""
    x = np.clip(np.rint(points[..., 0]), 0, lab.shape[1] - 1).astype(np.intp)
    y = np.clip(np.rint(points[..., 1]), 0, lab.shape[0] - 1).astype(np.intp)
    return np.asarray(lab[y, x], np.float32)


def _inner(quads: Quads, low: float, high: float) -> NDArray[np.float32]:
    """A grid of 12x12 points inside each quadrilateral (n, 144, 2)."""
    v, u = (axis.reshape(-1, 1) for axis in np.mgrid[low:high:12j, low:high:12j])
    top, bottom = quads[:, None, 0] * (1 - u) + quads[:, None, 1] * u, quads[:, None, 3] * (1 - u) + quads[:, None, 2] * u
    return np.asarray(top * (1 - v) + bottom * v, np.float32)


def _ordered(quads: Quads) -> Quads:
    """Clockwise from the top left."""
    around = quads - quads.mean(axis=1, keepdims=True)
    order = np.argsort(np.arctan2(around[..., 1], around[..., 0]), axis=1)
    quads = np.take_along_axis(quads, order[..., None], axis=1)
    first = np.argmin(quads.sum(axis=2), axis=1)
    return np.take_along_axis(quads, ((first[:, None] + np.arange(4)) % 4)[..., None], axis=1)


def _areas(quads: Quads) -> NDArray[np.float64]:
    x, y = quads[..., 0], quads[..., 1]
    return np.asarray(np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(axis=1)) / 2)


def _distinct(quads: Quads) -> Iterator[NDArray[np.float32]]:
    """The quadrilaterals in their order, but for those that overlap an earlier one too much."""
    kept: list[NDArray[np.float32]] = []
    for quad in quads:
        if all(_overlap(quad, other) < _SAME for other in kept):
            kept.append(quad)
            yield quad


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    shared, _ = cv2.intersectConvexConvex(one, other)
    return float(shared / max(cv2.contourArea(one) + cv2.contourArea(other) - shared, 1e-6))
