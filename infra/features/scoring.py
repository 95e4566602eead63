"""Score archived images for a query: by votes of local features, and by the distance of PDQ hashes.

Voting follows Jégou, Douze and Schmid (see infra/vision/features.py). Each feature of the query votes for the archived images with
a similar feature, once for each image. The vote weighs more the rarer the word is and the more similar the signatures are. Of the
votes for an image, only those count that agree on how the image is turned and scaled.
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
"""The weight of a vote falls with the number of differing bits: at this many bits it is 1/e."""

MAX_POSTINGS = 24_000_000
"""One query compares at most this many postings, those of the rarest words first. This bounds the time of any query."""

_LONG_LIST = 1000
"""Posting lists of at least this length are compared in place, one by one. Shorter ones are copied together first."""

_BATCH_POSTINGS = 200_000

_SHORTLIST = 1000
"""Turn and scale are only checked for this many images: those with the greatest total weight of votes."""

_TURN_BINS = 8
"""The circle is divided into this many bins. Two neighbouring bins count together (a quarter), as do two half octaves (one octave).
"""

_SIZE_SPAN = 512
_SIZE_BINS = _SIZE_SPAN // (SIZE_STEPS_PER_OCTAVE // 2)
"""The difference of two sizes, of one byte each, is less than half of the span in either direction. A bin is half an octave."""

SimilarPostings = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint16]]
"""For each similar pair: the number of the query's feature, the image, the differing bits, and the pose of the archived feature."""

MAX_PROBES = 3
"""A feature is looked up in at most this many words, since blur and noise may move it to a neighbouring word."""

MAX_LOOKUPS = 1500
"""Only a query with few features looks in several words for each, up to this many lookups. With many features a lost one does not
matter, but the time does.
"""

NEAR_HASH_BITS = 40
"""Hashes of re-encoded and resized copies differ in at most this many bits, those of two different pictures in about 128."""

NEAR_HASH_BITS_IF_POOR = 16
"""The same for a picture with few edges, whose hash is not reliable."""

POOR_HASH_QUALITY = 50
"""Below this quality (0 to 100) a hash is not reliable."""

FAR_HASH_BITS = 256
"""The distance of a hash that is not near."""


def count_votes(
    segments: Sequence[Segment],
    words: NDArray[np.uint16],
    signatures: NDArray[np.uint64],
    poses: NDArray[np.uint16],
    size: int,
) -> NDArray[np.float32]:
    """Return the score of each of `size` images: the weight of the votes that agree on its turn and scale.

    `words` and `signatures` are (n, probes), with one row for each feature of the query; `poses` are (n,). Images that are not on
    the shortlist have 0.
    """
    frequencies = sum((np.diff(segment.starts) for segment in segments), np.zeros(WORD_COUNT, np.int64))
    features = np.repeat(np.arange(len(words)), words.shape[1])
    flat, query_signatures = words.ravel().astype(np.int64), signatures.ravel()
    order = np.argsort(frequencies[flat], kind="stable")
    order = order[: np.searchsorted(np.cumsum(frequencies[flat[order]]), MAX_POSTINGS, "right")]
    lookups = features[order], flat[order], query_signatures[order]
    found = [pair for segment in segments for pair in _find_similar(segment, *lookups)]
    if not found:
        return np.zeros(size, np.float32)
    rarity = np.log1p(frequencies.sum() / np.maximum(frequencies, 1)).astype(np.float32) ** 2
    worth = rarity[words].max(axis=1, initial=0)
    feature, image, bits, archived = _keep_nearest(found, size)
    weight = np.exp(-((bits / VOTE_SOFTNESS_BITS) ** 2)) * worth[feature]
    counted = np.bincount(image, weight, size)
    listed = np.argsort(-counted, kind="stable")[:_SHORTLIST]
    place = np.full(size, -1)
    place[listed] = np.arange(len(listed))
    near = place[image] >= 0
    result = np.zeros(size, np.float32)
    result[listed] = _sum_agreeing(place[image[near]], weight[near], poses[feature[near]], archived[near], len(listed))
    return result


def _keep_nearest(found: Sequence[SimilarPostings], size: int) -> tuple[NDArray[np.int64], ...]:
    """Keep the pair with the fewest differing bits for each feature and image. Returns the same four numbers of each pair."""
    features, images, bits, poses = (np.concatenate([each[part] for each in found]).astype(np.int64) for part in range(4))
    pairs = np.sort((features * size + images) << 23 | bits << 16 | poses)
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:] >> 23 != pairs[:-1] >> 23
    pairs = pairs[first]
    feature, image = np.divmod(pairs >> 23, size)
    return feature, image, pairs >> 16 & 127, pairs & 65535


