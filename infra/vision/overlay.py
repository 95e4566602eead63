"""Compare a query with an archived picture pixel by pixel: warp the query through a frame onto the archived thumb (64 by 64
pixels).
"""

from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from infra.vision.alignment import Matrix, fractions_to_pixels, transform_points
from infra.vision.prints import THUMB_PX

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
PixelMask = NDArray[np.bool_]

BLOCK_PX: Final = 12
"""Correlations are computed in square blocks of this side."""

BLOCK_STEP_PX: Final = 4
"""The distance between two neighbouring blocks."""

GRAIN: Final = 6.0
"""Noise, dithering and compression make this variance, and this contrast in levels of 255, in flat areas. Less than this counts
little.
"""

HALF_TRUST_SHARE: Final = 0.06
"""Where only this share of a thumb is seen and has contrast, the agreement is halved."""

MIN_SEEN_PIXELS: Final = 40
"""Colours are compared only if at least this many pixels of the thumb are seen."""

_PLANE_WEIGHTS: Final = (1.0, 0.6, 0.6)
"""The weights of light, red against green, and yellow against blue."""

_DARK_OFFSET: Final = 32.0
"""Added to every level before ratios are taken: a small difference of two dark levels is not another light."""

_OVERSAMPLING: Final = 4
_MARGIN_PX: Final = 16
_WIDE_SIDE_PX: Final = THUMB_PX + 2 * _MARGIN_PX
_WIDEN: Final = np.array(
    [[_WIDE_SIDE_PX / THUMB_PX, 0, -_MARGIN_PX / THUMB_PX], [0, _WIDE_SIDE_PX / THUMB_PX, -_MARGIN_PX / THUMB_PX], [0, 0, 1]]
)
_STOP: Final = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS


def mask_inside(frame: Matrix, side: int = THUMB_PX) -> PixelMask:
    """Return a mask (side, side) of the pixels of the archived picture, squeezed to a square, that lie inside the query."""
    at = transform_points(frame, _centres(side))
    with np.errstate(invalid="ignore"):
        within: PixelMask = ((at >= 0) & (at <= 1)).all(axis=1).reshape(side, side)
    return within


def warp_through(picture: Rgb, frame: Matrix, side: int = THUMB_PX, *, fine: int = _OVERSAMPLING) -> Rgb:
    """Return what the query shows where the frame places the archived picture: (side, side, 3).

    Outside the query its edge is repeated. `fine` is the oversampling factor.
    """
    fine_side = side * fine
    matrix = (
        fractions_to_pixels((picture.shape[1], picture.shape[0]))
        @ frame
        @ np.linalg.inv(fractions_to_pixels((fine_side, fine_side)))
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(picture, matrix, (fine_side, fine_side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(warped, (side, side), interpolation=cv2.INTER_AREA) if fine > 1 else warped, np.uint8)


def to_opponent_planes(picture: Rgb) -> Floats:
    """Return the opponent colours (h, w, 3): light, red against green, and yellow against blue, in levels of 255."""
    red, green, blue = (picture[..., i].astype(np.float32) for i in range(3))
    out: Floats = np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], axis=-1)
    return out


def compute_agreement(values: Floats, weights: Floats) -> float:
    """Return how well two pictures agree where both are seen: the weighted mean of the results of `correlate_blocks`, 0 to 1.

    The light and colours of a block are compared without their mean and strength, so that a colour cast, a shadow or a lamp does no
    harm. A negative correlation counts as 0, since something may stand in front of the picture there. Flat blocks have no weight.
    Where only little of the thumb has weight, the result is reduced towards 0.
    """
    total = float(weights.sum())
    if total <= 0:
        return 0.0
    mean = float((np.maximum(values, 0) * weights).sum()) / total
    share = total / weights.size
    return mean * share / (share + HALF_TRUST_SHARE)


class ColourFit(NamedTuple):
    """How well the colours of two pictures fit.

    `correlation` is that of their colours under the likeliest light, 0 to 1. `cast` is how coloured this light is: by how much, as
    a logarithm, it is stronger or weaker in one channel than on average.
    """

    correlation: float = 0.0
    cast: float = 0.0


