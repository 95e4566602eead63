"""The vote: every feature of a question speaks for the archived images that have one like it.

As in Jégou, Douze and Schmid: a feature counts by how rare its word is and how alike the signatures are, once for each image, and
only the features count that say the same of how the image is turned and how large it is.

What a question asks the index: its features and those of its mirror image, in the words that they may have in the archive.

Near hashes: archived pictures whose PDQ differs from one of the question's in few of its 256 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.features.segment import WORD_COUNT, Segment
from infra.vision.features import (
    ANGLE_STEPS,
    MAX_SIGNATURE_DISTANCE,
    SIZE_STEPS_PER_OCTAVE,
    Poses,
    compute_signatures,
    encode_poses,
    find_nearest_words,
    mirror_descriptors,
    mirror_poses,
    mirror_words,
)
from infra.vision.prints import Print

VOTE_SOFTNESS_BITS = 16.0
"""How fast a vote loses weight with the bits that differ."""

MAX_POSTINGS = 24_000_000
"""Postings that one question compares, rarest words first: so no question takes for ever, whatever it shows."""

_LONG = 1000
"""Lists from this length on are compared one by one where they lie; shorter ones are copied together first."""

_TOGETHER = 200_000

_SHORTLIST = 1000
"""Images whose features are looked at for what they agree on: those that most features speak for, whatever they say."""

_WAYS = 8
"""Parts of the circle. Two that follow each other count together, as do two half octaves: a quarter of it, and one octave."""

_SPAN = 512
_SIZES = _SPAN // (SIZE_STEPS_PER_OCTAVE // 2)
"""Two sizes, of a byte each, differ by less than half of the span either way; its parts are half octaves."""

SimilarPostings = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint16]]
"""The feature, the image, the differing bits and the archived feature's pose of each pair that is alike."""

MAX_PROBES = 3
"""Words in which a feature is looked for, at most: blur and noise move it to a neighbouring word."""

MAX_LOOKUPS = 1500
"""Where there are many features, losing some is no matter, but the time is: only a question with few looks in several words."""

NEAR_HASH_BITS = 40
"""Bits in which re-encoded and resized copies differ at most; two pictures differ in about 128."""

NEAR_HASH_BITS_IF_POOR = 16
"""The same for a picture of which the hash says little, as it has few edges."""

POOR_HASH_QUALITY = 50
"""Below this quality (0 to 100) the hash says little."""

FAR_HASH_BITS = 256


def count_votes(
    segments: Sequence[Segment],
    words: NDArray[np.uint16],
    signatures: NDArray[np.uint64],
    poses: NDArray[np.uint16],
    size: int,
) -> NDArray[np.float32]:
    """How much speaks for each of `size` images.

    `words` and `signatures` are (n, probes), one row a feature of the question, `poses` (n,). Beyond
    the images that are looked at more closely all have 0.
    """
    frequencies = sum((np.diff(segment.starts) for segment in segments), np.zeros(WORD_COUNT, np.int64))
    features = np.repeat(np.arange(len(words)), words.shape[1])
    flat, marks = words.ravel().astype(np.int64), signatures.ravel()
    order = np.argsort(frequencies[flat], kind="stable")
    order = order[: np.searchsorted(np.cumsum(frequencies[flat[order]]), MAX_POSTINGS, "right")]
    asked = features[order], flat[order], marks[order]
    found = [pair for segment in segments for pair in _alike(segment, *asked)]
    if not found:
        return np.zeros(size, np.float32)
    rarity = np.log1p(frequencies.sum() / np.maximum(frequencies, 1)).astype(np.float32) ** 2
    worth = rarity[words].max(axis=1, initial=0)
    feature, image, bits, archived = _once(found, size)
    weight = np.exp(-((bits / VOTE_SOFTNESS_BITS) ** 2)) * worth[feature]
    counted = np.bincount(image, weight, size)
    listed = np.argsort(-counted, kind="stable")[:_SHORTLIST]
    place = np.full(size, -1)
    place[listed] = np.arange(len(listed))
    near = place[image] >= 0
    result = np.zeros(size, np.float32)
    result[listed] = _agreeing(place[image[near]], weight[near], poses[feature[near]], archived[near], len(listed))
    return result


def _once(found: Sequence[SimilarPostings], size: int) -> tuple[NDArray[np.int64], ...]:
    """Of each feature and image the most alike pair: the same four numbers of it."""
    features, images, bits, poses = (np.concatenate([each[part] for each in found]).astype(np.int64) for part in range(4))
    pairs = np.sort((features * size + images) << 23 | bits << 16 | poses)
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:] >> 23 != pairs[:-1] >> 23
    pairs = pairs[first]
    feature, image = np.divmod(pairs >> 23, size)
    return feature, image, pairs >> 16 & 127, pairs & 65535


