"""Local features: SIFT keypoints with RootSIFT descriptors, and their visual words, signatures and poses.

**Descriptors** have one byte a number and are compared by their Euclidean distance. RootSIFT takes the square roots of a descriptor
of sum 1. This makes the distance the Hellinger distance of the gradients, which tells two patches apart better.

**Visual words and signatures** follow Hamming embedding (Jégou, Douze and Schmid, "Hamming embedding and weak geometric consistency
for large scale image search", ECCV 2008). The word of a descriptor is the nearest of the 16,384 centres in the codebook. One random
rotation projects the descriptor and its word to 64 dimensions; each bit of the signature says which of the two is larger there. Two
descriptors with the same word and few different bits probably show the same point. The codebook holds each word beside its mirror
image, so the words of a mirrored picture follow from those of the picture. A search for the nearest word looks only into the
nearest groups of words: this finds it in 99 of 100 cases, in a seventh of the time.

**The pose** of a feature is its angle and size, in two bytes. When a picture is shown turned or scaled, all its features are turned
and scaled by the same amount. So features can be checked against each other without their positions: weak geometric consistency, in
the same paper.
"""

from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

N = TypeVar("N", bound=np.generic)

DESCRIPTOR_LENGTH: Final = 255
"""The Euclidean length of every descriptor, apart from rounding."""

MAX_FEATURES_ONE_MAP: Final = 430
"""An archived picture of one map keeps at most this many features."""

FEATURES_PER_EXTRA_MAP: Final = 50
"""Each further map adds this many, since a query may show any single map of the piece."""

MAX_ARCHIVED_FEATURES: Final = 900
"""No archived picture keeps more features than this."""

MAX_QUERY_FEATURES: Final = 900
"""The whole picture of a query keeps at most this many features."""

_CONTRAST_THRESHOLD: Final = 0.01
"""A quarter of OpenCV's default. Flat art and dark screenshots have only weak features, and the strongest are selected anyway."""

MAX_SIFT_SIDE_PX: Final = 768
"""Larger pictures are reduced to this longer side first. Their finest detail is noise."""

_MIN_SIFT_SIDE_PX: Final = 512
"""Smaller pictures are enlarged to this, so that the dithering of a map of 128 pixels becomes texture and its outlines features."""

_DETECTED_FACTOR: Final = 1.5
"""SIFT detects and describes this many times as many features as are kept."""

_MAP_PX: Final = 128
_CELLS: Final = 6
_SIZE_LIMITS_PX: Final = (4.0, 8.0, 16.0)
"""Features are spread over this many cells across and down, and over the sizes below, between and above these limits."""

Descriptors = NDArray[np.uint8]
VisualWords = NDArray[np.uint16]
Signatures = NDArray[np.uint64]
Floats = NDArray[np.float32]

SIGNATURE_BITS = 64
CODEBOOK_SCALE = 512.0
"""The codebook stores the components of descriptors of length 1 (0 to about 0.5) as bytes, multiplied by this."""

MAX_SIGNATURE_DISTANCE = 22
"""Two signatures of the same point mostly differ in fewer than this many of 64 bits, those of different points in about 32."""

_GROUP_PAIRS = 32
"""Groups of words. Each group has its mirror image beside it, as each word has."""

_PROBED_GROUPS = 8
"""Words are searched for in this many nearest groups."""

_KMEANS_ROUNDS = 4
"""Rounds of k-means that divide the words into groups."""

_SEED = 2008

Poses = NDArray[np.uint16]
"""The high byte is the angle, in 256 steps of a circle. The low byte is the size, in 16 steps an octave from 0.25 pixels."""

ANGLE_STEPS: Final = 256
SIZE_STEPS_PER_OCTAVE: Final = 16
_MIN_SIZE_PX: Final = 0.25


def choose_feature_limit(width: int, height: int) -> int:
    """Return how many features to keep of an archived picture of this size in pixels."""
    return min(
        MAX_ARCHIVED_FEATURES, MAX_FEATURES_ONE_MAP + FEATURES_PER_EXTRA_MAP * max(0, round(width * height / _MAP_PX**2) - 1)
    )


