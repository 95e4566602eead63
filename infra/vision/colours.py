"""Colour histograms: which colours a picture has, wherever they are. They find the whole picture for a crop without details.

Pictures are compared by histogram intersection (Swain and Ballard, "Color Indexing", IJCV 1991), with one difference: a crop has a
larger share of some colours than the whole picture, so the shares of the archived picture may be multiplied.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LAB_STEPS: Final = 12
"""Bins along each axis of Lab."""

FULL_SHARE: Final = 255
"""The stored share of a colour, if the archived picture has only this colour."""

COLOUR_BINS: Final = 568
"""How many of all bins can contain an sRGB colour."""

_COMPARED_BINS: Final = 48
"""The query is compared in this many bins: those with its largest shares."""

_MULTIPLIERS: Final = (1, 2, 4, 8)
"""The shares of the archived picture are multiplied by each of these, for a crop that shows only a part of it."""

_DOUBLING_PENALTY: Final = 0.03
"""Each doubling lowers the result by this share."""

Floats = NDArray[np.float32]


def compute_histogram(rgb: NDArray[np.uint8]) -> Floats:
    """Return the share of a picture (h, w, 3) in each bin: (COLOUR_BINS,). Each pixel counts in the eight bins around it."""
    counted = np.zeros(LAB_STEPS**3)
    for at, weight in _weighted_bins(rgb):
        counted += np.bincount(at, weight, LAB_STEPS**3)
    return np.asarray(counted[_possible_bins()] / max(rgb[..., 0].size, 1), np.float32)


def quantise_shares(shares: Floats) -> NDArray[np.uint8]:
    """Return the shares as bytes, as the index stores them."""
    return np.asarray(np.rint(shares * FULL_SHARE), np.uint8)


def compute_explained_share(query: Floats, archived: NDArray[np.uint8]) -> Floats:
    """Return how much of a query's colours (COLOUR_BINS,) each archived picture (n, COLOUR_BINS) can explain: 0 to 1."""
    most = np.argsort(-query, kind="stable")[:_COMPARED_BINS]
    shares = query[most] / max(float(query[most].sum()), 1e-6)
    parts = np.zeros((len(_MULTIPLIERS), len(archived)), np.float32)
    for share, bin_ in zip(shares, most, strict=True):
        theirs = archived[:, bin_] * np.float32(1 / FULL_SHARE)
        for part, times in zip(parts, _MULTIPLIERS, strict=True):
            part += np.minimum(share, theirs * np.float32(times))
    parts *= (1 - _DOUBLING_PENALTY * np.log2(_MULTIPLIERS))[:, None].astype(np.float32)
    best: Floats = parts.max(axis=0)
    return best


@cache
def _possible_bins() -> NDArray[np.intp]:
    """Return the bins that can contain an sRGB colour."""
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    return np.unique(np.concatenate([at for at, _ in _weighted_bins(cube)]))


def _weighted_bins(rgb: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """Yield each of the eight bins around every pixel: the number of the bin and its weight, 0 to 1."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32) * np.float32((LAB_STEPS - 1) / 255)
    low = np.minimum(lab.astype(np.intp), LAB_STEPS - 2)
    high = lab - low
    for corner in np.ndindex(2, 2, 2):
        at = np.ravel_multi_index(tuple((low + corner).T), (LAB_STEPS, LAB_STEPS, LAB_STEPS))
        yield at, np.where(corner, high, 1 - high).prod(axis=1)
