"""Quadrilaterals from contours: of edges, of what differs from the picture's border, of light and dark areas in each channel.

Quadrilaterals from straight lines: what contours miss, since an outline that is broken still lies on four lines.

A line is its place and its slope: x = place + slope * (y - middle) for a steep one, y = place + slope * (x - middle) for a
level one.
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
"""The shortest side of a quadrilateral, of the picture's longer side."""

_LINES: Final = 16
"""How many steep and how many level lines are combined, the longest ones."""

_STEP: Final = 2
"""Pixels between two samples along a line."""

_ACROSS: Final = 2.5
"""Pixels to either side of a line at which colours are compared."""

CLEAR_EDGE_CONTRAST: Final = 18.0
"""The distance of two colours in Lab from which an edge is as clear as can be."""

_SPARE: Final = 0.12
"""How far outside the picture a corner may lie, of its width and height."""

_UNKNOWN: Final = 0.4
"""How clear an edge is taken to be outside the picture."""

_LEAST_AREA: Final = 0.003
"""Of the picture's."""

_BORDER: Final = 4
"""Pixels at the picture's border that tell the colour of what lies around."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Lines (n, 2) of one direction, and how clear an edge each of them is up to each sample (n, samples + 1), summed up."""

    lines: Float64s
    sums: Float64s

    def clear(self, which: NDArray[np.intp], start: Float64s, end: Float64s) -> Float64s:
        """How clear an edge each line is from `start` to `end`, 0 to 1."""
        last = self.sums.shape[1] - 1
        first, stop = (np.clip(np.rint(at / _STEP), 0, last).astype(np.intp) for at in (start, end))
        return np.where(stop > first, (self.sums[which, stop] - self.sums[which, first]) / np.maximum(stop - first, 1), _UNKNOWN)


def find_line_quads(lab: NDArray[np.uint8], most: int) -> Quads:
    """The quadrilaterals (n, 4, 2), clockwise from the top left, whose sides are the clearest edges that end at the corners."""
    height, width = lab.shape[:2]
    segments = _segments(lab)
    steep = np.abs(segments[:, 3] - segments[:, 1]) > np.abs(segments[:, 2] - segments[:, 0])
    down = _bundle(lab.transpose(1, 0, 2), segments[steep][:, [1, 0, 3, 2]])
    along = _bundle(lab, segments[~steep])
    place, slope = down.lines[:, :1], down.lines[:, 1:]
    y = (along.lines[:, 0] + along.lines[:, 1] * (place - slope * height / 2 - width / 2)) / (1 - slope * along.lines[:, 1])
    x = place + slope * (y - height / 2)
    lefts, rights = np.triu_indices(len(down.lines), 1)
    tops, bottoms = np.triu_indices(len(along.lines), 1)
    steep_clear, steep_beyond = _sides(down, y[:, tops], y[:, bottoms])
    level_clear, level_beyond = _sides(along, x[lefts].T, x[rights].T)
    clear = np.stack([steep_clear[lefts], steep_clear[rights], level_clear[tops].T, level_clear[bottoms].T])
    beyond = np.stack([steep_beyond[lefts], steep_beyond[rights], level_beyond[tops].T, level_beyond[bottoms].T])
    rows, columns = (lefts[:, None], rights[:, None], rights[:, None], lefts[:, None]), (tops, tops, bottoms, bottoms)
    xs, ys = (np.stack([axis[at] for at in zip(rows, columns, strict=True)]) for axis in (x, y))
    across, upright = np.minimum(xs[1] - xs[0], xs[2] - xs[3]), np.minimum(ys[3] - ys[0], ys[2] - ys[1])
    usable = np.minimum(across, upright) > MIN_SIDE_SHARE * max(height, width)
    for at, size in ((xs, width), (ys, height)):
        usable &= (at.min(axis=0) > -_SPARE * size) & (at.max(axis=0) < (1 + _SPARE) * size)
    area = np.log(np.maximum(across * upright / (height * width), 1e-4))
    score = np.where(usable, clear.mean(axis=0) + 0.7 * clear.min(axis=0) - 0.45 * beyond.mean(axis=0) + 0.04 * area, -np.inf)
    best = np.argsort(-score, axis=None, kind="stable")[:most]
    best = best[np.isfinite(score.reshape(-1)[best])]
    return np.stack([xs.reshape(4, -1)[:, best].T, ys.reshape(4, -1)[:, best].T], -1).astype(np.float32)


def _sides(lines: _Bundle, start: Float64s, end: Float64s) -> tuple[Float64s, Float64s]:
    """How clear each line is between two others, and how clear the clearer end of what goes on beyond them."""
    which = np.arange(len(lines.lines))[:, None]
    far = np.maximum(8, 0.2 * (end - start)) + 3
    beyond = np.maximum(lines.clear(which, start - far, start - 3), lines.clear(which, end + 3, end + far))
    return lines.clear(which, start, end), beyond