def extract_features(
    rgb: NDArray[np.uint8], most: int, longest: int = MAX_SIFT_SIDE_PX, *, spread: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the strongest `most` features: keypoints (n, 4) as in `Print`, in pixels of the given picture, and descriptors (n,
    128).

    With `spread`, half of them are the strongest of the whole picture and half the strongest of their part of it, so that a query
    for any part finds some. The picture is scaled to a longer side of 512 to `longest` pixels first. A blank or tiny picture has no
    features.
    """
    height, width = rgb.shape[:2]
    longer = max(height, width)
    factor = min(max(longer, min(_MIN_SIFT_SIDE_PX, longest)), longest) / longer
    size = max(1, round(width * factor)), max(1, round(height * factor))
    grey = cv2.cvtColor(resize_picture(rgb, *size), cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT.create(nfeatures=round(most * _DETECTED_FACTOR), contrastThreshold=_CONTRAST_THRESHOLD)
    found, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return np.empty((0, 4), np.float32), np.empty((0, 128), np.uint8)
    keypoints = np.array([(*each.pt, each.size, each.angle) for each in found], np.float32)
    strength = np.array([each.response * each.size**0.5 for each in found])
    best = _select_spread(keypoints, strength, size, most) if spread else np.argsort(-strength, kind="stable")[:most]
    keypoints[:, :2] = (keypoints[:, :2] + 0.5) / np.array([size[0] / width, size[1] / height], np.float32) - 0.5
    keypoints[:, 2] /= factor
    return keypoints[best], to_rootsift(np.asarray(descriptors[best], np.float32))


def _select_spread(
    keypoints: NDArray[np.float32], strength: NDArray[np.float64], size: tuple[int, int], most: int
) -> NDArray[np.intp]:
    """Return the indices of the strongest half, then of the strongest of each cell and size, of the second of each, and so on."""
    order = np.argsort(-strength, kind="stable")
    first, rest = order[: most // 2], order[most // 2 :]
    cells = np.clip(keypoints[rest, :2] * _CELLS / np.array(size), 0, _CELLS - 1).astype(np.intp)
    groups = (cells[:, 1] * _CELLS + cells[:, 0]) * (len(_SIZE_LIMITS_PX) + 1) + np.digitize(keypoints[rest, 2], _SIZE_LIMITS_PX)
    by_group = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[by_group], groups[by_group])
    rank = np.empty(len(rest), np.intp)
    rank[by_group] = np.arange(len(rest)) - starts
    return np.concatenate([first, rest[np.argsort(rank, kind="stable")[: most - len(first)]]])


def resize_picture(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return the picture in another size: averaged where it shrinks, interpolated where it grows."""
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def to_rootsift(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn SIFT descriptors into RootSIFT descriptors of one byte a number."""
    sums = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.rint(np.sqrt(descriptors / sums) * DESCRIPTOR_LENGTH), np.uint8)


def mirror_descriptors(descriptors: NDArray[N]) -> NDArray[N]:
    """Return the descriptors that the same patches have in the mirror image, whichever way it is turned.

    SIFT turns each patch to its main direction, so any mirroring flips the patch across this direction. In the descriptor the four
    rows of cells swap places, and the eight directions of each cell run the other way round.
    """
    return np.ascontiguousarray(descriptors[:, _mirrored_order()])


@cache
def _mirrored_order() -> NDArray[np.intp]:
    cells = np.arange(128).reshape(4, 4, 8)
    return cells[::-1][:, :, (-np.arange(8)) % 8].reshape(-1)


class Codebook(NamedTuple):
    """The visual words, ready to search.

    `words` (w, 128) are rows of about length 1. `thresholds` (w, 64) are the projected words: a bit is set where a descriptor's
    projection is larger. `centres` (129, g) are the centres of the groups, and `groups` holds the words (129, n) of each group with
    their numbers. Both are columns with minus half of their squared length below, so that the product with (row, 1) is largest for
    the nearest.
    """

    words: Floats
    projection: Floats
    thresholds: Floats
    centres: Floats
    groups: list[tuple[Floats, VisualWords]]


def assign_words(descriptors: Descriptors) -> tuple[VisualWords, Signatures]:
    """Return the visual word of each RootSIFT descriptor, (n, 128) of any scale, and its signature within this word."""
    words = find_nearest_words(descriptors, 1)[:, 0]
    return words, compute_signatures(descriptors, words)


def find_nearest_words(descriptors: Descriptors, count: int) -> VisualWords:
    """Return the `count` nearest words of each descriptor, (n, count), nearest first.

    Blur may move a descriptor to a neighbouring word, so a search looks in several.
    """
    book = load_codebook()
    rows = np.column_stack([normalise_descriptors(descriptors), np.ones(len(descriptors), np.float32)])
    near = np.argpartition(rows @ book.centres, -_PROBED_GROUPS, axis=1)[:, -_PROBED_GROUPS:]
    descriptor, column = np.divmod(np.argsort(near, axis=None, kind="stable"), _PROBED_GROUPS)
    ends = np.searchsorted(near[descriptor, column], np.arange(len(book.groups) + 1))
    found = np.zeros((len(rows), _PROBED_GROUPS, count), np.uint16)
    best_scores = np.full(found.shape, -np.inf, np.float32)
    for number, (words, names) in enumerate(book.groups):
        row, at = (each[ends[number] : ends[number + 1]] for each in (descriptor, column))
        scores = rows[row] @ words
        everyone = np.arange(len(row))
        for nth in range(count):
            best = scores.argmax(axis=1)
            found[row, at, nth], best_scores[row, at, nth] = names[best], scores[everyone, best]
            scores[everyone, best] = -np.inf
    order = np.argsort(-best_scores.reshape(len(rows), _PROBED_GROUPS * count), axis=1, kind="stable")[:, :count]
    return np.take_along_axis(found.reshape(len(rows), _PROBED_GROUPS * count), order, axis=1)


def compute_signatures(descriptors: Descriptors, words: VisualWords) -> Signatures:
    """Return the signature of each descriptor within a word. `words` is (n,), or (n, count) for several words each."""
    book = load_codebook()
    projected = normalise_descriptors(descriptors) @ book.projection
    if words.ndim == 2:
        projected = projected[:, None, :]
    bits = projected > book.thresholds[words]
    packed: Signatures = np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0].astype(np.uint64)
    return packed


def mirror_words(words: VisualWords) -> VisualWords:
    """Return the words of the same descriptors in the mirrored picture. A word and its mirror image lie side by side."""
    return words ^ np.uint16(1)


class SortedWords(NamedTuple):
    """The words of a picture in ascending order, with their signatures: ready for count_shared_features."""

    words: VisualWords
    signatures: Signatures


def sort_words(words: VisualWords, signatures: Signatures) -> SortedWords:
    """Sort words and signatures (n,) by word."""
    order = np.argsort(words, kind="stable")
    return SortedWords(words[order], signatures[order])


def count_shared_features(sorted_words: SortedWords, words: VisualWords, signatures: Signatures) -> int:
    """Return how many of these features have a counterpart among the sorted ones: the same word and a near signature."""
    first, end = (np.searchsorted(sorted_words.words, words, side) for side in ("left", "right"))
    counts = end - first
    feature = np.repeat(np.arange(len(words)), counts)
    at = np.arange(len(feature)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    near = np.bitwise_count(sorted_words.signatures[at] ^ signatures[feature]) <= MAX_SIGNATURE_DISTANCE
    return len(np.unique(feature[near]))


def normalise_descriptors(descriptors: Descriptors) -> Floats:
    """Return descriptors as rows of length 1. A row of zeros stays zero."""
    rows = descriptors.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    result: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return result


@cache
def load_codebook() -> Codebook:
    """Load the trained codebook from the package (once). The file has one word of each pair; infra/sandbox/training/codebook.py
    makes it.
    """
    with files(__package__).joinpath("codebook.npz").open("rb") as file:
        half = np.load(file)["words"]
    words = pair_with_mirrors(half).astype(np.float32) / np.float32(CODEBOOK_SCALE)
    projection = build_projection()
    return Codebook(words, projection, np.asarray(words @ projection, np.float32), *_group_words(words))


def pair_with_mirrors(half: NDArray[N]) -> NDArray[N]:
    """Return all words: each given word, followed by its mirror image."""
    return np.stack([half, mirror_descriptors(half)], axis=1).reshape(-1, 128)


def _group_words(words: Floats) -> tuple[Floats, list[tuple[Floats, VisualWords]]]:
    """Divide the words into groups by k-means. Return the centres, and the words of each group.

    A word that is nearest to the mirror image of a centre counts for the centre, mirrored.
    """
    centres = words[:: 2 * (len(words) // (2 * _GROUP_PAIRS))][:_GROUP_PAIRS]
    for _ in range(_KMEANS_ROUNDS):
        nearest = (words @ _columns(pair_with_mirrors(centres))[:-1] + _columns(pair_with_mirrors(centres))[-1]).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest >> 1, np.where((nearest & 1)[:, None] > 0, mirror_descriptors(words), words))
        counts = np.maximum(np.bincount(nearest >> 1, minlength=_GROUP_PAIRS), 1)[:, None]
        centres = np.asarray(sums / counts, np.float32)
    members = [np.flatnonzero(nearest == group) for group in range(2 * _GROUP_PAIRS)]
    used = [group for group, each in enumerate(members) if len(each)]
    return _columns(pair_with_mirrors(centres)[used]), [
        (_columns(words[members[group]]), members[group].astype(np.uint16)) for group in used
    ]


def _columns(rows: Floats) -> Floats:
    """Return rows (n, 128) as columns with minus half of their squared length below: (129, n)."""
    return np.column_stack([rows, -(rows * rows).sum(axis=1) / 2]).T.copy()


def build_projection() -> Floats:
    """Return the projection of signatures: 64 of the 128 axes of a random rotation. It is the same on every machine."""
    square = np.random.default_rng(_SEED).normal(size=(128, 128))
    return np.linalg.qr(square)[0][:, :SIGNATURE_BITS].astype(np.float32)


def encode_poses(keypoints: NDArray[np.float32]) -> Poses:
    """Return the poses (n,) of keypoints (n, 4) as in `Print`."""
    turns = np.rint(keypoints[:, 3] * (ANGLE_STEPS / 360)).astype(np.int64) % ANGLE_STEPS
    sizes = (
        np.rint(SIZE_STEPS_PER_OCTAVE * np.log2(np.maximum(keypoints[:, 2], _MIN_SIZE_PX) / _MIN_SIZE_PX))
        .clip(0, 255)
        .astype(np.int64)
    )
    poses: Poses = (turns << 8 | sizes).astype(np.uint16)
    return poses


def mirror_poses(poses: Poses) -> Poses:
    """Return the poses of the same features in the mirror image (left to right)."""
    return ((ANGLE_STEPS // 2 - (poses >> 8).astype(np.int64)) % ANGLE_STEPS << 8 | poses & 255).astype(np.uint16)
