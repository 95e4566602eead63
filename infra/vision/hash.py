"""PDQ, the perceptual hash that Meta published with ThreatExchange: 256 bits that hardly change when a picture is re-encoded,
resized or lightly edited.

The luma is smoothed with Jarosz's filter (two passes of a box along each axis) and sampled to 64x64. The hash has one bit for each
of the 16x16 lowest frequencies of its cosine transform, without the zeroth: 1 if it is above their median. Two unrelated pictures
differ in about 128 bits, two files of one picture in at most 31. The hashes of the turned and mirrored pictures cost little more
than one.
"""

from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from infra.vision.features import resize_picture

PDQ_SIDE_PX: Final = 512
"""Pictures are scaled to a square of this side first: larger ones as Meta's own tools do, smaller ones so that dithering is
smoothed.
"""

_GRID: Final = 64
_KEPT_FREQUENCIES: Final = 16
_QUALITY_DIVISOR: Final = 90
"""The sum of the gradients is divided by this to give a quality of up to 100, as published."""


def compute_pdq(rgb: NDArray[np.uint8]) -> tuple[bytes, int]:
    """Return the hash (32 bytes, highest bit first as in Meta's hex) and its quality, from 0 for a blank picture to 100.

    Below a quality of 50 the picture has too few gradients for a reliable hash.
    """
    sampled = _jarosz_filter(PDQ_SIDE_PX) @ _luma(rgb, PDQ_SIDE_PX) @ _jarosz_filter(PDQ_SIDE_PX).T
    return _hash_bits(sampled).tobytes(), _measure_quality(sampled)


def compute_pdq_turns(rgb: NDArray[np.uint8], side_px: int = PDQ_SIDE_PX) -> NDArray[np.uint8]:
    """Return the hashes (8, 32) of the picture turned clockwise by 0, 90, 180 and 270 degrees, then of its mirror image (left to
    right) turned in the same way.

    The filter is flipped instead of the picture, so a few bits may differ from the hash of the turned picture. `side_px` is the
    side that the picture is scaled to: a smaller one is enough for a small picture and costs less.
    """
    plain, flipped, luma = _jarosz_filter(side_px), _jarosz_filter(side_px)[:, ::-1], _luma(rgb, side_px)
    down, up = plain @ luma, flipped @ luma
    turned = [down @ plain.T, (up @ plain.T).T, up @ flipped.T, (down @ flipped.T).T]
    mirrored = [down @ flipped.T, (up @ flipped.T).T, up @ plain.T, (down @ plain.T).T]
    return np.stack([_hash_bits(sampled) for sampled in (*turned, *mirrored)])


def hamming_distance(one: bytes, other: bytes) -> int:
    """Return the number of bits that differ between two hashes."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _luma(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.float64]:
    return np.asarray(cv2.cvtColor(resize_picture(rgb, side_px, side_px).astype(np.float32), cv2.COLOR_RGB2GRAY), np.float64)


def _hash_bits(sampled: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the hash: which waves are above their median. They are rounded first, so that a blank picture has the same bits on
    every machine.
    """
    waves = np.round(_cosine_rows() @ sampled @ _cosine_rows().T, 6).reshape(-1) + 0.0
    median = np.partition(waves, waves.size // 2 - 1)[waves.size // 2 - 1]
    return np.packbits((waves > median)[::-1])


def _measure_quality(sampled: NDArray[np.float64]) -> int:
    steps = (np.trunc(np.diff(sampled, axis=axis) * 100 / 255) for axis in (0, 1))
    return min(100, int(sum(np.abs(step).sum() for step in steps)) // _QUALITY_DIVISOR)


@cache
def _jarosz_filter(side_px: int) -> NDArray[np.float64]:
    """Return Jarosz's filter and the sampling as one matrix (64, side_px)."""
    window = side_px // (2 * _GRID)
    at = np.arange(side_px)
    ahead = at[None] - at[:, None]
    box = ((ahead <= window // 2) & (ahead > window // 2 - window)).astype(np.float64)
    box /= box.sum(axis=1, keepdims=True)
    return np.asarray((box @ box)[(np.arange(_GRID) * side_px + side_px // 2) // _GRID])


@cache
def _cosine_rows() -> NDArray[np.float64]:
    """Return the rows of the cosine transform for the frequencies 1 to 16."""
    wave, at = np.mgrid[1 : _KEPT_FREQUENCIES + 1, :_GRID]
    return np.asarray(np.sqrt(2 / _GRID) * np.cos(np.pi / 2 / _GRID * wave * (2 * at + 1)))
