"""How an archived picture lies in a question: a homography through local features, if one is plausible.

A *frame* is a 3x3 matrix that takes the archived picture's fractions (0 to 1 across and down) to the question's. All else
follows from it.

Which local features of a question may be the same spots as an archived picture's: by descriptor, then by scale and direction.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LOWE_RATIO: Final = 0.85
"""A feature's nearest neighbour must be this much nearer than the next: repeated texture has many neighbours as near."""

MIN_DESCRIPTOR_COSINE: Final = 0.8
"""The cosine of two descriptors from which they may show one spot where the geometry already says so."""

CHANCE_OFFSET: Final = 4.0
"""How far beside the place it is looked for what agrees by chance, in the distances that points may be off."""

MAX_COMPARED_FEATURES: Final = 1_500
"""Features of one picture that are compared; prints have fewer."""

_STEPS_OF_ANGLE: Final = 12
_OCTAVES: Final = 12

Matrix = NDArray[np.float64]

MIN_PAIRS: Final = 5
"""Pairs below which no homography is tried: four points always have one."""

LATTICE_CELLS: Final = 40
"""Agreeing points in one cell of a lattice of this many cells across the archived picture count once."""

_STEEPEST: Final = 5.0
"""How differently the two directions of the picture may be scaled: it is seen at 78 degrees then."""

TOLERANCE_FACTOR: Final = 2.5
MIN_PRECISION_PX: Final = 0.7
"""How far off a point may be, in what points are exact to, and what that is at best in pixels of its own picture."""

_SIDE: Final = 700
_ITERATIONS: Final = 1_000
_CONFIDENCE: Final = 0.999

MIRROR: Final = np.array([[-1, 0, 1], [0, 1, 0], [0, 0, 1]], np.float64)
"""From a picture's fractions to those of its mirror image."""

CORNERS: Final = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


class Features(NamedTuple):
    """`points` (n, 4) are x, y, scale and angle (degrees) in pixels, `descriptors` (n, 128) have unit length."""

    points: Floats
    descriptors: Floats


class Pairs(NamedTuple):
    """The indices of features that may be the same: the question's, and the archived picture's."""

    asked: NDArray[np.intp]
    archived: NDArray[np.intp]


def normalise_features(points: Floats, descriptors: NDArray[np.uint8]) -> Features:
    """A print's features as they are compared."""
    unit = descriptors[:MAX_COMPARED_FEATURES].astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    return Features(points[:MAX_COMPARED_FEATURES], unit)


def compute_cosines(asked: Features, archived: Features) -> Floats:
    """How alike each of the question's features is to each archived one."""
    alike: Floats = asked.descriptors @ archived.descriptors.T
    return alike


def find_putative_pairs(alike: Floats, asked: Features, archived: Features) -> Pairs:
    """The pairs that are nearer than any other, and whose scales and directions differ as most others' do."""
    if alike.shape[0] == 0 or alike.shape[1] < 2:
        return Pairs(np.empty(0, np.intp), np.empty(0, np.intp))
    rows = np.arange(len(alike))
    nearest = alike.argmax(axis=1)
    best = alike[rows, nearest]
    alike[rows, nearest] = -1
    second = alike.max(axis=1)
    alike[rows, nearest] = best
    kept = np.flatnonzero((1 - best) < LOWE_RATIO**2 * (1 - second))
    pairs = Pairs(kept, nearest[kept])
    chosen = select_consistent(asked.points[pairs.asked], archived.points[pairs.archived])
    return Pairs(pairs.asked[chosen], pairs.archived[chosen])