def _agreeing(
    images: NDArray[np.int64], weight: NDArray[np.float64], asked: NDArray[np.uint16], archived: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """The weight of those that agree on how each of `count` images is turned and scaled: of the most that do so."""
    turn = ((asked >> 8) - (archived >> 8)) % ANGLE_STEPS * _WAYS // ANGLE_STEPS
    size = ((asked & 255).astype(np.int64) - (archived & 255) + _SPAN // 2) * _SIZES // _SPAN
    cells = np.bincount((images * _WAYS + turn) * _SIZES + size, weight, count * _WAYS * _SIZES).reshape(count, _WAYS, _SIZES)
    cells += np.roll(cells, 1, axis=1)
    cells[:, :, 1:] += cells[:, :, :-1].copy()
    best: NDArray[np.float64] = cells.max(axis=(1, 2), initial=0)
    return best


def _alike(
    segment: Segment, features: NDArray[np.int64], words: NDArray[np.int64], marks: NDArray[np.uint64]
) -> list[SimilarPostings]:
    begins = segment.starts[words]
    lengths = segment.starts[words + 1] - begins
    found: list[SimilarPostings] = []
    for nth in np.flatnonzero(lengths >= _LONG).tolist():
        span = slice(begins[nth], begins[nth] + lengths[nth])
        bits = np.bitwise_count(segment.signatures[span] ^ marks[nth])
        near = np.flatnonzero(bits <= MAX_SIGNATURE_DISTANCE)
        found.append((np.full(len(near), features[nth]), segment.images[span][near], bits[near], segment.poses[span][near]))
    short = np.flatnonzero((lengths > 0) & (lengths < _LONG))
    ends = np.cumsum(lengths[short])
    for part in np.split(short, np.searchsorted(ends, np.arange(_TOGETHER, ends[-1] if len(ends) else 0, _TOGETHER))):
        length = lengths[part]
        offsets = np.repeat(begins[part] - (np.cumsum(length) - length), length)
        places = np.arange(len(offsets)) + offsets
        asking = np.repeat(part, length)
        bits = np.bitwise_count(segment.signatures[places] ^ marks[asking])
        near = np.flatnonzero(bits <= MAX_SIGNATURE_DISTANCE)
        found.append((features[asking[near]], segment.images[places[near]], bits[near], segment.poses[places[near]]))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class IndexQuery:
    """`words` and `signatures` are (2, n, probes), `poses` (2, n): of the question as it is, and of its mirror image.

    `hashes` are PDQ's, (m, 4) as 64-bit numbers, in all turns of the whole and of its places.
    """

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    poses: Poses
    hashes: NDArray[np.uint64]


def build_index_query(question: Print) -> IndexQuery:
    """What a question's print asks; an archived picture's print may be asked as well."""
    probes = min(MAX_PROBES, MAX_LOOKUPS // max(len(question.words), 1))
    if probes > 1:
        words = find_nearest_words(question.descriptors, probes)
        signatures = compute_signatures(question.descriptors, words)
    else:
        words, signatures = question.words[:, None], question.signatures[:, None]
    turned = mirror_words(words)
    both = np.stack([signatures, compute_signatures(mirror_descriptors(question.descriptors), turned)])
    poses = encode_poses(question.points)
    both_poses = np.stack([poses, mirror_poses(poses)])
    hashes = question.place_hashes.tobytes() or question.hash
    return IndexQuery(np.stack([words, turned]), both, both_poses, np.frombuffer(hashes, "<u8").reshape(-1, 4))


def compute_hash_distances(hashes: NDArray[np.uint64], quality: NDArray[np.uint8], asked: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each archived hash (n, 4) the bits to the nearest of those asked with (m, 4); FAR where that is not near."""
    nearest = np.full(len(hashes), FAR_HASH_BITS)
    columns = np.ascontiguousarray(hashes.T)
    for one in np.unique(asked, axis=0):
        half = np.bitwise_count(columns[0] ^ one[0]) + np.bitwise_count(columns[1] ^ one[1])
        rows = np.flatnonzero(half <= NEAR_HASH_BITS)
        rest = np.bitwise_count(hashes[rows, 2:] ^ one[2:]).sum(axis=1, dtype=np.int64)
        np.minimum.at(nearest, rows, half[rows] + rest)
    bound = np.where(quality < POOR_HASH_QUALITY, NEAR_HASH_BITS_IF_POOR, NEAR_HASH_BITS)
    return np.where(nearest <= bound, nearest, FAR_HASH_BITS)
