"""PDQ, the perceptual hash that Meta published with ThreatExchange: 256 bits that stay nearly the same when a picture is
re-encoded, resized or lightly edited, and hashes of its turned and mirrored images for little more than the price of one.

The luma is smoothed by Jarosz's filter (two passes of a box along each axis) and sampled to 64x64, of whose cosine transform the
16x16 lowest frequencies but the zeroth are kept: a bit for each that is above their median. Two unrelated pictures differ in about
128 bits, two files of one picture in 31 at the most.
"""

from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from infra.vision.features import resize_picture

PDQ_SIDE_PX: Final = 512
"""Pictures are brought to this size before: larger ones as Meta's own tools do, smaller ones so that dithering is smoothed."""

_GRID: Final = 64
_KEPT: Final = 16
_QUALITY: Final = 90
"""By which the sum of the gradients is divided to make a figure up to 100, as published."""


def compute_pdq(rgb: NDArray[np.uint8]) -> tuple[bytes, int]:
    """The hash (32 bytes, the first bit the highest as in Meta's hex) and its quality, 0 for a blank picture to 100.

    Below a quality of 50 the picture has too few gradients for the hash to say much.
    """
    sampled = _filter(PDQ_SIDE_PX) @ _luma(rgb, PDQ_SIDE_PX) @ _filter(PDQ_SIDE_PX).T
    return _bits(sampled).tobytes(), _quality(sampled)


def compute_pdq_turns(rgb: NDArray[np.uint8], full: int = PDQ_SIDE_PX) -> NDArray[np.uint8]:
    """The hashes (8, 32) of the picture turned clockwise by 0, 90, 180 and 270 degrees, and then of its mirror image (left to
    right) turned likewise: those of the truly turned pictures but for a bit here and there, since flipping the filter is as good.

    A smaller `full` does for small pictures and costs less.
    """
    plain, flipped, luma = _filter(full), _filter(full)[:, ::-1], _luma(rgb, full)
    down, up = plain @ luma, flipped @ luma
    turned = [down @ plain.T, (up @ plain.T).T, up @ flipped.T, (down @ flipped.T).T]
    mirrored = [down @ flipped.T, (up @ flipped.T).T, up @ plain.T, (down @ plain.T).T]
    return np.stack([_bits(sampled) for sampled in (*turned, *mirrored)])


def hamming_distance(one: bytes, other: bytes) -> int:
    """In how many bits two hashes differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _luma(rgb: NDArray[np.uint8], full: int) -> NDArray[np.float64]:
    return np.asarray(cv2.cvtColor(resize_picture(rgb, full, full).astype(np.float32), cv2.COLOR_RGB2GRAY), np.float64)


def _bits(sampled: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Which waves are above the median; rounded before, so that a blank picture has the same bits on every machine."""
    waves = np.round(_cosines() @ sampled @ _cosines().T, 6).reshape(-1) + 0.0
    median = np.partition(waves, waves.size // 2 - 1)[waves.size // 2 - 1]
    return np.packbits((waves > median)[::-1])


def _quality(sampled: NDArray[np.float64]) -> int:
    steps = (np.trunc(np.diff(sampled, axis=axis) * 100 / 255) for axis in (0, 1))
    return min(100, int(sum(np.abs(step).sum() for step in steps)) // _QUALITY)


@cache
def _filter(full: int) -> NDArray[np.float64]:
    """Jarosz's filter and the sampling as one matrix (64, full)."""
    window = full // (2 * _GRID)
    at = np.arange(full)
    ahead = at[None] - at[:, None]
    box = ((ahead <= window // 2) & (ahead > window // 2 - window)).astype(np.float64)
    box /= box.sum(axis=1, keepdims=True)
    return np.asarray((box @ box)[(np.arange(_GRID) * full + full // 2) // _GRID])


@cache
def _cosines() -> NDArray[np.float64]:
    """The rows of the cosine transform for the frequencies 1 to 16."""
    wave, at = np.mgrid[1 : _KEPT + 1, :_GRID]
    return np.asarray(np.sqrt(2 / _GRID) * np.cos(np.pi / 2 / _GRID * wave * (2 * at + 1)))