def select_consistent(asked: Floats, archived: Floats) -> NDArray[np.bool_]:
    """Which pairs of points are scaled and turned like the greatest group of them: within 45 degrees and an octave and a half.

    Perspective changes both within one picture, but by less; pairs made by chance are spread over all turns and sizes.
    """
    if not len(asked):
        return np.empty(0, np.bool_)
    turn = ((asked[:, 3] - archived[:, 3]) % 360) * (_STEPS_OF_ANGLE / 360)
    octave = np.clip(np.log2(np.maximum(asked[:, 2], 1e-3) / np.maximum(archived[:, 2], 1e-3)) + _OCTAVES / 2, 0, _OCTAVES - 1e-3)
    votes = np.zeros((_STEPS_OF_ANGLE, _OCTAVES), np.intp)
    np.add.at(votes, (turn.astype(np.intp) % _STEPS_OF_ANGLE, octave.astype(np.intp)), 1)
    around = votes + np.roll(votes, 1, axis=0) + np.roll(votes, -1, axis=0)
    padded = np.pad(around, ((0, 0), (1, 1)))
    around = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    at_turn, at_octave = np.unravel_index(int((around * 64 + votes).argmax()), around.shape)
    off = np.abs((turn - at_turn - 0.5 + _STEPS_OF_ANGLE / 2) % _STEPS_OF_ANGLE - _STEPS_OF_ANGLE / 2)
    near: NDArray[np.bool_] = (off <= 1.5) & (np.abs(octave - at_octave - 0.5) <= 1.5)
    return near


class SimilarPairs(NamedTuple):
    """The indices of all features that are alike, and how alike they are: what a homography chooses from."""

    asked: NDArray[np.intp]
    archived: NDArray[np.intp]
    alike: Floats


def find_similar_pairs(alike: Floats) -> SimilarPairs:
    """The features that may show one spot where the geometry says so."""
    rows, columns = np.divmod(np.flatnonzero(alike >= MIN_DESCRIPTOR_COSINE), max(alike.shape[1], 1))
    return SimilarPairs(rows, columns, alike[rows, columns])


def match_guided(alike: SimilarPairs, expected: Floats, asked: Floats, within: float) -> Pairs:
    """The pairs that lie where a homography says, one to one: `expected` (n, 4) are the archived points as it moves them.

    `asked` are the question's points, and `within` is in its pixels. It finds the spots again that the ratio test has to leave out:
    repeated texture.
    """
    return _one_to_one(_turned(_there(alike, expected, asked, within), expected, asked))


def count_chance_pairs(alike: SimilarPairs, expected: Floats, asked: Floats, within: float) -> float:
    """How many pairs lie so by chance: as many as lie where the homography does not say, a little way off.

    Dithering, bricks and letters are alike wherever one looks; so many of them agree with any homography.
    """
    beside = [
        np.array([x * CHANCE_OFFSET * within, y * CHANCE_OFFSET * within, 0, 0], np.float32)
        for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]
    turned = _turned(alike, expected, asked)
    return float(np.mean([len(_one_to_one(_there(turned, expected + off, asked, within)).asked) for off in beside]))


def _there(alike: SimilarPairs, expected: Floats, asked: Floats, within: float) -> SimilarPairs:
    """The pairs that lie where they should."""
    off = asked[alike.asked, :2] - expected[alike.archived, :2]
    return _some(alike, np.flatnonzero(off[:, 0] ** 2 + off[:, 1] ** 2 <= within**2))


def _turned(alike: SimilarPairs, expected: Floats, asked: Floats) -> SimilarPairs:
    """The pairs that are scaled and turned as they should be."""
    found, wanted = asked[alike.asked, 2:], expected[alike.archived, 2:]
    chosen = np.abs((found[:, 1] - wanted[:, 1] + 180) % 360 - 180) <= 30
    chosen &= np.abs(np.log2(np.maximum(found[:, 0], 1e-3) / np.maximum(wanted[:, 0], 1e-3))) <= 0.9
    return _some(alike, np.flatnonzero(chosen))


def _one_to_one(alike: SimilarPairs) -> Pairs:
    """The most alike pairs, none of which shares a feature with another."""
    order = np.argsort(-alike.alike, kind="stable")
    rows, columns = alike.asked[order], alike.archived[order]
    first_row, first_column = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    first_row[np.unique(rows, return_index=True)[1]] = True
    first_column[np.unique(columns, return_index=True)[1]] = True
    both = first_row & first_column
    return Pairs(rows[both], columns[both])


def _some(alike: SimilarPairs, which: NDArray[np.intp]) -> SimilarPairs:
    return SimilarPairs(alike.asked[which], alike.archived[which], alike.alike[which])


@dataclass(frozen=True, slots=True)
class Alignment:
    """`frame` says where the archived picture lies; `points` agree, in places of their own.

    `pairs` (n, 4) are the agreeing points, x, y in the archived picture and x, y in the question, as fractions.
    """

    frame: Matrix
    points: int
    pairs: Floats


