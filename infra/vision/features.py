"""Local features: SIFT points with RootSIFT descriptors of one byte a number.

Descriptors are compared by their Euclidean distance: RootSIFT (the square roots of a descriptor of sum 1) makes that the Hellinger
distance of the gradients, which tells two patches apart better.

Visual words: the nearest of 16,384 typical descriptors, and 64 bits that say on which sides of it a descriptor lies.

Hamming embedding (Jégou, Douze and Schmid, "Hamming embedding and weak geometric consistency for large scale image search", ECCV
2008): a descriptor and its word's are projected to 64 dimensions by one random rotation, and each bit of the signature says which
is larger. Two descriptors of one word whose signatures differ in few bits are probably of one spot. The words come in pairs, a
patch and its mirror image: so those of a mirrored picture are known without another look.

Words are sought in the groups of words that lie nearest: in 99 of 100 cases that finds the nearest word, in a seventh of the time.

The pose of a feature: how it is turned and how large it is, in two bytes.

A picture that is shown turned, larger or smaller has all its features turned and scaled alike. That can be counted without knowing
where they are: weak geometric consistency, as Jégou, Douze and Schmid call it (ECCV 2008).
"""

from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

N = TypeVar("N", bound=np.generic)

DESCRIPTOR_LENGTH: Final = 255
"""The Euclidean length of every descriptor, but for rounding."""

MAX_FEATURES_ONE_MAP: Final = 430
"""How many features an archived picture of one map has at most."""

FEATURES_PER_EXTRA_MAP: Final = 50
MAX_ARCHIVED_FEATURES: Final = 900
"""What each further map adds, since any of them may be asked for alone, and how many features there are in the end."""

MAX_QUERY_FEATURES: Final = 900
"""How many the whole of a question has at most."""

_CONTRAST: Final = 0.01
"""A quarter of OpenCV's: flat art and dark screenshots have weak features or none, and the strongest are taken anyhow."""

MAX_SIFT_SIDE_PX: Final = 768
"""Larger pictures are made smaller first: their finest detail is noise."""

_LEAST_SIDE: Final = 512
"""Smaller ones are made larger, so that the dithering of a map of 128 pixels becomes a texture and its outlines become features."""

_SPARE: Final = 1.5
"""How many more are described than are kept."""

_MAP: Final = 128
_CELLS: Final = 6
_SIZES: Final = (4.0, 8.0, 16.0)
"""Features are spread over so many cells across and down, and over sizes below, between and above these, in pixels."""

Descriptors = NDArray[np.uint8]
VisualWords = NDArray[np.uint16]
Signatures = NDArray[np.uint64]
Floats = NDArray[np.float32]

SIGNATURE_BITS = 64
CODEBOOK_SCALE = 512.0
"""The codebook keeps components of unit descriptors (0 to about 0.5) times this, as bytes."""

MAX_SIGNATURE_DISTANCE = 22
"""Signatures of one spot seen twice mostly differ in fewer bits of 64 than this; those of two spots in about 32."""

_GROUPS = 32
"""Groups of words; each has its mirror image beside it, as the words have."""

_LOOKED_IN = 8
"""The nearest groups, in which words are sought."""

_ROUNDS = 4
"""Of k-means, when the words are grouped."""

_SEED = 2008

Poses = NDArray[np.uint16]
"""The higher byte is the angle, in 256 steps of a circle; the lower the size, in 16 steps an octave from a quarter of a pixel."""

ANGLE_STEPS: Final = 256
SIZE_STEPS_PER_OCTAVE: Final = 16
_LEAST_SIZE: Final = 0.25


def choose_feature_limit(width: int, height: int) -> int:
    """How many features an archived picture of that size is worth."""
    return min(MAX_ARCHIVED_FEATURES, MAX_FEATURES_ONE_MAP + FEATURES_PER_EXTRA_MAP * max(0, round(width * height / _MAP**2) - 1))


