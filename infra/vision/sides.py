"""Figures of a quadrilateral's sides, by which the outlines of map art differ from others.

These are how clear an edge its four sides are, how little these edges go on beyond its corners (those of walls and of drawings
do), how its inside differs from what is around, and its shape.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from infra.vision.lines import CLEAR, Quads

_SAMPLES: Final = 24

FIGURES: Final = 18


def figures_of(lab: NDArray[np.uint8], quads: Quads) -> NDArray[np.float32]:
    """What speaks for each quadrilateral (n, 4, 2), clockwise, of a picture in smoothed Lab, and against it: (n, FIGURES)."""
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
    area = np.log(np.maximum(areas(quads) / (height * width), 1e-4))
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
    return np.stack(rows, axis=1).astype(np.float32)


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


def areas(quads: Quads) -> NDArray[np.float64]:
    """The area of each quadrilateral, in pixels."""
    x, y = quads[..., 0], quads[..., 1]
    return np.asarray(np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(axis=1)) / 2)