def transform_points(matrix: Matrix, points: NDArray[np.floating]) -> Matrix:
    """Points (n, 2) through a homography; those at or behind the horizon come out as not-a-number."""
    through = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    depth = np.where(through[:, 2:] > 1e-9, through[:, 2:], np.nan)
    out: Matrix = through[:, :2] / depth
    return out


def can_be_seen(frame: Matrix) -> bool:
    """Whether the whole archived picture has an outline in the question's plane: neither folded nor beyond the horizon."""
    outline = transform_points(frame, CORNERS)
    return bool(np.isfinite(outline).all() and cv2.isContourConvex(outline.astype(np.float32)))


def compute_jacobian(matrix: Matrix, at: NDArray[np.floating]) -> Matrix:
    """The linear part (n, 2, 2) of a homography at each point."""
    through = np.column_stack([at, np.ones(len(at))]) @ matrix.T
    depth = through[:, 2, None, None]
    out: Matrix = (matrix[None, :2, :2] - (through[:, :2, None] / depth) * matrix[None, 2:, :2]) / depth
    return out


def fractions_to_pixels(size: tuple[int, int]) -> Matrix:
    """From fractions of a picture to the coordinates of its pixels' centres."""
    return np.array([[size[0], 0, -0.5], [0, size[1], -0.5], [0, 0, 1]], np.float64)


def mirror_points(features: Features, width: int) -> Features:
    """The points of a picture in its mirror image; the descriptors are as given."""
    points = features.points.copy()
    points[:, 0] = width - 1 - points[:, 0]
    points[:, 3] = (180 - points[:, 3]) % 360
    return Features(points, features.descriptors)


def align_features(
    asked: Features, asked_size: tuple[int, int], archived: Features, archived_size: tuple[int, int], *, mirrored: bool = False
) -> Alignment | None:
    """How the archived picture lies in the question, or None. `mirrored` says that `asked` is of the question's mirror image."""
    if min(len(asked.points), len(archived.points)) < MIN_PAIRS:
        return None
    alike = compute_cosines(asked, archived)
    pairs = find_putative_pairs(alike, asked, archived)
    if len(pairs.asked) < MIN_PAIRS:
        return None
    scales = asked.points[pairs.asked, 2] / np.maximum(archived.points[pairs.archived, 2], 1e-3)
    within = _tolerance(float(np.median(scales)), asked_size, archived_size)
    matrix, chosen = _fitted(asked, archived, pairs, within)
    if matrix is None or not _plausible(matrix, archived.points[chosen.archived], archived_size, asked_size):
        return None
    similar = find_similar_pairs(alike)
    more = match_guided(similar, _expected(matrix, archived.points), asked.points, within)
    if len(more.asked) >= len(chosen.asked):
        again, agreeing = _fitted(asked, archived, more, within)
        if again is not None and _plausible(again, archived.points[agreeing.archived], archived_size, asked_size):
            matrix, chosen = again, agreeing
    pair = _paired(asked, asked_size, archived, archived_size, chosen)
    chance = count_chance_pairs(similar, _expected(matrix, archived.points), asked.points, within)
    frame = np.linalg.inv(fractions_to_pixels(asked_size)) @ matrix @ fractions_to_pixels(archived_size)
    if mirrored:
        frame = MIRROR @ frame
        pair[:, 2] = 1 - pair[:, 2]
    return Alignment(frame / frame[2, 2], _more(pair, chance), pair.astype(np.float32))


def verify_frame(
    frame: Matrix,
    asked: Features,
    asked_size: tuple[int, int],
    archived: Features,
    archived_size: tuple[int, int],
    *,
    mirrored: bool = False,
) -> Alignment:
    """The points that agree with a frame that something else than points told. `mirrored` as for `aligned`."""
    matrix = (
        fractions_to_pixels(asked_size)
        @ (MIRROR @ frame if mirrored else frame)
        @ np.linalg.inv(fractions_to_pixels(archived_size))
    )
    nothing = Alignment(frame, 0, np.empty((0, 4), np.float32))
    if not len(asked.points) or not len(archived.points):
        return nothing
    expected = _expected(matrix, archived.points)
    if not np.isfinite(expected).all():
        return nothing
    similar = find_similar_pairs(compute_cosines(asked, archived))
    within = _tolerance(float(np.median(expected[:, 2] / np.maximum(archived.points[:, 2], 1e-3))), asked_size, archived_size)
    pairs = match_guided(similar, expected, asked.points, within)
    chance = count_chance_pairs(similar, expected, asked.points, within)
    pair = _paired(asked, asked_size, archived, archived_size, pairs)
    if mirrored:
        pair[:, 2] = 1 - pair[:, 2]
    return Alignment(frame, _more(pair, chance), pair.astype(np.float32))