def _sum_agreeing(
    images: NDArray[np.int64],
    weight: NDArray[np.float64],
    query_poses: NDArray[np.uint16],
    archived_poses: NDArray[np.int64],
    count: int,
) -> NDArray[np.float64]:
    """Return for each of `count` images the greatest weight of votes that agree on how the image is turned and scaled."""
    turn = ((query_poses >> 8) - (archived_poses >> 8)) % ANGLE_STEPS * _TURN_BINS // ANGLE_STEPS
    size = ((query_poses & 255).astype(np.int64) - (archived_poses & 255) + _SIZE_SPAN // 2) * _SIZE_BINS // _SIZE_SPAN
    cells = np.bincount((images * _TURN_BINS + turn) * _SIZE_BINS + size, weight, count * _TURN_BINS * _SIZE_BINS).reshape(
        count, _TURN_BINS, _SIZE_BINS
    )
    cells += np.roll(cells, 1, axis=1)
    cells[:, :, 1:] += cells[:, :, :-1].copy()
    best: NDArray[np.float64] = cells.max(axis=(1, 2), initial=0)
    return best


def _find_similar(
    segment: Segment, features: NDArray[np.int64], words: NDArray[np.int64], query_signatures: NDArray[np.uint64]
) -> list[SimilarPostings]:
    begins = segment.starts[words]
    lengths = segment.starts[words + 1] - begins
    found: list[SimilarPostings] = []
    for nth in np.flatnonzero(lengths >= _LONG_LIST).tolist():
        span = slice(begins[nth], begins[nth] + lengths[nth])
        bits = np.bitwise_count(segment.signatures[span] ^ query_signatures[nth])
        near = np.flatnonzero(bits <= MAX_SIGNATURE_DISTANCE)
        found.append((np.full(len(near), features[nth]), segment.images[span][near], bits[near], segment.poses[span][near]))
    short = np.flatnonzero((lengths > 0) & (lengths < _LONG_LIST))
    ends = np.cumsum(lengths[short])
    for part in np.split(short, np.searchsorted(ends, np.arange(_BATCH_POSTINGS, ends[-1] if len(ends) else 0, _BATCH_POSTINGS))):
        length = lengths[part]
        offsets = np.repeat(begins[part] - (np.cumsum(length) - length), length)
        places = np.arange(len(offsets)) + offsets
        lookup = np.repeat(part, length)
        bits = np.bitwise_count(segment.signatures[places] ^ query_signatures[lookup])
        near = np.flatnonzero(bits <= MAX_SIGNATURE_DISTANCE)
        found.append((features[lookup[near]], segment.images[places[near]], bits[near], segment.poses[places[near]]))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class IndexQuery:
    """A query, ready to search the index.

    `words` and `signatures` are (2, n, probes) and `poses` (2, n): of the query as it is, and of its mirror image. `hashes` (m, 4)
    are PDQ hashes as 64-bit numbers, in all turns, of the whole picture and of its regions.
    """

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    poses: Poses
    hashes: NDArray[np.uint64]


def build_index_query(query: Print) -> IndexQuery:
    """Build the index query of a print. It may be the print of a query or of an archived picture."""
    probes = min(MAX_PROBES, MAX_LOOKUPS // max(len(query.words), 1))
    if probes > 1:
        words = find_nearest_words(query.descriptors, probes)
        signatures = compute_signatures(query.descriptors, words)
    else:
        words, signatures = query.words[:, None], query.signatures[:, None]
    mirrored_words = mirror_words(words)
    both = np.stack([signatures, compute_signatures(mirror_descriptors(query.descriptors), mirrored_words)])
    poses = encode_poses(query.keypoints)
    both_poses = np.stack([poses, mirror_poses(poses)])
    hashes = query.place_hashes.tobytes() or query.hash
    return IndexQuery(np.stack([words, mirrored_words]), both, both_poses, np.frombuffer(hashes, "<u8").reshape(-1, 4))


def compute_hash_distances(
    hashes: NDArray[np.uint64], quality: NDArray[np.uint8], query_hashes: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return the distance of each archived hash (n, 4) to the nearest of the query (m, 4), or FAR_HASH_BITS if it is not near."""
    nearest = np.full(len(hashes), FAR_HASH_BITS)
    columns = np.ascontiguousarray(hashes.T)
    for query_hash in np.unique(query_hashes, axis=0):
        half = np.bitwise_count(columns[0] ^ query_hash[0]) + np.bitwise_count(columns[1] ^ query_hash[1])
        rows = np.flatnonzero(half <= NEAR_HASH_BITS)
        rest = np.bitwise_count(hashes[rows, 2:] ^ query_hash[2:]).sum(axis=1, dtype=np.int64)
        np.minimum.at(nearest, rows, half[rows] + rest)
    bound = np.where(quality < POOR_HASH_QUALITY, NEAR_HASH_BITS_IF_POOR, NEAR_HASH_BITS)
    return np.where(nearest <= bound, nearest, FAR_HASH_BITS)
