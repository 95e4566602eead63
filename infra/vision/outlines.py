"""Find quadrilaterals in a picture: from contours, and from straight lines.

Contours are taken of edges, of areas that differ from the picture's border, and of light and dark areas in each channel. Straight
lines find what contours miss: a broken outline still lies on four lines.

A line is its position and its slope. A steep one is x = position + slope * (y - middle), a level one y = position + slope * (x -
middle).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Quads = NDArray[np.float32]
Float64s = NDArray[np.float64]

MIN_SIDE_SHARE: Final = 0.04
"""The shortest side of a quadrilateral, as a share of the picture's longer side."""

_MAX_LINES: Final = 16
"""The longest steep lines are combined with the longest level lines: at most this many of each."""

_SAMPLE_STEP_PX: Final = 2
"""The distance between two samples along a line."""

_ACROSS_PX: Final = 2.5
"""The colours at this distance on either side of a line are compared."""

CLEAR_EDGE_CONTRAST: Final = 18.0
"""An edge between two colours at this distance in Lab has full clearness, 1."""

_OUTSIDE_SHARE: Final = 0.12
"""A corner may lie outside the picture by this share of its width and height."""

_UNKNOWN_CLEARNESS: Final = 0.4
"""The clearness of an edge outside the picture."""

_MIN_AREA_SHARE: Final = 0.003
"""The smallest area of a contour, as a share of the picture's area."""

_BORDER_PX: Final = 4
"""The colour around is measured on a border of this width inside the picture."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Lines (n, 2) of one direction, and the cumulative sum of each line's clearness over its samples (n, samples + 1)."""

    lines: Float64s
    sums: Float64s

    def clearness(self, which: NDArray[np.intp], start: Float64s, end: Float64s) -> Float64s:
        """Return how clear an edge each line is from `start` to `end`: 0 to 1."""
        last = self.sums.shape[1] - 1
        first, stop = (np.clip(np.rint(at / _SAMPLE_STEP_PX), 0, last).astype(np.intp) for at in (start, end))
        return np.where(
            stop > first, (self.sums[which, stop] - self.sums[which, first]) / np.maximum(stop - first, 1), _UNKNOWN_CLEARNESS
        )


def find_line_quads(lab: NDArray[np.uint8], most: int) -> Quads:
    """Return at most `most` quadrilaterals (n, 4, 2), clockwise from the top left, made of two steep and two level lines.

    The best ones have sides that are clear edges and end at the corners.
    """
    height, width = lab.shape[:2]
    segments = _detect_segments(lab)
    steep = np.abs(segments[:, 3] - segments[:, 1]) > np.abs(segments[:, 2] - segments[:, 0])
    down = _bundle_lines(lab.transpose(1, 0, 2), segments[steep][:, [1, 0, 3, 2]])
    along = _bundle_lines(lab, segments[~steep])
    position, slope = down.lines[:, :1], down.lines[:, 1:]
    y = (along.lines[:, 0] + along.lines[:, 1] * (position - slope * height / 2 - width / 2)) / (1 - slope * along.lines[:, 1])
    x = position + slope * (y - height / 2)
    lefts, rights = np.triu_indices(len(down.lines), 1)
    tops, bottoms = np.triu_indices(len(along.lines), 1)
    steep_clear, steep_beyond = _measure_sides(down, y[:, tops], y[:, bottoms])
    level_clear, level_beyond = _measure_sides(along, x[lefts].T, x[rights].T)
    clear = np.stack([steep_clear[lefts], steep_clear[rights], level_clear[tops].T, level_clear[bottoms].T])
    beyond = np.stack([steep_beyond[lefts], steep_beyond[rights], level_beyond[tops].T, level_beyond[bottoms].T])
    rows, columns = (lefts[:, None], rights[:, None], rights[:, None], lefts[:, None]), (tops, tops, bottoms, bottoms)
    xs, ys = (np.stack([axis[at] for at in zip(rows, columns, strict=True)]) for axis in (x, y))
    across, upright = np.minimum(xs[1] - xs[0], xs[2] - xs[3]), np.minimum(ys[3] - ys[0], ys[2] - ys[1])
    usable = np.minimum(across, upright) > MIN_SIDE_SHARE * max(height, width)
    for at, size in ((xs, width), (ys, height)):
        usable &= (at.min(axis=0) > -_OUTSIDE_SHARE * size) & (at.max(axis=0) < (1 + _OUTSIDE_SHARE) * size)
    area = np.log(np.maximum(across * upright / (height * width), 1e-4))
    score = np.where(usable, clear.mean(axis=0) + 0.7 * clear.min(axis=0) - 0.45 * beyond.mean(axis=0) + 0.04 * area, -np.inf)
    best = np.argsort(-score, axis=None, kind="stable")[:most]
    best = best[np.isfinite(score.reshape(-1)[best])]
    return np.stack([xs.reshape(4, -1)[:, best].T, ys.reshape(4, -1)[:, best].T], -1).astype(np.float32)


def _measure_sides(lines: _Bundle, start: Float64s, end: Float64s) -> tuple[Float64s, Float64s]:
    """Return how clear each line is between two others, and how clear its clearer continuation beyond them is."""
    which = np.arange(len(lines.lines))[:, None]
    far = np.maximum(8, 0.2 * (end - start)) + 3
    beyond = np.maximum(lines.clearness(which, start - far, start - 3), lines.clearness(which, end + 3, end + far))
    return lines.clearness(which, start, end), beyond


