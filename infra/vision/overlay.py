"""Two pictures laid over each other: a question, as it looks through a frame, and an archived thumb of 64 by 64 pixels."""

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
BLOCK_STEP_PX: Final = 4
"""Correlations are taken in blocks of BLOCK by BLOCK pixels, a STEP apart."""

GRAIN: Final = 6.0
"""Variance, and contrast in levels of 255, that noise, dithering and compression make of nothing: less than it counts little."""

HALF_TRUST_SHARE: Final = 0.06
"""The share of a thumb that must be seen and have contrast for an agreement to be believed in half."""

MIN_SEEN_PIXELS: Final = 40
"""Pixels of a thumb that must be seen for its colours to be compared."""

_WEIGHTS: Final = (1.0, 0.6, 0.6)
"""What light, red against green, and yellow against blue count."""

_DARK: Final = 32.0
"""What is added to every level: of two dark ones, a small difference is no other light."""

_FINE: Final = 4
_MARGIN: Final = 16
_SIDE: Final = THUMB_PX + 2 * _MARGIN
_WIDE: Final = np.array([[_SIDE / THUMB_PX, 0, -_MARGIN / THUMB_PX], [0, _SIDE / THUMB_PX, -_MARGIN / THUMB_PX], [0, 0, 1]])
_STOP: Final = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS


def mask_inside(frame: Matrix, side: int = THUMB_PX) -> PixelMask:
    """Which pixels (side, side) of the archived picture, squeezed to a square, lie within the question."""
    at = transform_points(frame, _centres(side))
    with np.errstate(invalid="ignore"):
        within: PixelMask = ((at >= 0) & (at <= 1)).all(axis=1).reshape(side, side)
    return within


def warp_through(picture: Rgb, frame: Matrix, side: int = THUMB_PX, *, fine: int = _FINE) -> Rgb:
    """What the question shows where the archived picture should lie, (side, side, 3); its edge goes on beyond its outside."""
    many = side * fine
    matrix = fractions_to_pixels((picture.shape[1], picture.shape[0])) @ frame @ np.linalg.inv(fractions_to_pixels((many, many)))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(picture, matrix, (many, many), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(warped, (side, side), interpolation=cv2.INTER_AREA) if fine > 1 else warped, np.uint8)


def to_opponent_planes(picture: Rgb) -> Floats:
    """Light, red against green, and yellow against blue (h, w, 3), in levels of 255."""
    red, green, blue = (picture[..., i].astype(np.float32) for i in range(3))
    out: Floats = np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], axis=-1)
    return out


def compute_agreement(values: Floats, weights: Floats) -> float:
    """How alike two pictures are where both are seen, 0 to 1: the mean of their `blocks`' correlations, each by its contrast.

    Each block's light and colours are compared without their mean and strength, so that a cast, a shade or a lamp do no harm. A
    block that says the opposite counts as one that says nothing, since something may stand in front of it. Flat blocks have no
    weight, and where little of the thumb has any the whole is drawn towards 0.
    """
    total = float(weights.sum())
    if total <= 0:
        return 0.0
    mean = float((np.maximum(values, 0) * weights).sum()) / total
    share = total / weights.size
    return mean * share / (share + HALF_TRUST_SHARE)


class ColourFit(NamedTuple):
    """How well the colours of two pictures go together: their correlation under the likeliest light, and how coloured that is.

    `alike` is 0 to 1; `cast` is by how much, as a logarithm, the light is stronger or weaker in one channel than in the mean.
    """

    alike: float = 0.0
    cast: float = 0.0


