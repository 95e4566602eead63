"""Near hashes: archived pictures whose PDQ differs from one of the question's in few of its 256 bits."""

import numpy as np
from numpy.typing import NDArray

NEAR = 40
"""Bits in which re-encoded and resized copies differ at most; two pictures differ in about 128."""

NEAR_IF_POOR = 16
"""The same for a picture of which the hash says little, as it has few edges."""

POOR = 50
"""Below this quality (0 to 100) the hash says little."""

FAR = 256


def distances(hashes: NDArray[np.uint64], quality: NDArray[np.uint8], asked: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each archived hash (n, 4) the bits to the nearest of those asked with (m, 4); FAR where that is not near."""
    nearest = np.full(len(hashes), FAR)
    columns = np.ascontiguousarray(hashes.T)
    for one in np.unique(asked, axis=0):
        half = np.bitwise_count(columns[0] ^ one[0]) + np.bitwise_count(columns[1] ^ one[1])
        rows = np.flatnonzero(half <= NEAR)
        rest = np.bitwise_count(hashes[rows, 2:] ^ one[2:]).sum(axis=1, dtype=np.int64)
        np.minimum.at(nearest, rows, half[rows] + rest)
    bound = np.where(quality < POOR, NEAR_IF_POOR, NEAR)
    return np.where(nearest <= bound, nearest, FAR)