def _detect_segments(lab: NDArray[np.uint8]) -> Float64s:
    """Return straight line segments of edges in any channel: x, y of both ends (n, 4)."""
    detector = cv2.createLineSegmentDetector(cv2.LSD_REFINE_NONE, 1.0)
    found = [detector.detect(channel)[0] for channel in cv2.split(lab)]
    segments = np.concatenate([np.empty((0, 4)), *(each.reshape(-1, 4) for each in found if each is not None)])
    return np.asarray(segments[np.hypot(*(segments[:, 2:] - segments[:, :2]).T) > 0.025 * max(lab.shape)], np.float64)


def _bundle_lines(lab: NDArray[np.uint8], segments: Float64s) -> _Bundle:
    """Return the longest level lines of a picture, with its upper and lower border, as lines along x."""
    height, width = lab.shape[:2]
    lines = np.array([*_merge_segments(segments, width / 2), (1.0, 0.0), (height - 2.0, 0.0)])
    lines = lines[np.argsort(lines[:, 0], kind="stable")]
    at = np.arange(0, width, _SAMPLE_STEP_PX)
    across = lines[:, :1] + lines[:, 1:] * (at - width / 2)
    upright = 1 / np.sqrt(1 + lines[:, 1:] ** 2)

    def colours(off: float) -> NDArray[np.float32]:
        rows = np.clip(np.rint(across + off * upright), 0, height - 1).astype(np.intp)
        columns = np.clip(np.rint(at - off * upright * lines[:, 1:]), 0, width - 1).astype(np.intp)
        return np.asarray(lab[rows, columns], np.float32)

    clear = np.minimum(1, np.linalg.norm(colours(_ACROSS_PX) - colours(-_ACROSS_PX), axis=2) / CLEAR_EDGE_CONTRAST)
    clear = np.where((across >= 0) & (across < height), clear, _UNKNOWN_CLEARNESS)
    return _Bundle(lines, np.concatenate([np.zeros((len(lines), 1)), np.cumsum(clear, axis=1)], axis=1))


def _merge_segments(segments: Float64s, middle: float) -> list[tuple[float, float]]:
    """Return the lines that level segments lie on: those with the greatest length of segments."""
    lengths = np.abs(segments[:, 2] - segments[:, 0])
    order = np.argsort(-lengths, kind="stable")[:300]
    segments, lengths = segments[order], lengths[order]
    left = np.ones(len(segments), bool)
    lines: list[tuple[float, float, float]] = []
    for first in range(len(segments)):
        if not left[first] or len(lines) == 3 * _MAX_LINES:
            continue
        x0, y0, x1, y1 = segments[first]
        slope = (y1 - y0) / (x1 - x0)
        position = y0 + slope * (middle - x0)
        on = left & _is_on_line(segments, middle, position, slope)
        x, y, weight = segments[on][:, ::2] - middle, segments[on][:, 1::2], lengths[on][:, None]
        x_mean, y_mean = (weight * x).sum() / weight.sum() / 2, (weight * y).sum() / weight.sum() / 2
        slope = float((weight * (x - x_mean) * (y - y_mean)).sum() / (weight * (x - x_mean) ** 2).sum())
        position = float(y_mean - slope * x_mean)
        on = left & _is_on_line(segments, middle, position, slope)
        on[first] = True
        left &= ~on
        lines.append((float(lengths[on].sum()), position, slope))
    return [(position, slope) for _, position, slope in sorted(lines, reverse=True)[:_MAX_LINES]]


def _is_on_line(segments: Float64s, middle: float, position: float, slope: float) -> NDArray[np.bool_]:
    """Return a mask of the segments with both ends within two pixels of the line."""
    away = np.abs(segments[:, 1::2] - (position + slope * (segments[:, ::2] - middle)))
    return np.asarray(away.max(axis=1) < 2.2)


def find_contour_quads(lab: NDArray[np.uint8]) -> Quads:
    """Return the four-sided contours of a picture in smoothed Lab: (n, 4, 2) in pixels, the corners in any order."""
    found = [quad for mask in _masks(lab) for quad in _quads_of_mask(mask)]
    return np.array(found, np.float32).reshape(-1, 4, 2)


def _masks(lab: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    channels = cv2.split(lab)
    for low, high in ((15, 45), (50, 150)):
        edges = [cv2.Canny(channel, low, high) for channel in channels]
        yield np.asarray(cv2.dilate(np.maximum.reduce(edges), np.ones((3, 3), np.uint8)), np.uint8)
    sides = (lab[:_BORDER_PX], lab[-_BORDER_PX:], lab[:, :_BORDER_PX], lab[:, -_BORDER_PX:])
    around = np.median(np.concatenate([side.reshape(-1, 3) for side in sides]), axis=0)
    apart = np.maximum.reduce(
        [np.abs(channel.astype(np.int16) - int(shade)) for channel, shade in zip(channels, around, strict=True)]
    )
    for least in (12, 30):
        yield ((apart > least) * 255).astype(np.uint8)
    for channel in channels:
        _, light = cv2.threshold(channel, 0, 255, cv2.THRESH_OTSU)
        yield np.asarray(light, np.uint8)
        yield np.asarray(255 - light, np.uint8)


def _quads_of_mask(mask: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Yield quadrilaterals that nearly equal the convex hull of a contour."""
    least = _MIN_AREA_SHARE * mask.size
    for contour in cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]:
        _, _, width, height = cv2.boundingRect(contour)
        if width * height < least or min(width, height) < MIN_SIDE_SHARE * max(mask.shape):
            continue
        hull = cv2.convexHull(contour)
        area = cv2.contourArea(hull)
        if area < least:
            continue
        corners = cv2.approxPolyDP(hull, 0.025 * cv2.arcLength(hull, True), True)
        if 4 < len(corners) < 8:
            corners = cv2.approxPolyN(hull, 4, ensure_convex=True).reshape(-1, 1, 2)
        if len(corners) == 4 and 0.8 * area < cv2.contourArea(corners) < 1.25 * area:
            yield corners.reshape(4, 2).astype(np.float32)
