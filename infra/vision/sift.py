"""Local features: SIFT points with RootSIFT descriptors of one byte a number.

Descriptors are compared by their Euclidean distance: RootSIFT (the square roots of a descriptor of sum 1) makes that the Hellinger
distance of the gradients, which tells two patches apart better.
"""

from functools import cache
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

N = TypeVar("N", bound=np.generic)

LENGTH: Final = 255
"""The Euclidean length of every descriptor, but for rounding."""

ARCHIVED: Final = 430
"""How many features an archived picture of one map has at most."""

MORE_A_MAP: Final = 50
ARCHIVED_AT_MOST: Final = 900
"""What each further map adds, since any of them may be asked for alone, and how many features there are in the end."""

ASKED: Final = 900
"""How many the whole of a question has at most."""

_CONTRAST: Final = 0.01
"""A quarter of OpenCV's: flat art and dark screenshots have weak features or none, and the strongest are taken anyhow."""

LONGEST: Final = 768
"""Larger pictures are made smaller first: their finest detail is noise."""

_LEAST_SIDE: Final = 512
"""Smaller ones are made larger, so that the dithering of a map of 128 pixels becomes a texture and its outlines become features."""

_SPARE: Final = 1.5
"""How many more are described than are kept."""

_MAP: Final = 128
_CELLS: Final = 6
_SIZES: Final = (4.0, 8.0, 16.0)
"""Features are spread over so many cells across and down, and over sizes below, between and above these, in pixels."""


def most_of(width: int, height: int) -> int:
    """How many features an archived picture of that size is worth."""
    return min(ARCHIVED_AT_MOST, ARCHIVED + MORE_A_MAP * max(0, round(width * height / _MAP**2) - 1))


def features_of(
    rgb: NDArray[np.uint8], most: int, longest: int = LONGEST, *, spread: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The strongest `most` features: points (n, 4) as in `Print`, in pixels of the picture as given, and descriptors (n, 128).

    Of those that are `spread`, half are the strongest of all and half those of their part of the picture, so that any part may be
    asked for. The picture is brought to a longer side of 512 to `longest` pixels; what is no picture to speak of has no features.
    """
    height, width = rgb.shape[:2]
    longer = max(height, width)
    factor = min(max(longer, min(_LEAST_SIDE, longest)), longest) / longer
    size = max(1, round(width * factor)), max(1, round(height * factor))
    grey = cv2.cvtColor(resized(rgb, *size), cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT.create(nfeatures=round(most * _SPARE), contrastThreshold=_CONTRAST)
    found, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return np.empty((0, 4), np.float32), np.empty((0, 128), np.uint8)
    points = np.array([(*each.pt, each.size, each.angle) for each in found], np.float32)
    strength = np.array([each.response * each.size**0.5 for each in found])
    best = _spread(points, strength, size, most) if spread else np.argsort(-strength, kind="stable")[:most]
    points[:, :2] = (points[:, :2] + 0.5) / np.array([size[0] / width, size[1] / height], np.float32) - 0.5
    points[:, 2] /= factor
    return points[best], rooted(np.asarray(descriptors[best], np.float32))


def _spread(points: NDArray[np.float32], strength: NDArray[np.float64], size: tuple[int, int], most: int) -> NDArray[np.intp]:
    """The strongest half, then the strongest of each cell and size, the second of each, and so on."""
    order = np.argsort(-strength, kind="stable")
    first, rest = order[: most // 2], order[most // 2 :]
    cells = np.clip(points[rest, :2] * _CELLS / np.array(size), 0, _CELLS - 1).astype(np.intp)
    groups = (cells[:, 1] * _CELLS + cells[:, 0]) * (len(_SIZES) + 1) + np.digitize(points[rest, 2], _SIZES)
    by_group = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[by_group], groups[by_group])
    rank = np.empty(len(rest), np.intp)
    rank[by_group] = np.arange(len(rest)) - starts
    return np.concatenate([first, rest[np.argsort(rank, kind="stable")[: most - len(first)]]])


def resized(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture in another size: averaged where it shrinks, interpolated where it grows."""
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def rooted(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SIFT's descriptors as RootSIFT in bytes."""
    sums = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.rint(np.sqrt(descriptors / sums) * LENGTH), np.uint8)


def mirrored(descriptors: NDArray[N]) -> NDArray[N]:
    """The descriptors that the same patches have in the mirror image, however it is turned.

    A descriptor is laid along its patch's own direction, so that every mirroring flips it across that direction: the four rows
    of cells change places, and the eight directions of each cell go the other way round.
    """
    return np.ascontiguousarray(descriptors[:, _mirror()])


@cache
def _mirror() -> NDArray[np.intp]:
    cells = np.arange(128).reshape(4, 4, 8)
    return cells[::-1][:, :, (-np.arange(8)) % 8].reshape(-1)