def extract_features(
    rgb: NDArray[np.uint8], most: int, longest: int = MAX_SIFT_SIDE_PX, *, spread: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The strongest `most` features: points (n, 4) as in `Print`, in pixels of the picture as given, and descriptors (n, 128).

    Of those that are `spread`, half are the strongest of all and half those of their part of the picture, so that any part may be
    asked for. The picture is brought to a longer side of 512 to `longest` pixels; what is no picture to speak of has no features.
    """
    height, width = rgb.shape[:2]
    longer = max(height, width)
    factor = min(max(longer, min(_LEAST_SIDE, longest)), longest) / longer
    size = max(1, round(width * factor)), max(1, round(height * factor))
    grey = cv2.cvtColor(resize_picture(rgb, *size), cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT.create(nfeatures=round(most * _SPARE), contrastThreshold=_CONTRAST)
    found, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return np.empty((0, 4), np.float32), np.empty((0, 128), np.uint8)
    points = np.array([(*each.pt, each.size, each.angle) for each in found], np.float32)
    strength = np.array([each.response * each.size**0.5 for each in found])
    best = _spread(points, strength, size, most) if spread else np.argsort(-strength, kind="stable")[:most]
    points[:, :2] = (points[:, :2] + 0.5) / np.array([size[0] / width, size[1] / height], np.float32) - 0.5
    points[:, 2] /= factor
    return points[best], to_rootsift(np.asarray(descriptors[best], np.float32))


def _spread(points: NDArray[np.float32], strength: NDArray[np.float64], size: tuple[int, int], most: int) -> NDArray[np.intp]:
    """The strongest half, then the strongest of each cell and size, the second of each, and so on."""
    order = np.argsort(-strength, kind="stable")
    first, rest = order[: most // 2], order[most // 2 :]
    cells = np.clip(points[rest, :2] * _CELLS / np.array(size), 0, _CELLS - 1).astype(np.intp)
    groups = (cells[:, 1] * _CELLS + cells[:, 0]) * (len(_SIZES) + 1) + np.digitize(points[rest, 2], _SIZES)
    by_group = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[by_group], groups[by_group])
    rank = np.empty(len(rest), np.intp)
    rank[by_group] = np.arange(len(rest)) - starts
    return np.concatenate([first, rest[np.argsort(rank, kind="stable")[: most - len(first)]]])


def resize_picture(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture in another size: averaged where it shrinks, interpolated where it grows."""
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def to_rootsift(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SIFT's descriptors as RootSIFT in bytes."""
    sums = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.rint(np.sqrt(descriptors / sums) * DESCRIPTOR_LENGTH), np.uint8)


def mirror_descriptors(descriptors: NDArray[N]) -> NDArray[N]:
    """The descriptors that the same patches have in the mirror image, however it is turned.

    A descriptor is laid along its patch's own direction, so that every mirroring flips it across that direction: the four rows
    of cells change places, and the eight directions of each cell go the other way round.
    """
    return np.ascontiguousarray(descriptors[:, _mirror()])


@cache
def _mirror() -> NDArray[np.intp]:
    cells = np.arange(128).reshape(4, 4, 8)
    return cells[::-1][:, :, (-np.arange(8)) % 8].reshape(-1)


class Codebook(NamedTuple):
    """`words` (w, 128) as unit-scale rows, `sides` (w, 64) where their bits change.

    `centres` (129, g) are those of the groups, and `groups` the words (129, n) of each with their numbers: as columns, with less
    half of their squared length below, so that the product with (row, 1) is the greater the nearer.
    """

    words: Floats
    projection: Floats
    sides: Floats
    centres: Floats
    groups: list[tuple[Floats, VisualWords]]


def assign_words(descriptors: Descriptors) -> tuple[VisualWords, Signatures]:
    """The word of each RootSIFT descriptor, (n, 128) of any scale, and its signature within that word."""
    words = find_nearest_words(descriptors, 1)[:, 0]
    return words, compute_signatures(descriptors, words)


def find_nearest_words(descriptors: Descriptors, count: int) -> VisualWords:
    """The `count` nearest words of each descriptor, (n, count), the nearest first: a blurred one may have left its own."""
    book = load_codebook()
    rows = np.column_stack([normalise_descriptors(descriptors), np.ones(len(descriptors), np.float32)])
    near = np.argpartition(rows @ book.centres, -_LOOKED_IN, axis=1)[:, -_LOOKED_IN:]
    asking, column = np.divmod(np.argsort(near, axis=None, kind="stable"), _LOOKED_IN)
    ends = np.searchsorted(near[asking, column], np.arange(len(book.groups) + 1))
    found = np.zeros((len(rows), _LOOKED_IN, count), np.uint16)
    alike = np.full(found.shape, -np.inf, np.float32)
    for number, (words, names) in enumerate(book.groups):
        row, at = (each[ends[number] : ends[number + 1]] for each in (asking, column))
        scores = rows[row] @ words
        everyone = np.arange(len(row))
        for nth in range(count):
            best = scores.argmax(axis=1)
            found[row, at, nth], alike[row, at, nth] = names[best], scores[everyone, best]
            scores[everyone, best] = -np.inf
    order = np.argsort(-alike.reshape(len(rows), _LOOKED_IN * count), axis=1, kind="stable")[:, :count]
    return np.take_along_axis(found.reshape(len(rows), _LOOKED_IN * count), order, axis=1)


def compute_signatures(descriptors: Descriptors, words: VisualWords) -> Signatures:
    """The signature that each descriptor has in a word: `words` is (n,), or (n, count) for several of each."""
    book = load_codebook()
    projected = normalise_descriptors(descriptors) @ book.projection
    if words.ndim == 2:
        projected = projected[:, None, :]
    bits = projected > book.sides[words]
    packed: Signatures = np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0].astype(np.uint64)
    return packed