def compare_colours(warped: Rgb, thumb: Rgb, within: PixelMask) -> ColourFit:
    """Compare the colours of two pictures. Each channel may be lighter or darker as a whole, but no more than that: the same
    drawing in other colours is another piece.
    """
    if within.sum() < MIN_SEEN_PIXELS:
        return ColourFit()
    ours, theirs = warped[within] + np.float32(_DARK_OFFSET), thumb[within] + np.float32(_DARK_OFFSET)
    light = np.median(np.log(theirs / ours), axis=0)
    ours_lit = (ours * np.exp(light)).ravel() - theirs.mean()
    theirs_centred = theirs.ravel() - theirs.mean()
    ours_lit -= ours_lit.mean()
    correlation = float(ours_lit @ theirs_centred) / max(float(np.linalg.norm(ours_lit) * np.linalg.norm(theirs_centred)), 1e-6)
    return ColourFit(max(correlation, 0.0), float(np.abs(light - light.mean()).max()))


def correlate_blocks(warped: Rgb, thumb: Rgb, within: PixelMask) -> tuple[Floats, Floats]:
    """Return the correlation of each block (n, n) and its weight (0 to 1).

    The weight is higher the more contrast the block has above the grain, and the more of it is seen.
    """
    mask = within.astype(np.float32)
    seen = _sum_blocks(mask)
    share = np.maximum(seen, 1)
    numerator, denominator, contrast = (np.zeros(seen.shape) for _ in range(3))
    for one, other, weight in zip(_opponent_planes(warped), _opponent_planes(thumb), _PLANE_WEIGHTS, strict=True):
        mean_one, mean_other = _sum_blocks(one * mask) / share, _sum_blocks(other * mask) / share
        both = _sum_blocks(one * other * mask) / share - mean_one * mean_other
        spread_one = np.maximum(_sum_blocks(one * one * mask) / share - mean_one**2, 0)
        spread_other = np.maximum(_sum_blocks(other * other * mask) / share - mean_other**2, 0)
        strength = weight * np.sqrt(spread_other)
        numerator = numerator + strength * both / np.sqrt((spread_one + GRAIN) * (spread_other + GRAIN))
        denominator = denominator + strength
        contrast = np.maximum(contrast, strength)
    values = numerator / np.maximum(denominator, 1e-6)
    whole = seen / (BLOCK_PX * BLOCK_PX)
    weights = np.where(whole >= 0.5, whole, 0) * contrast / (contrast + GRAIN) * (contrast > 0.5)
    return values.astype(np.float32), weights.astype(np.float32)


def refine_frame(picture: Rgb, thumb: Rgb, frame: Matrix, *, iterations: int = 20) -> Matrix:
    """Return a frame that fits better than one that is about right (within a tenth of the picture), or the same one."""
    around = warp_through(picture, frame @ _WIDEN, _WIDE_SIDE_PX, fine=2)
    within = mask_inside(frame @ _WIDEN, _WIDE_SIDE_PX).astype(np.uint8)
    warp = np.array([[1, 0, _MARGIN_PX], [0, 1, _MARGIN_PX], [0, 0, 1]], np.float32)
    model, light = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (thumb, around))
    for blur in (9, 3):
        try:
            _, found = cv2.findTransformECC(model, light, warp, cv2.MOTION_HOMOGRAPHY, (_STOP, iterations, 1e-3), within, blur)
        except cv2.error:
            return frame
        warp = np.asarray(found, np.float32)
    better: Matrix = (
        frame
        @ _WIDEN
        @ np.linalg.inv(fractions_to_pixels((_WIDE_SIDE_PX, _WIDE_SIDE_PX)))
        @ np.asarray(warp, np.float64)
        @ fractions_to_pixels((THUMB_PX, THUMB_PX))
    )
    return better / better[2, 2] if np.isfinite(better).all() and abs(better[2, 2]) > 1e-9 else frame


@cache
def _centres(side: int) -> Matrix:
    """Return the centres of the pixels of a square, row by row, as fractions."""
    middles = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def _opponent_planes(picture: Rgb) -> list[Floats]:
    opponent = to_opponent_planes(picture)
    return [opponent[..., i] for i in range(3)]


def _sum_blocks(values: Floats) -> Floats:
    """Return the sum of each block."""
    added = cv2.boxFilter(values, cv2.CV_32F, (BLOCK_PX, BLOCK_PX), anchor=(0, 0), normalize=False)
    return np.asarray(added[: THUMB_PX - BLOCK_PX + 1 : BLOCK_STEP_PX, : THUMB_PX - BLOCK_PX + 1 : BLOCK_STEP_PX], np.float32)
