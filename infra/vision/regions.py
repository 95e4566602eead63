"""Find the regions of a query that may be map art: a map in an item frame, a screen in a photograph, a picture with a border.

Candidate quadrilaterals come from contours and from straight lines. Two models score each of them:

- A small net sees the straightened quadrilateral with a margin around it. It has three convolutions and two dense layers, so numpy
is enough to run it. - A logistic regression gets figures of its four sides, which are finer than what the net sees: how clear an
edge each side is, whether the edges continue beyond the corners (those of walls and of drawings do), how the inside differs from
the outside, and the shape.

Both together are right more often than either alone. infra/sandbox/training/outlines.py trains both.
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
"""Samples along each side."""

EDGE_FIGURES: Final = 18
"""How many figures `measure_edges` returns for each quadrilateral."""

INNER_PX: Final = 32
MARGIN_PX: Final = 8
NET_SIDE_PX: Final = INNER_PX + 2 * MARGIN_PX
"""The net sees a square of this side: the inside of the quadrilateral and a margin around it."""

INNER_CORNERS: Final = np.array([[0, 0], [INNER_PX, 0], [INNER_PX, INNER_PX], [0, INNER_PX]], np.float32) + np.float32(
    MARGIN_PX - 0.5
)
"""The corners of the quadrilateral in this square, clockwise from the top left."""

CONVOLUTIONS: Final = ((3, 16, 5), (16, 32, 3), (32, 48, 3))
"""Input channels, output channels and kernel side of each convolution. The stride is 2."""

HIDDEN_UNITS: Final = 96

EDGE_LOGIT_WEIGHT: Final = 0.6
"""The weight of the logit of the edges. The logit of the net has weight 1."""

LAB_SCALE: Final = 48.0
"""A difference of this many levels in Lab is 1 in the input of the net."""

_BATCH: Final = 32
_PYRAMID_LEVELS: Final = 4

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

MAX_REGIONS: Final = 6
"""A query has at most this many regions."""

_WORKING_SIDE_PX: Final = 512
"""The picture is reduced to this longer side before it is searched."""

_MIN_SIDE_PX: Final = 32
"""A picture with a shorter side than this is not searched."""

_LINE_QUADS: Final = 50
_SAME_IOU: Final = 0.8
"""Two outlines with at least this intersection over union are the same region."""

_MAX_AREA_SHARE: Final = 0.9
"""An outline with at least this share of the picture's area is the whole picture, which is compared anyway."""


def measure_edges(lab: NDArray[np.uint8], quads: Quads) -> NDArray[np.float32]:
    """Return the figures (n, EDGE_FIGURES) of each quadrilateral (n, 4, 2), clockwise, of a picture in smoothed Lab."""
    height, width = lab.shape[:2]
    sides = np.roll(quads, -1, axis=1) - quads
    lengths = np.maximum(np.linalg.norm(sides, axis=2), 1e-3)
    ahead = sides / lengths[..., None]
    outward = np.stack([ahead[..., 1], -ahead[..., 0]], axis=-1)
    along = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    on = quads[:, :, None] + sides[:, :, None] * along[:, None]
    inside = ((on >= 0) & (on < (width, height))).all(axis=-1)

    def across(points: NDArray[Any], near: float, far: float, off: NDArray[Any]) -> NDArray[np.float64]:
        step = _sample_colours(lab, points + far * off) - _sample_colours(lab, points + near * off)
        return np.asarray(np.minimum(1, np.linalg.norm(step, axis=-1) / CLEAR_EDGE_CONTRAST))

    normal = outward[:, :, None]
    clear = np.where(inside, across(on, -2.5, 2.5, normal), 0.5)
    within, around = across(on, -8.5, -3.5, normal).mean(axis=(1, 2)), across(on, 3.5, 8.5, normal).mean(axis=(1, 2))
    reach = np.maximum(8, 0.2 * lengths)[..., None, None] * (np.arange(8)[:, None] / 7) + 3
    ends = np.concatenate(
        [quads[:, :, None] - reach * ahead[:, :, None], np.roll(quads, -1, 1)[:, :, None] + reach * ahead[:, :, None]], 1
    )
    beyond = across(ends, -2.5, 2.5, np.concatenate([normal, normal], 1)).mean(axis=2)
    step = _sample_colours(lab, on - 4 * normal).mean(axis=2) - _sample_colours(lab, on + 4 * normal).mean(axis=2)
    grid = _inner_grid(quads, 0.08, 0.92)
    ring = on + np.maximum(6, 0.12 * lengths)[..., None, None] * normal
    inside_colours, outside_colours = _sample_colours(lab, grid), _sample_colours(lab, ring.reshape(len(quads), -1, 2))
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
        np.minimum(np.linalg.norm(inside_colours.mean(1) - outside_colours.mean(1), axis=1), 40) / 40,
        np.log(1 + inside_colours.std(axis=1).sum(axis=1)) / 4,
        np.log(1 + outside_colours.std(axis=1).sum(axis=1)) / 4,
        bends.max(axis=1),
        opposite.max(axis=1),
        opposite.min(axis=1),
        area,
        area**2 / 4,
        (~inside).mean(axis=(1, 2)),
    )
    return np.stack(rows, axis=1).astype(np.float32)


