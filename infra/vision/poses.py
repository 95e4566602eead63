"""The pose of a feature: how it is turned and how large it is, in two bytes.

A picture that is shown turned, larger or smaller has all its features turned and scaled alike. That can be counted without knowing
where they are: weak geometric consistency, as Jégou, Douze and Schmid call it (ECCV 2008).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Poses = NDArray[np.uint16]
"""The higher byte is the angle, in 256 steps of a circle; the lower the size, in 16 steps an octave from a quarter of a pixel."""

TURNS: Final = 256
AN_OCTAVE: Final = 16
_LEAST_SIZE: Final = 0.25


def poses_of(points: NDArray[np.float32]) -> Poses:
    """The poses (n,) of features (n, 4) as in `Print`."""
    turns = np.rint(points[:, 3] * (TURNS / 360)).astype(np.int64) % TURNS
    sizes = np.rint(AN_OCTAVE * np.log2(np.maximum(points[:, 2], _LEAST_SIZE) / _LEAST_SIZE)).clip(0, 255).astype(np.int64)
    poses: Poses = (turns << 8 | sizes).astype(np.uint16)
    return poses


def mirrored_poses(poses: Poses) -> Poses:
    """What they are in the mirror image, left and right changed."""
    return ((TURNS // 2 - (poses >> 8).astype(np.int64)) % TURNS << 8 | poses & 255).astype(np.uint16)