def mirror_words(words: VisualWords) -> VisualWords:
    """The words of the same descriptors in the mirrored picture: the pairs follow each other in the codebook."""
    return words ^ np.uint16(1)


class SortedWords(NamedTuple):
    """A picture's words in order, and their signatures: what others are compared with."""

    words: VisualWords
    signatures: Signatures


def sort_words(words: VisualWords, signatures: Signatures) -> SortedWords:
    """Words and signatures (n,) in the order of the words."""
    order = np.argsort(words, kind="stable")
    return SortedWords(words[order], signatures[order])


def count_shared_features(spoken: SortedWords, words: VisualWords, signatures: Signatures) -> int:
    """How many features have one in the other picture with the same word and nearly its signature."""
    first, end = (np.searchsorted(spoken.words, words, side) for side in ("left", "right"))
    counts = end - first
    asking = np.repeat(np.arange(len(words)), counts)
    at = np.arange(len(asking)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    near = np.bitwise_count(spoken.signatures[at] ^ signatures[asking]) <= MAX_SIGNATURE_DISTANCE
    return len(np.unique(asking[near]))


def normalise_descriptors(descriptors: Descriptors) -> Floats:
    """Descriptors as rows of length 1; one of zeros stays so."""
    rows = descriptors.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    result: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return result


@cache
def load_codebook() -> Codebook:
    """The trained one (infra/sandbox/training/codebook.py), read from the package at the first use: half of each pair is kept."""
    with files(__package__).joinpath("codebook.npz").open("rb") as file:
        half = np.load(file)["words"]
    words = pair_with_mirrors(half).astype(np.float32) / np.float32(CODEBOOK_SCALE)
    projection = build_projection()
    return Codebook(words, projection, np.asarray(words @ projection, np.float32), *_grouped(words))


def pair_with_mirrors(half: NDArray[N]) -> NDArray[N]:
    """All words: each one of the half with its mirror image behind it."""
    return np.stack([half, mirror_descriptors(half)], axis=1).reshape(-1, 128)


def _grouped(words: Floats) -> tuple[Floats, list[tuple[Floats, VisualWords]]]:
    """The centres of the groups, and the words in each: k-means, in which a word also pulls at the mirror image of its group."""
    centres = words[:: 2 * (len(words) // (2 * _GROUPS))][:_GROUPS]
    for _ in range(_ROUNDS):
        nearest = (words @ _columns(pair_with_mirrors(centres))[:-1] + _columns(pair_with_mirrors(centres))[-1]).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest >> 1, np.where((nearest & 1)[:, None] > 0, mirror_descriptors(words), words))
        counts = np.maximum(np.bincount(nearest >> 1, minlength=_GROUPS), 1)[:, None]
        centres = np.asarray(sums / counts, np.float32)
    members = [np.flatnonzero(nearest == group) for group in range(2 * _GROUPS)]
    used = [group for group, each in enumerate(members) if len(each)]
    return _columns(pair_with_mirrors(centres)[used]), [
        (_columns(words[members[group]]), members[group].astype(np.uint16)) for group in used
    ]


def _columns(rows: Floats) -> Floats:
    """Rows (n, 128) as columns with less half of their squared length below (129, n)."""
    return np.column_stack([rows, -(rows * rows).sum(axis=1) / 2]).T.copy()


def build_projection() -> Floats:
    """The projection of signatures: 64 of the 128 axes of a random rotation, the same everywhere."""
    square = np.random.default_rng(_SEED).normal(size=(128, 128))
    return np.linalg.qr(square)[0][:, :SIGNATURE_BITS].astype(np.float32)


def encode_poses(points: NDArray[np.float32]) -> Poses:
    """The poses (n,) of features (n, 4) as in `Print`."""
    turns = np.rint(points[:, 3] * (ANGLE_STEPS / 360)).astype(np.int64) % ANGLE_STEPS
    sizes = (
        np.rint(SIZE_STEPS_PER_OCTAVE * np.log2(np.maximum(points[:, 2], _LEAST_SIZE) / _LEAST_SIZE)).clip(0, 255).astype(np.int64)
    )
    poses: Poses = (turns << 8 | sizes).astype(np.uint16)
    return poses


def mirror_poses(poses: Poses) -> Poses:
    """What they are in the mirror image, left and right changed."""
    return ((ANGLE_STEPS // 2 - (poses >> 8).astype(np.int64)) % ANGLE_STEPS << 8 | poses & 255).astype(np.uint16)