def _fitted(asked: Features, archived: Features, pairs: Pairs, within: float) -> tuple[Matrix | None, Pairs]:
    """The homography from the archived pixels to the question's through most of the pairs, and those pairs. Always the same."""
    if len(pairs.asked) < MIN_PAIRS:
        return None, pairs
    source, target = archived.points[pairs.archived, :2], asked.points[pairs.asked, :2]
    try:
        matrix, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, within, maxIters=_ITERATIONS, confidence=_CONFIDENCE)
    except cv2.error:
        return None, pairs
    if matrix is None or not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-9:
        return None, pairs
    agreeing = np.flatnonzero(np.asarray(inliers).ravel())
    return np.asarray(matrix, np.float64) / matrix[2, 2], Pairs(pairs.asked[agreeing], pairs.archived[agreeing])


def _tolerance(grown: float, asked_size: tuple[int, int], archived_size: tuple[int, int]) -> float:
    """How many of the question's pixels a point may be off: it is found to about a pixel of what it was sought in, in both."""
    ours, theirs = (max(MIN_PRECISION_PX, max(size) / _SIDE) for size in (asked_size, archived_size))
    return TOLERANCE_FACTOR * max(ours, grown * theirs)


def _expected(matrix: Matrix, points: Floats) -> Floats:
    """Archived points as the homography moves, scales and turns them."""
    local = compute_jacobian(matrix, points[:, :2])
    angle = np.radians(points[:, 3])
    along = np.einsum("nij,nj->ni", local, np.column_stack([np.cos(angle), np.sin(angle)]))
    scale = points[:, 2] * np.sqrt(np.abs(np.linalg.det(local)))
    turned = np.degrees(np.arctan2(along[:, 1], along[:, 0]))
    return np.column_stack([transform_points(matrix, points[:, :2]), scale, turned]).astype(np.float32)


def _plausible(matrix: Matrix, points: Floats, archived_size: tuple[int, int], asked_size: tuple[int, int]) -> bool:
    """Whether a camera could see it so: not folded, not a line, not a dot, and through points that are spread out."""
    if len(points) < MIN_PAIRS:
        return False
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    if np.linalg.eigvalsh(np.cov(points[:, :2].T))[0] < (0.015 * min(archived_size)) ** 2:
        return False
    box = low + CORNERS * (high - low)
    local = compute_jacobian(matrix, np.vstack([box, points[:, :2]]))
    stretch = np.linalg.svd(local, compute_uv=False)
    if not (np.linalg.det(local) > 0).all() or (stretch[:, 0] > _STEEPEST * stretch[:, 1]).any():
        return False
    area = float(cv2.contourArea(transform_points(matrix, box).astype(np.float32)))
    seen = can_be_seen(matrix @ np.diag([*archived_size, 1]))
    return seen and area >= 64 and area >= 1e-4 * asked_size[0] * asked_size[1]


def _paired(
    asked: Features, asked_size: tuple[int, int], archived: Features, archived_size: tuple[int, int], pairs: Pairs
) -> Matrix:
    """The points of each pair, x, y in the archived picture and x, y in the question, as fractions."""
    theirs = (archived.points[pairs.archived, :2].astype(np.float64) + 0.5) / np.array(archived_size)
    ours = (asked.points[pairs.asked, :2].astype(np.float64) + 0.5) / np.array(asked_size)
    return np.column_stack([theirs, ours])


def _more(pairs: Matrix, chance: float) -> int:
    """How many of the agreeing points lie in places of their own, beyond those that would by chance."""
    distinct = len(np.unique((np.clip(pairs[:, :2], 0, 0.9999) * LATTICE_CELLS).astype(np.intp), axis=0))
    return max(0, round(distinct - chance))