def _sample_colours(lab: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the colours of the pixels nearest to points (..., 2). Outside the picture, the colour at its edge."""
    x = np.clip(np.rint(points[..., 0]), 0, lab.shape[1] - 1).astype(np.intp)
    y = np.clip(np.rint(points[..., 1]), 0, lab.shape[0] - 1).astype(np.intp)
    return np.asarray(lab[y, x], np.float32)


def _inner_grid(quads: Quads, low: float, high: float) -> NDArray[np.float32]:
    """Return a grid of 12x12 points inside each quadrilateral: (n, 144, 2)."""
    v, u = (axis.reshape(-1, 1) for axis in np.mgrid[low:high:12j, low:high:12j])
    top, bottom = quads[:, None, 0] * (1 - u) + quads[:, None, 1] * u, quads[:, None, 3] * (1 - u) + quads[:, None, 2] * u
    return np.asarray(top * (1 - v) + bottom * v, np.float32)


def compute_areas(quads: Quads) -> NDArray[np.float64]:
    """Return the area of each quadrilateral in pixels."""
    x, y = quads[..., 0], quads[..., 1]
    return np.asarray(np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(axis=1)) / 2)


def score_outlines(lab: Bytes, quads: Quads) -> Floats:
    """Return a logit for each quadrilateral (n, 4, 2), clockwise, of a picture in smoothed Lab: how likely it outlines map art."""
    if not len(quads):
        return np.empty(0, np.float32)
    levels, figures = build_pyramid(lab), measure_edges(lab, quads)
    parts = [slice(start, start + _BATCH) for start in range(0, len(quads), _BATCH)]
    crops = (np.stack([rectify_quad(levels, quad) for quad in quads[part]]) for part in parts)
    return np.concatenate([run_net(batch, figures[part]) for batch, part in zip(crops, parts, strict=True)])


def build_pyramid(lab: Bytes) -> list[Bytes]:
    """Return the picture and smaller copies of it, each half as large as the one before."""
    levels = [lab]
    for _ in range(_PYRAMID_LEVELS - 1):
        height, width = levels[-1].shape[:2]
        smaller = cv2.resize(levels[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8))
    return levels


def rectify_quad(levels: list[Bytes], quad: NDArray[np.float32]) -> Bytes:
    """Return the crop that the net sees of a quadrilateral: (NET_SIDE_PX, NET_SIDE_PX, 3)."""
    side = float(np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1).mean())
    level = int(np.clip(np.floor(np.log2(max(side / INNER_PX, 1))), 0, len(levels) - 1))
    corners = (quad + np.float32(0.5)) / np.float32(2**level) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(corners, INNER_CORNERS)
    return np.asarray(
        cv2.warpPerspective(levels[level], matrix, (NET_SIDE_PX, NET_SIDE_PX), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def to_net_input(crops: Bytes) -> Floats:
    """Subtract from each crop (n, NET_SIDE_PX, NET_SIDE_PX, 3) its mean colour, and scale it."""
    values = crops.astype(np.float32)
    return np.asarray((values - values.mean(axis=(1, 2), keepdims=True)) / np.float32(LAB_SCALE), np.float32)


def run_net(crops: Bytes, figures: Floats) -> Floats:
    """Return the logit of each crop (n, NET_SIDE_PX, NET_SIDE_PX, 3) with its edge figures (n, EDGE_FIGURES)."""
    layers = _layers()
    values = to_net_input(crops)
    for number, (_, _, size) in enumerate(CONVOLUTIONS):
        windows = sliding_window_view(values, (size, size), axis=(1, 2))[:, ::2, ::2]
        values = windows.reshape(*windows.shape[:3], -1) @ layers[f"kernel{number}"] + layers[f"bias{number}"]
        values = np.maximum(values, 0)
    hidden = np.maximum(values.reshape(len(values), -1) @ layers["hidden"] + layers["hidden_bias"], 0)
    net_logits = (hidden @ layers["out"] + layers["out_bias"])[:, 0]
    return np.asarray(net_logits + EDGE_LOGIT_WEIGHT * (figures @ layers["sides"]), np.float32)


@cache
def _layers() -> dict[str, Floats]:
    with np.load(Path(__file__).with_name("judging.npz")) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def find_regions(rgb: NDArray[np.uint8]) -> list[Quad]:
    """Return the outlines of the regions that may be map art: at most six, likeliest first, each clockwise from the top left."""
    lab = prepare_lab(rgb)
    if min(lab.shape[:2]) < _MIN_SIDE_PX:
        return []
    quads = find_quads(lab)
    frame = np.array([lab.shape[1], lab.shape[0]], np.float32)
    chosen = _skip_overlapping(quads[np.argsort(-score_outlines(lab, quads), kind="stable")])
    return [cast(Quad, tuple(((quad + 0.5) / frame).reshape(-1).tolist())) for quad in islice(chosen, MAX_REGIONS)]


def prepare_lab(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture as it is searched: at most 512 pixels on its longer side, smoothed, in Lab."""
    height, width = rgb.shape[:2]
    factor = min(1.0, _WORKING_SIDE_PX / max(height, width))
    small = resize_picture(rgb, max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_RGB2LAB), np.uint8)


