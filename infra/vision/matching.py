"""Which local features of a question may be the same spots as an archived picture's: by descriptor, then by scale and direction."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATIO: Final = 0.85
"""A feature's nearest neighbour must be this much nearer than the next: repeated texture has many neighbours as near."""

ALIKE: Final = 0.8
"""The cosine of two descriptors from which they may show one spot where the geometry already says so."""

APART: Final = 4.0
"""How far beside the place it is looked for what agrees by chance, in the distances that points may be off."""

MOST: Final = 1_500
"""Features of one picture that are compared; prints have fewer."""

_STEPS_OF_ANGLE: Final = 12
_OCTAVES: Final = 12


class Features(NamedTuple):
    """`points` (n, 4) are x, y, scale and angle (degrees) in pixels, `descriptors` (n, 128) have unit length."""

    points: Floats
    descriptors: Floats


class Pairs(NamedTuple):
    """The indices of features that may be the same: the question's, and the archived picture's."""

    asked: NDArray[np.intp]
    archived: NDArray[np.intp]


def features(points: Floats, descriptors: NDArray[np.uint8]) -> Features:
    """A print's features as they are compared."""
    unit = descriptors[:MOST].astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    return Features(points[:MOST], unit)


def cosines(asked: Features, archived: Features) -> Floats:
    """How alike each of the question's features is to each archived one."""
    alike: Floats = asked.descriptors @ archived.descriptors.T
    return alike


def putative(alike: Floats, asked: Features, archived: Features) -> Pairs:
    """The pairs that are nearer than any other, and whose scales and directions differ as most others' do."""
    if alike.shape[0] == 0 or alike.shape[1] < 2:
        return Pairs(np.empty(0, np.intp), np.empty(0, np.intp))
    rows = np.arange(len(alike))
    nearest = alike.argmax(axis=1)
    best = alike[rows, nearest]
    alike[rows, nearest] = -1
    second = alike.max(axis=1)
    alike[rows, nearest] = best
    kept = np.flatnonzero((1 - best) < RATIO**2 * (1 - second))
    pairs = Pairs(kept, nearest[kept])
    chosen = consistent(asked.points[pairs.asked], archived.points[pairs.archived])
    return Pairs(pairs.asked[chosen], pairs.archived[chosen])


def consistent(asked: Floats, archived: Floats) -> NDArray[np.bool_]:
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


class Near(NamedTuple):
    """The indices of all features that are alike, and how alike they are: what a homography chooses from."""

    asked: NDArray[np.intp]
    archived: NDArray[np.intp]
    alike: Floats


def near(alike: Floats) -> Near:
    """The features that may show one spot where the geometry says so."""
    rows, columns = np.divmod(np.flatnonzero(alike >= ALIKE), max(alike.shape[1], 1))
    return Near(rows, columns, alike[rows, columns])


def guided(alike: Near, expected: Floats, asked: Floats, within: float) -> Pairs:
    """The pairs that lie where a homography says, one to one: `expected` (n, 4) are the archived points as it moves them.

    `asked` are the question's points, and `within` is in its pixels. It finds the spots again that the ratio test has to leave out:
    repeated texture.
    """
    return _one_to_one(_turned(_there(alike, expected, asked, within), expected, asked))


def by_chance(alike: Near, expected: Floats, asked: Floats, within: float) -> float:
    """How many pairs lie so by chance: as many as lie where the homography does not say, a little way off.

    Dithering, bricks and letters are alike wherever one looks; so many of them agree with any homography.
    """
    beside = [np.array([x * APART * within, y * APART * within, 0, 0], np.float32) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    turned = _turned(alike, expected, asked)
    return float(np.mean([len(_one_to_one(_there(turned, expected + off, asked, within)).asked) for off in beside]))


def _there(alike: Near, expected: Floats, asked: Floats, within: float) -> Near:
    """The pairs that lie where they should."""
    off = asked[alike.asked, :2] - expected[alike.archived, :2]
    return _some(alike, np.flatnonzero(off[:, 0] ** 2 + off[:, 1] ** 2 <= within**2))


def _turned(alike: Near, expected: Floats, asked: Floats) -> Near:
    """The pairs that are scaled and turned as they should be."""
    found, wanted = asked[alike.asked, 2:], expected[alike.archived, 2:]
    chosen = np.abs((found[:, 1] - wanted[:, 1] + 180) % 360 - 180) <= 30
    chosen &= np.abs(np.log2(np.maximum(found[:, 0], 1e-3) / np.maximum(wanted[:, 0], 1e-3))) <= 0.9
    return _some(alike, np.flatnonzero(chosen))


def _one_to_one(alike: Near) -> Pairs:
    """The most alike pairs, none of which shares a feature with another."""
    order = np.argsort(-alike.alike, kind="stable")
    rows, columns = alike.asked[order], alike.archived[order]
    first_row, first_column = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    first_row[np.unique(rows, return_index=True)[1]] = True
    first_column[np.unique(columns, return_index=True)[1]] = True
    both = first_row & first_column
    return Pairs(rows[both], columns[both])


def _some(alike: Near, which: NDArray[np.intp]) -> Near:
    return Near(alike.asked[which], alike.archived[which], alike.alike[which])
