"""Find where an archived picture lies in a query: match their local features and fit a homography to the pairs.

A *frame* is a homography as a 3x3 matrix. It maps fractions of the archived picture (0 to 1 across and down) to fractions of the
query. Turn, place, angle and panel are all derived from it.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LOWE_RATIO: Final = 0.85
"""Lowe's ratio test: the distance to the nearest descriptor must be less than this share of the distance to the second nearest.

Repeated texture fails the test, since many descriptors are equally near.
"""

MIN_DESCRIPTOR_COSINE: Final = 0.8
"""Two descriptors with at least this cosine may show the same point, provided that the homography agrees."""

CHANCE_OFFSET: Final = 4.0
"""Pairs that agree by chance are counted this many tolerances beside the expected place."""

MAX_COMPARED_FEATURES: Final = 1_500
"""At most this many features of one picture are compared. Prints have fewer."""

_ANGLE_BINS: Final = 12
_OCTAVE_BINS: Final = 12

Matrix = NDArray[np.float64]

MIN_PAIRS: Final = 5
"""With fewer pairs no homography is fitted. Through four pairs there is always one."""

LATTICE_CELLS: Final = 40
"""A lattice of this many cells across and down covers the archived picture. Inliers in the same cell count once."""

_MAX_STRETCH: Final = 5.0
"""One direction of the picture may be scaled at most this many times as much as the other: a view at 78 degrees."""

TOLERANCE_FACTOR: Final = 2.5
MIN_PRECISION_PX: Final = 0.7
"""A keypoint may be TOLERANCE_FACTOR times its precision away from the expected place. The precision is MIN_PRECISION_PX at best,
in pixels of its own picture.
"""

_PRECISE_SIDE_PX: Final = 700
"""In pictures with a longer side than this, keypoints are less precise, in proportion to the side."""

_RANSAC_ITERATIONS: Final = 1_000
_RANSAC_CONFIDENCE: Final = 0.999

MIRROR: Final = np.array([[-1, 0, 1], [0, 1, 0], [0, 0, 1]], np.float64)
"""Maps fractions of a picture to fractions of its mirror image."""

CORNERS: Final = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
"""The corners of a picture as fractions, clockwise from the top left."""


class Features(NamedTuple):
    """The local features of a picture.

    `keypoints` (n, 4) are x, y, scale and angle: pixels and degrees. `descriptors` (n, 128) have length 1.
    """

    keypoints: Floats
    descriptors: Floats


class Pairs(NamedTuple):
    """Indices of features that may be the same point: `query[i]` of the query, `archived[i]` of the archived picture."""

    query: NDArray[np.intp]
    archived: NDArray[np.intp]


def normalise_features(keypoints: Floats, descriptors: NDArray[np.uint8]) -> Features:
    """Return features with descriptors of length 1, at most MAX_COMPARED_FEATURES of them."""
    unit = descriptors[:MAX_COMPARED_FEATURES].astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    return Features(keypoints[:MAX_COMPARED_FEATURES], unit)


def compute_cosines(query: Features, archived: Features) -> Floats:
    """Return the cosine of each descriptor of the query (row) with each archived descriptor (column)."""
    cosines: Floats = query.descriptors @ archived.descriptors.T
    return cosines


def find_putative_pairs(cosines: Floats, query: Features, archived: Features) -> Pairs:
    """Return the pairs that pass the ratio test and agree with the others on scale and turn.

    `cosines` is the result of compute_cosines for these features.
    """
    if cosines.shape[0] == 0 or cosines.shape[1] < 2:
        return Pairs(np.empty(0, np.intp), np.empty(0, np.intp))
    rows = np.arange(len(cosines))
    nearest = cosines.argmax(axis=1)
    best = cosines[rows, nearest]
    cosines[rows, nearest] = -1
    second = cosines.max(axis=1)
    cosines[rows, nearest] = best
    kept = np.flatnonzero((1 - best) < LOWE_RATIO**2 * (1 - second))
    pairs = Pairs(kept, nearest[kept])
    chosen = select_consistent(query.keypoints[pairs.query], archived.keypoints[pairs.archived])
    return Pairs(pairs.query[chosen], pairs.archived[chosen])


def select_consistent(query: Floats, archived: Floats) -> NDArray[np.bool_]:
    """Return a mask of the pairs that are scaled and turned like the largest group: within 45 degrees and one and a half octaves.

    `query` and `archived` are the keypoints of the pairs, row by row. Perspective changes turn and scale within one picture too,
    but by less. Pairs made by chance are spread over all turns and scales.
    """
    if not len(query):
        return np.empty(0, np.bool_)
    turn = ((query[:, 3] - archived[:, 3]) % 360) * (_ANGLE_BINS / 360)
    octave = np.clip(
        np.log2(np.maximum(query[:, 2], 1e-3) / np.maximum(archived[:, 2], 1e-3)) + _OCTAVE_BINS / 2, 0, _OCTAVE_BINS - 1e-3
    )
    votes = np.zeros((_ANGLE_BINS, _OCTAVE_BINS), np.intp)
    np.add.at(votes, (turn.astype(np.intp) % _ANGLE_BINS, octave.astype(np.intp)), 1)
    around = votes + np.roll(votes, 1, axis=0) + np.roll(votes, -1, axis=0)
    padded = np.pad(around, ((0, 0), (1, 1)))
    around = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    at_turn, at_octave = np.unravel_index(int((around * 64 + votes).argmax()), around.shape)
    off = np.abs((turn - at_turn - 0.5 + _ANGLE_BINS / 2) % _ANGLE_BINS - _ANGLE_BINS / 2)
    in_group: NDArray[np.bool_] = (off <= 1.5) & (np.abs(octave - at_octave - 0.5) <= 1.5)
    return in_group


class SimilarPairs(NamedTuple):
    """Indices of all features with similar descriptors, and their cosines. A homography selects pairs from them."""

    query: NDArray[np.intp]
    archived: NDArray[np.intp]
    cosines: Floats


def find_similar_pairs(cosines: Floats) -> SimilarPairs:
    """Return all pairs with a cosine of at least MIN_DESCRIPTOR_COSINE."""
    rows, columns = np.divmod(np.flatnonzero(cosines >= MIN_DESCRIPTOR_COSINE), max(cosines.shape[1], 1))
    return SimilarPairs(rows, columns, cosines[rows, columns])


def match_guided(similar: SimilarPairs, expected: Floats, query: Floats, tolerance_px: float) -> Pairs:
    """Return the pairs that agree with a homography, one to one.

    `expected` (n, 4) are the archived keypoints as the homography maps them, `query` the keypoints of the query. This finds the
    points of repeated texture again, which the ratio test leaves out.
    """
    return _select_one_to_one(_select_same_pose(_select_same_place(similar, expected, query, tolerance_px), expected, query))


def count_chance_pairs(similar: SimilarPairs, expected: Floats, query: Floats, tolerance_px: float) -> float:
    """Return how many pairs agree with the homography by chance: as many as agree with it moved a little way off.

    Dithering, bricks and letters look alike everywhere, so many of them agree with any homography.
    """
    beside = [
        np.array([x * CHANCE_OFFSET * tolerance_px, y * CHANCE_OFFSET * tolerance_px, 0, 0], np.float32)
        for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]
    same_pose = _select_same_pose(similar, expected, query)
    counts = [len(_select_one_to_one(_select_same_place(same_pose, expected + off, query, tolerance_px)).query) for off in beside]
    return float(np.mean(counts))


def _select_same_place(similar: SimilarPairs, expected: Floats, query: Floats, tolerance_px: float) -> SimilarPairs:
    """Return the pairs whose keypoint lies within the tolerance of the expected place."""
    off = query[similar.query, :2] - expected[similar.archived, :2]
    return _take(similar, np.flatnonzero(off[:, 0] ** 2 + off[:, 1] ** 2 <= tolerance_px**2))


def _select_same_pose(similar: SimilarPairs, expected: Floats, query: Floats) -> SimilarPairs:
    """Return the pairs that are turned and scaled as expected."""
    found, wanted = query[similar.query, 2:], expected[similar.archived, 2:]
    chosen = np.abs((found[:, 1] - wanted[:, 1] + 180) % 360 - 180) <= 30
    chosen &= np.abs(np.log2(np.maximum(found[:, 0], 1e-3) / np.maximum(wanted[:, 0], 1e-3))) <= 0.9
    return _take(similar, np.flatnonzero(chosen))


def _select_one_to_one(similar: SimilarPairs) -> Pairs:
    """Return the pairs with the highest cosines, each feature in one pair at most."""
    order = np.argsort(-similar.cosines, kind="stable")
    rows, columns = similar.query[order], similar.archived[order]
    first_row, first_column = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    first_row[np.unique(rows, return_index=True)[1]] = True
    first_column[np.unique(columns, return_index=True)[1]] = True
    both = first_row & first_column
    return Pairs(rows[both], columns[both])


def _take(similar: SimilarPairs, which: NDArray[np.intp]) -> SimilarPairs:
    return SimilarPairs(similar.query[which], similar.archived[which], similar.cosines[which])


@dataclass(frozen=True, slots=True)
class Alignment:
    """How an archived picture lies in a query.

    `inliers` counts the pairs that agree with `frame`: one a lattice cell, less those expected by chance. `pairs` (n, 4) are all
    pairs that agree: x, y in the archived picture and x, y in the query, as fractions.
    """

    frame: Matrix
    inliers: int
    pairs: Floats


def transform_points(matrix: Matrix, points: NDArray[np.floating]) -> Matrix:
    """Map points (n, 2) through a homography. Points at or beyond the horizon become nan."""
    through = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    depth = np.where(through[:, 2:] > 1e-9, through[:, 2:], np.nan)
    out: Matrix = through[:, :2] / depth
    return out


def can_be_seen(frame: Matrix) -> bool:
    """Whether the whole archived picture has a convex outline in the query: it is neither folded nor beyond the horizon."""
    outline = transform_points(frame, CORNERS)
    return bool(np.isfinite(outline).all() and cv2.isContourConvex(outline.astype(np.float32)))


def compute_jacobian(matrix: Matrix, at: NDArray[np.floating]) -> Matrix:
    """Return the linear part (n, 2, 2) of a homography at each point."""
    through = np.column_stack([at, np.ones(len(at))]) @ matrix.T
    depth = through[:, 2, None, None]
    out: Matrix = (matrix[None, :2, :2] - (through[:, :2, None] / depth) * matrix[None, 2:, :2]) / depth
    return out


def fractions_to_pixels(size: tuple[int, int]) -> Matrix:
    """Return the matrix from fractions of a picture to pixel coordinates, where the centre of a pixel is a whole number."""
    return np.array([[size[0], 0, -0.5], [0, size[1], -0.5], [0, 0, 1]], np.float64)


def mirror_points(features: Features, width: int) -> Features:
    """Return the features with their keypoints moved to the mirror image. The descriptors stay as given."""
    keypoints = features.keypoints.copy()
    keypoints[:, 0] = width - 1 - keypoints[:, 0]
    keypoints[:, 3] = (180 - keypoints[:, 3]) % 360
    return Features(keypoints, features.descriptors)


def align_features(
    query: Features, query_size: tuple[int, int], archived: Features, archived_size: tuple[int, int], *, mirrored: bool = False
) -> Alignment | None:
    """Return how the archived picture lies in the query, or None where no plausible homography is found.

    The homography is fitted twice: to the pairs of the ratio test, then to all pairs that agree with the first one. `mirrored` says
    that the features of the query are those of its mirror image.
    """
    if min(len(query.keypoints), len(archived.keypoints)) < MIN_PAIRS:
        return None
    cosines = compute_cosines(query, archived)
    pairs = find_putative_pairs(cosines, query, archived)
    if len(pairs.query) < MIN_PAIRS:
        return None
    scales = query.keypoints[pairs.query, 2] / np.maximum(archived.keypoints[pairs.archived, 2], 1e-3)
    tolerance_px = _tolerance(float(np.median(scales)), query_size, archived_size)
    matrix, chosen = _fit_homography(query, archived, pairs, tolerance_px)
    if matrix is None or not _is_plausible(matrix, archived.keypoints[chosen.archived], archived_size, query_size):
        return None
    similar = find_similar_pairs(cosines)
    more = match_guided(similar, _map_keypoints(matrix, archived.keypoints), query.keypoints, tolerance_px)
    if len(more.query) >= len(chosen.query):
        refitted, inliers = _fit_homography(query, archived, more, tolerance_px)
        if refitted is not None and _is_plausible(refitted, archived.keypoints[inliers.archived], archived_size, query_size):
            matrix, chosen = refitted, inliers
    pair = _to_fractions(query, query_size, archived, archived_size, chosen)
    chance = count_chance_pairs(similar, _map_keypoints(matrix, archived.keypoints), query.keypoints, tolerance_px)
    frame = np.linalg.inv(fractions_to_pixels(query_size)) @ matrix @ fractions_to_pixels(archived_size)
    if mirrored:
        frame = MIRROR @ frame
        pair[:, 2] = 1 - pair[:, 2]
    return Alignment(frame / frame[2, 2], _count_inliers(pair, chance), pair.astype(np.float32))


def verify_frame(
    frame: Matrix,
    query: Features,
    query_size: tuple[int, int],
    archived: Features,
    archived_size: tuple[int, int],
    *,
    mirrored: bool = False,
) -> Alignment:
    """Return the pairs of features that agree with a frame from another source. `mirrored` as in align_features."""
    matrix = (
        fractions_to_pixels(query_size)
        @ (MIRROR @ frame if mirrored else frame)
        @ np.linalg.inv(fractions_to_pixels(archived_size))
    )
    nothing = Alignment(frame, 0, np.empty((0, 4), np.float32))
    if not len(query.keypoints) or not len(archived.keypoints):
        return nothing
    expected = _map_keypoints(matrix, archived.keypoints)
    if not np.isfinite(expected).all():
        return nothing
    similar = find_similar_pairs(compute_cosines(query, archived))
    tolerance_px = _tolerance(
        float(np.median(expected[:, 2] / np.maximum(archived.keypoints[:, 2], 1e-3))), query_size, archived_size
    )
    pairs = match_guided(similar, expected, query.keypoints, tolerance_px)
    chance = count_chance_pairs(similar, expected, query.keypoints, tolerance_px)
    pair = _to_fractions(query, query_size, archived, archived_size, pairs)
    if mirrored:
        pair[:, 2] = 1 - pair[:, 2]
    return Alignment(frame, _count_inliers(pair, chance), pair.astype(np.float32))


def _fit_homography(query: Features, archived: Features, pairs: Pairs, tolerance_px: float) -> tuple[Matrix | None, Pairs]:
    """Return the homography from archived pixels to query pixels that most pairs agree with, and these pairs (RANSAC).

    The result is the same each time.
    """
    if len(pairs.query) < MIN_PAIRS:
        return None, pairs
    source, target = archived.keypoints[pairs.archived, :2], query.keypoints[pairs.query, :2]
    try:
        matrix, inliers = cv2.findHomography(
            source, target, cv2.USAC_MAGSAC, tolerance_px, maxIters=_RANSAC_ITERATIONS, confidence=_RANSAC_CONFIDENCE
        )
    except cv2.error:
        return None, pairs
    if matrix is None or not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-9:
        return None, pairs
    agreeing = np.flatnonzero(np.asarray(inliers).ravel())
    return np.asarray(matrix, np.float64) / matrix[2, 2], Pairs(pairs.query[agreeing], pairs.archived[agreeing])


def _tolerance(grown: float, query_size: tuple[int, int], archived_size: tuple[int, int]) -> float:
    """Return how many pixels of the query a keypoint may be off.

    A keypoint is precise to about one pixel of the picture that it was found in, which may have been reduced, in both pictures.
    `grown` is how much larger the archived picture is in the query.
    """
    ours, theirs = (max(MIN_PRECISION_PX, max(size) / _PRECISE_SIDE_PX) for size in (query_size, archived_size))
    return TOLERANCE_FACTOR * max(ours, grown * theirs)


def _map_keypoints(matrix: Matrix, keypoints: Floats) -> Floats:
    """Return archived keypoints as the homography moves, scales and turns them."""
    local = compute_jacobian(matrix, keypoints[:, :2])
    angle = np.radians(keypoints[:, 3])
    along = np.einsum("nij,nj->ni", local, np.column_stack([np.cos(angle), np.sin(angle)]))
    scale = keypoints[:, 2] * np.sqrt(np.abs(np.linalg.det(local)))
    turned = np.degrees(np.arctan2(along[:, 1], along[:, 0]))
    return np.column_stack([transform_points(matrix, keypoints[:, :2]), scale, turned]).astype(np.float32)


def _is_plausible(matrix: Matrix, keypoints: Floats, archived_size: tuple[int, int], query_size: tuple[int, int]) -> bool:
    """Whether a camera could see the picture like this: not folded, not a line, not a dot, with keypoints spread out."""
    if len(keypoints) < MIN_PAIRS:
        return False
    low, high = keypoints[:, :2].min(axis=0), keypoints[:, :2].max(axis=0)
    if np.linalg.eigvalsh(np.cov(keypoints[:, :2].T))[0] < (0.015 * min(archived_size)) ** 2:
        return False
    box = low + CORNERS * (high - low)
    local = compute_jacobian(matrix, np.vstack([box, keypoints[:, :2]]))
    stretch = np.linalg.svd(local, compute_uv=False)
    if not (np.linalg.det(local) > 0).all() or (stretch[:, 0] > _MAX_STRETCH * stretch[:, 1]).any():
        return False
    area = float(cv2.contourArea(transform_points(matrix, box).astype(np.float32)))
    seen = can_be_seen(matrix @ np.diag([*archived_size, 1]))
    return seen and area >= 64 and area >= 1e-4 * query_size[0] * query_size[1]


def _to_fractions(
    query: Features, query_size: tuple[int, int], archived: Features, archived_size: tuple[int, int], pairs: Pairs
) -> Matrix:
    """Return the keypoints of each pair as fractions: x, y in the archived picture and x, y in the query."""
    theirs = (archived.keypoints[pairs.archived, :2].astype(np.float64) + 0.5) / np.array(archived_size)
    ours = (query.keypoints[pairs.query, :2].astype(np.float64) + 0.5) / np.array(query_size)
    return np.column_stack([theirs, ours])


def _count_inliers(pairs: Matrix, chance: float) -> int:
    """Return how many lattice cells have an inlier, less the pairs that are expected by chance."""
    distinct = len(np.unique((np.clip(pairs[:, :2], 0, 0.9999) * LATTICE_CELLS).astype(np.intp), axis=0))
    return max(0, round(distinct - chance))