def compare_colours(warped: Rgb, thumb: Rgb, within: PixelMask) -> ColourFit:
    """The same drawing in other colours is another piece: each channel may be lighter or darker as a whole, and no more."""
    if within.sum() < MIN_SEEN_PIXELS:
        return ColourFit()
    ours, theirs = warped[within] + np.float32(_DARK), thumb[within] + np.float32(_DARK)
    light = np.median(np.log(theirs / ours), axis=0)
    lit = (ours * np.exp(light)).ravel() - theirs.mean()
    kept = theirs.ravel() - theirs.mean()
    lit -= lit.mean()
    alike = float(lit @ kept) / max(float(np.linalg.norm(lit) * np.linalg.norm(kept)), 1e-6)
    return ColourFit(max(alike, 0.0), float(np.abs(light - light.mean()).max()))


def correlate_blocks(warped: Rgb, thumb: Rgb, within: PixelMask) -> tuple[Floats, Floats]:
    """The correlation of each block (n, n), and its weight (0 to 1): its contrast above the grain, and how much of it is seen."""
    mask = within.astype(np.float32)
    seen = _sums(mask)
    share = np.maximum(seen, 1)
    up, down, contrast = (np.zeros(seen.shape) for _ in range(3))
    for one, other, weight in zip(_layers(warped), _layers(thumb), _WEIGHTS, strict=True):
        mean_one, mean_other = _sums(one * mask) / share, _sums(other * mask) / share
        both = _sums(one * other * mask) / share - mean_one * mean_other
        spread_one = np.maximum(_sums(one * one * mask) / share - mean_one**2, 0)
        spread_other = np.maximum(_sums(other * other * mask) / share - mean_other**2, 0)
        strength = weight * np.sqrt(spread_other)
        up = up + strength * both / np.sqrt((spread_one + GRAIN) * (spread_other + GRAIN))
        down = down + strength
        contrast = np.maximum(contrast, strength)
    values = up / np.maximum(down, 1e-6)
    whole = seen / (BLOCK_PX * BLOCK_PX)
    weights = np.where(whole >= 0.5, whole, 0) * contrast / (contrast + GRAIN) * (contrast > 0.5)
    return values.astype(np.float32), weights.astype(np.float32)


def refine_frame(picture: Rgb, thumb: Rgb, frame: Matrix, *, iterations: int = 20) -> Matrix:
    """A frame that fits better than one that is about right (within a tenth of the picture), or the same where none is found."""
    around = warp_through(picture, frame @ _WIDE, _SIDE, fine=2)
    within = mask_inside(frame @ _WIDE, _SIDE).astype(np.uint8)
    warp = np.array([[1, 0, _MARGIN], [0, 1, _MARGIN], [0, 0, 1]], np.float32)
    model, light = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (thumb, around))
    for blur in (9, 3):
        try:
            _, found = cv2.findTransformECC(model, light, warp, cv2.MOTION_HOMOGRAPHY, (_STOP, iterations, 1e-3), within, blur)
        except cv2.error:
            return frame
        warp = np.asarray(found, np.float32)
    better: Matrix = (
        frame
        @ _WIDE
        @ np.linalg.inv(fractions_to_pixels((_SIDE, _SIDE)))
        @ np.asarray(warp, np.float64)
        @ fractions_to_pixels((THUMB_PX, THUMB_PX))
    )
    return better / better[2, 2] if np.isfinite(better).all() and abs(better[2, 2]) > 1e-9 else frame


@cache
def _centres(side: int) -> Matrix:
    """The middles of a square's pixels, row by row, as fractions."""
    middles = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def _layers(picture: Rgb) -> list[Floats]:
    opponent = to_opponent_planes(picture)
    return [opponent[..., i] for i in range(3)]


def _sums(values: Floats) -> Floats:
    """The sum of each block, a STEP apart."""
    added = cv2.boxFilter(values, cv2.CV_32F, (BLOCK_PX, BLOCK_PX), anchor=(0, 0), normalize=False)
    return np.asarray(added[: THUMB_PX - BLOCK_PX + 1 : BLOCK_STEP_PX, : THUMB_PX - BLOCK_PX + 1 : BLOCK_STEP_PX], np.float32)
