"""Which colours a picture has, wherever they are: what a crop without details has in common with the whole.

Histogram intersection, after Swain and Ballard (Color Indexing, IJCV 1991), with one difference: a part has more of some colours
than the whole has, so the archived picture's shares may be multiplied.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LAB_STEPS: Final = 12
"""Along each axis of Lab."""

FULL_SHARE: Final = 255
"""What an archived picture that has one colour only has of it."""

COLOUR_BINS: Final = 568
"""Of all bins those that colours of a screen fall into."""

_ASKED: Final = 48
"""Bins of a question that are compared, those it has most of."""

_PARTS: Final = (1, 2, 4, 8)
"""How many times the whole a part may have of its colours."""

_DOUBT: Final = 0.03
"""What each doubling costs."""

Floats = NDArray[np.float32]


def compute_histogram(rgb: NDArray[np.uint8]) -> Floats:
    """The share of a picture (h, w, 3) in each bin (BINS,); each pixel counts in the eight bins around it."""
    counted = np.zeros(LAB_STEPS**3)
    for at, weight in _cells(rgb):
        counted += np.bincount(at, weight, LAB_STEPS**3)
    return np.asarray(counted[_bins()] / max(rgb[..., 0].size, 1), np.float32)


def quantise_shares(shares: Floats) -> NDArray[np.uint8]:
    """The shares as an archived picture's are kept."""
    return np.asarray(np.rint(shares * FULL_SHARE), np.uint8)


def compute_explained_share(asked: Floats, archived: NDArray[np.uint8]) -> Floats:
    """How much of a question's colours (BINS,) each archived picture (n, BINS) may account for, 0 to 1."""
    most = np.argsort(-asked, kind="stable")[:_ASKED]
    shares = asked[most] / max(float(asked[most].sum()), 1e-6)
    parts = np.zeros((len(_PARTS), len(archived)), np.float32)
    for share, bin_ in zip(shares, most, strict=True):
        theirs = archived[:, bin_] * np.float32(1 / FULL_SHARE)
        for part, times in zip(parts, _PARTS, strict=True):
            part += np.minimum(share, theirs * np.float32(times))
    parts *= (1 - _DOUBT * np.log2(_PARTS))[:, None].astype(np.float32)
    best: Floats = parts.max(axis=0)
    return best


@cache
def _bins() -> NDArray[np.intp]:
    """The bins that any colour of a screen falls into."""
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    return np.unique(np.concatenate([at for at, _ in _cells(cube)]))


def _cells(rgb: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """The eight bins around each pixel, one after the other: the number of the bin, and how near it is, 0 to 1."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32) * np.float32((LAB_STEPS - 1) / 255)
    low = np.minimum(lab.astype(np.intp), LAB_STEPS - 2)
    high = lab - low
    for corner in np.ndindex(2, 2, 2):
        at = np.ravel_multi_index(tuple((low + corner).T), (LAB_STEPS, LAB_STEPS, LAB_STEPS))
        yield at, np.where(corner, high, 1 - high).prod(axis=1)