def _segments(lab: NDArray[np.uint8]) -> Float64s:
    """Straight pieces of edges in any channel: x, y of both ends (n, 4)."""
    detector = cv2.createLineSegmentDetector(cv2.LSD_REFINE_NONE, 1.0)
    found = [detector.detect(channel)[0] for channel in cv2.split(lab)]
    segments = np.concatenate([np.empty((0, 4)), *(each.reshape(-1, 4) for each in found if each is not None)])
    return np.asarray(segments[np.hypot(*(segments[:, 2:] - segments[:, :2]).T) > 0.025 * max(lab.shape)], np.float64)


def _bundle(lab: NDArray[np.uint8], segments: Float64s) -> _Bundle:
    """The longest level lines of a picture, and its upper and lower border, as lines along x."""
    height, width = lab.shape[:2]
    lines = np.array([*_merged(segments, width / 2), (1.0, 0.0), (height - 2.0, 0.0)])
    lines = lines[np.argsort(lines[:, 0], kind="stable")]
    at = np.arange(0, width, _STEP)
    across = lines[:, :1] + lines[:, 1:] * (at - width / 2)
    upright = 1 / np.sqrt(1 + lines[:, 1:] ** 2)

    def colours(off: float) -> NDArray[np.float32]:
        rows = np.clip(np.rint(across + off * upright), 0, height - 1).astype(np.intp)
        columns = np.clip(np.rint(at - off * upright * lines[:, 1:]), 0, width - 1).astype(np.intp)
        return np.asarray(lab[rows, columns], np.float32)

    clear = np.minimum(1, np.linalg.norm(colours(_ACROSS) - colours(-_ACROSS), axis=2) / CLEAR_EDGE_CONTRAST)
    clear = np.where((across >= 0) & (across < height), clear, _UNKNOWN)
    return _Bundle(lines, np.concatenate([np.zeros((len(lines), 1)), np.cumsum(clear, axis=1)], axis=1))


def _merged(segments: Float64s, middle: float) -> list[tuple[float, float]]:
    """The lines that level segments lie on, those with the longest segments on them."""
    lengths = np.abs(segments[:, 2] - segments[:, 0])
    order = np.argsort(-lengths, kind="stable")[:300]
    segments, lengths = segments[order], lengths[order]
    left = np.ones(len(segments), bool)
    lines: list[tuple[float, float, float]] = []
    for first in range(len(segments)):
        if not left[first] or len(lines) == 3 * _LINES:
            continue
        x0, y0, x1, y1 = segments[first]
        slope = (y1 - y0) / (x1 - x0)
        place = y0 + slope * (middle - x0)
        on = left & _near(segments, middle, place, slope)
        x, y, weight = segments[on][:, ::2] - middle, segments[on][:, 1::2], lengths[on][:, None]
        x_mean, y_mean = (weight * x).sum() / weight.sum() / 2, (weight * y).sum() / weight.sum() / 2
        slope = float((weight * (x - x_mean) * (y - y_mean)).sum() / (weight * (x - x_mean) ** 2).sum())
        place = float(y_mean - slope * x_mean)
        on = left & _near(segments, middle, place, slope)
        on[first] = True
        left &= ~on
        lines.append((float(lengths[on].sum()), place, slope))
    return [(place, slope) for _, place, slope in sorted(lines, reverse=True)[:_LINES]]


def _near(segments: Float64s, middle: float, place: float, slope: float) -> NDArray[np.bool_]:
    """Which segments have both ends within two pixels of the line."""
    away = np.abs(segments[:, 1::2] - (place + slope * (segments[:, ::2] - middle)))
    return np.asarray(away.max(axis=1) < 2.2)


def find_contour_quads(lab: NDArray[np.uint8]) -> Quads:
    """The four-sided contours in a picture, (n, 4, 2) in its pixels, in any order; `lab` is smoothed, in Lab."""
    found = [quad for mask in _masks(lab) for quad in _quads(mask)]
    return np.array(found, np.float32).reshape(-1, 4, 2)


def _masks(lab: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    channels = cv2.split(lab)
    for low, high in ((15, 45), (50, 150)):
        edges = [cv2.Canny(channel, low, high) for channel in channels]
        yield np.asarray(cv2.dilate(np.maximum.reduce(edges), np.ones((3, 3), np.uint8)), np.uint8)
    sides = (lab[:_BORDER], lab[-_BORDER:], lab[:, :_BORDER], lab[:, -_BORDER:])
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


def _quads(mask: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """The convex hulls of contours that are nearly quadrilaterals."""
    least = _LEAST_AREA * mask.size
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