def find_quads(lab: NDArray[np.uint8], from_lines: int = _LINE_QUADS) -> Quads:
    """Return all candidate quadrilaterals (n, 4, 2), convex, clockwise from the top left. Of nearly equal ones, one is kept."""
    quads = np.concatenate([find_contour_quads(lab), find_line_quads(lab, from_lines)])
    quads = _order_corners(quads)
    _, first = np.unique(np.rint(quads.reshape(-1, 8) / 3).astype(np.int32), axis=0, return_index=True)
    quads = quads[np.sort(first)]
    shares = compute_areas(quads) / (lab.shape[0] * lab.shape[1])
    return np.asarray(quads[(shares < _MAX_AREA_SHARE) & (shares > 0)], np.float32)


def compute_iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the intersection over union of two convex outlines (4, 2)."""
    shared, _ = cv2.intersectConvexConvex(one, other)
    return float(shared / max(cv2.contourArea(one) + cv2.contourArea(other) - shared, 1e-6))


def _order_corners(quads: Quads) -> Quads:
    """Return the quadrilaterals with their corners clockwise from the top left."""
    around = quads - quads.mean(axis=1, keepdims=True)
    order = np.argsort(np.arctan2(around[..., 1], around[..., 0]), axis=1)
    quads = np.take_along_axis(quads, order[..., None], axis=1)
    first = np.argmin(quads.sum(axis=2), axis=1)
    return np.take_along_axis(quads, ((first[:, None] + np.arange(4)) % 4)[..., None], axis=1)


def _skip_overlapping(quads: Quads) -> Iterator[NDArray[np.float32]]:
    """Yield the quadrilaterals in their order, without those that overlap an earlier one too much."""
    kept: list[NDArray[np.float32]] = []
    for quad in quads:
        if all(compute_iou(quad, other) < _SAME_IOU for other in kept):
            kept.append(quad)
            yield quad
