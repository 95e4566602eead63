"""Where in a question map art may lie: a map in an item frame, a screen in a photograph, a picture with a border around it.

Quadrilaterals come from contours and from straight lines. How likely each is the outline of map art is told by a small net, which
looks at each, straightened, with some of what is around it. A logistic of the figures of its sides, which are finer than what the
net sees, counts beside it: together they are right more often than either. Both are trained by infra/sandbox/training/outlines.py.
The net has three convolutions and two dense layers, so few that numpy will do.

Figures of a quadrilateral's sides, by which the outlines of map art differ from others.

These are how clear an edge its four sides are, how little these edges go on beyond its corners (those of walls and of drawings
do), how its inside differs from what is around, and its shape.
"""

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from contracts.events import Quad
from infra.vision.features import resize_picture
from infra.vision.outlines import CLEAR_EDGE_CONTRAST, Quads, find_contour_quads, find_line_quads

_SAMPLES: Final = 24

EDGE_FIGURES: Final = 18

INNER_PX: Final = 32
MARGIN_PX: Final = 8
NET_SIDE_PX: Final = INNER_PX + 2 * MARGIN_PX
"""Pixels on a side of what the net sees: the inside of the quadrilateral and what is around it."""

INNER_CORNERS: Final = np.array([[0, 0], [INNER_PX, 0], [INNER_PX, INNER_PX], [0, INNER_PX]], np.float32) + np.float32(
    MARGIN_PX - 0.5
)
"""Where the corners of the quadrilateral are in that, clockwise from the top left."""

CONVOLUTIONS: Final = ((3, 16, 5), (16, 32, 3), (32, 48, 3))
"""Channels before and after, and pixels on a side of the kernel; each looks at every second pixel."""

HIDDEN_UNITS: Final = 96
EDGE_LOGIT_WEIGHT: Final = 0.6
"""What the logit of the sides counts beside that of the net."""

LAB_SCALE: Final = 48.0
"""Levels of Lab that make 1."""

_TOGETHER: Final = 32
_LEVELS: Final = 4

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

MAX_REGIONS: Final = 6
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


def measure_edges(lab: NDArray[np.uint8], quads: Quads) -> NDArray[np.float32]:
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
        return np.asarray(np.minimum(1, np.linalg.norm(step, axis=-1) / CLEAR_EDGE_CONTRAST))

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
    area = np.log(np.maximum(compute_areas(quads) / (height * width), 1e-4))
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


def compute_areas(quads: Quads) -> NDArray[np.float64]:
    """The area of each quadrilateral, in pixels."""
    x, y = quads[..., 0], quads[..., 1]
    return np.asarray(np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(axis=1)) / 2)


def score_outlines(lab: Bytes, quads: Quads) -> Floats:
    """A logit for each quadrilateral (n, 4, 2), clockwise, of a picture in smoothed Lab."""
    if not len(quads):
        return np.empty(0, np.float32)
    levels, figures = build_pyramid(lab), measure_edges(lab, quads)
    parts = [slice(start, start + _TOGETHER) for start in range(0, len(quads), _TOGETHER)]
    seen = (np.stack([rectify_quad(levels, quad) for quad in quads[part]]) for part in parts)
    return np.concatenate([run_net(shown, figures[part]) for shown, part in zip(seen, parts, strict=True)])


def build_pyramid(lab: Bytes) -> list[Bytes]:
    """The picture, and each time half as large."""
    levels = [lab]
    for _ in range(_LEVELS - 1):
        height, width = levels[-1].shape[:2]
        smaller = cv2.resize(levels[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8))
    return levels


def rectify_quad(levels: list[Bytes], quad: NDArray[np.float32]) -> Bytes:
    """What the net sees of a quadrilateral (SIDE, SIDE, 3)."""
    side = float(np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1).mean())
    level = int(np.clip(np.floor(np.log2(max(side / INNER_PX, 1))), 0, len(levels) - 1))
    corners = (quad + np.float32(0.5)) / np.float32(2**level) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(corners, INNER_CORNERS)
    return np.asarray(
        cv2.warpPerspective(levels[level], matrix, (NET_SIDE_PX, NET_SIDE_PX), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def to_net_input(seen: Bytes) -> Floats:
    """Pictures (n, SIDE, SIDE, 3) without their mean colours."""
    values = seen.astype(np.float32)
    return np.asarray((values - values.mean(axis=(1, 2), keepdims=True)) / np.float32(LAB_SCALE), np.float32)


def run_net(seen: Bytes, figures: Floats) -> Floats:
    """The logit of each picture (n, SIDE, SIDE, 3), with the figures of its sides (n, FIGURES)."""
    layers = _layers()
    values = to_net_input(seen)
    for number, (_, _, size) in enumerate(CONVOLUTIONS):
        windows = sliding_window_view(values, (size, size), axis=(1, 2))[:, ::2, ::2]
        values = windows.reshape(*windows.shape[:3], -1) @ layers[f"kernel{number}"] + layers[f"bias{number}"]
        values = np.maximum(values, 0)
    hidden = np.maximum(values.reshape(len(values), -1) @ layers["hidden"] + layers["hidden_bias"], 0)
    seen_as = (hidden @ layers["out"] + layers["out_bias"])[:, 0]
    return np.asarray(seen_as + EDGE_LOGIT_WEIGHT * (figures @ layers["sides"]), np.float32)


@cache
def _layers() -> dict[str, Floats]:
    with np.load(Path(__file__).with_name("judging.npz")) as kept:
        return {name: kept[name].astype(np.float32) for name in kept.files}


def find_regions(rgb: NDArray[np.uint8]) -> list[Quad]:
    """The outlines of what may be map art, at most six, the likeliest first, clockwise from the top left."""
    lab = prepare_lab(rgb)
    if min(lab.shape[:2]) < _LEAST:
        return []
    quads = find_quads(lab)
    frame = np.array([lab.shape[1], lab.shape[0]], np.float32)
    chosen = _distinct(quads[np.argsort(-score_outlines(lab, quads), kind="stable")])
    return [cast(Quad, tuple(((quad + 0.5) / frame).reshape(-1).tolist())) for quad in islice(chosen, MAX_REGIONS)]


def prepare_lab(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is looked at of a picture: at most 512 pixels on its longer side, smoothed, in Lab."""
    height, width = rgb.shape[:2]
    factor = min(1.0, _WORKING / max(height, width))
    small = resize_picture(rgb, max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_RGB2LAB), np.uint8)


def find_quads(lab: NDArray[np.uint8], from_lines: int = _FROM_LINES) -> Quads:
    """Every quadrilateral (n, 4, 2) worth judging, convex, clockwise from the top left; of nearly equal ones one is kept."""
    quads = np.concatenate([find_contour_quads(lab), find_line_quads(lab, from_lines)])
    quads = _ordered(quads)
    _, first = np.unique(np.rint(quads.reshape(-1, 8) / 3).astype(np.int32), axis=0, return_index=True)
    quads = quads[np.sort(first)]
    shares = compute_areas(quads) / (lab.shape[0] * lab.shape[1])
    return np.asarray(quads[(shares < _ALMOST_ALL) & (shares > 0)], np.float32)


def compute_iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
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
        if all(compute_iou(quad, other) < _SAME for other in kept):
            kept.append(quad)
            yield quad
