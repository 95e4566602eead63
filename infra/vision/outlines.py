"""Quadrilaterals from contours: of edges, of what differs from the picture's border, of light and dark areas in each channel."""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from infra.vision.lines import LEAST, Quads

_LEAST_AREA: Final = 0.003
"""Of the picture's."""

_BORDER: Final = 4
"""Pixels at the picture's border that tell the colour of what lies around."""


def contour_quads(lab: NDArray[np.uint8]) -> Quads:
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
        if width * height < least or min(width, height) < LEAST * max(mask.shape):
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
