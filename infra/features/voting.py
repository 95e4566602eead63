"""The vote: every feature of a question speaks for the archived images that have one like it.

As in Jégou, Douze and Schmid: a feature counts by how rare its word is and how alike the signatures are, once for each image.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infra.features.segment import WORDS, Segment
from infra.vision.words import ALIKE

SOFTNESS = 16.0
"""How fast a vote loses weight with the bits that differ."""

POSTINGS_AT_MOST = 24_000_000
"""Postings that one question compares, rarest words first: so no question takes for ever, whatever it shows."""

_LONG = 1000
"""Lists from this length on are compared one by one where they lie; shorter ones are copied together first."""

_TOGETHER = 200_000

Found = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint8]]
"""The feature, the image and the differing bits of each pair that is alike."""


def votes(segments: Sequence[Segment], words: NDArray[np.uint16], signatures: NDArray[np.uint64], size: int) -> NDArray[np.float32]:
    """How much speaks for each of `size` images: `words` and `signatures` are (n, probes), one row a feature of the question."""
    frequencies = sum((np.diff(segment.starts) for segment in segments), np.zeros(WORDS, np.int64))
    features = np.repeat(np.arange(len(words)), words.shape[1])
    flat, marks = words.ravel().astype(np.int64), signatures.ravel()
    order = np.argsort(frequencies[flat], kind="stable")
    order = order[: np.searchsorted(np.cumsum(frequencies[flat[order]]), POSTINGS_AT_MOST, "right")]
    asked = features[order], flat[order], marks[order]
    found = [pair for segment in segments for pair in _alike(segment, *asked)]
    if not found:
        return np.zeros(size, np.float32)
    rarity = np.log1p(frequencies.sum() / np.maximum(frequencies, 1)).astype(np.float32) ** 2
    worth = rarity[words].max(axis=1, initial=0)
    pairs, images, bits = (np.concatenate([each[part] for each in found]) for part in range(3))
    return _counted(pairs, images, bits, worth, size)


def _counted(
    features: NDArray[np.int64], images: NDArray[np.uint32], bits: NDArray[np.uint8], worth: NDArray[np.float32], size: int
) -> NDArray[np.float32]:
    """One vote for each feature and image, that of the most alike pair."""
    pairs = np.sort((features * size + images) << 7 | bits)
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:] >> 7 != pairs[:-1] >> 7
    pairs = pairs[first]
    feature, image = np.divmod(pairs >> 7, size)
    weight = np.exp(-(((pairs & 127) / SOFTNESS) ** 2)) * worth[feature]
    return np.bincount(image, weight, size).astype(np.float32)


def _alike(segment: Segment, features: NDArray[np.int64], words: NDArray[np.int64], marks: NDArray[np.uint64]) -> list[Found]:
    begins = segment.starts[words]
    lengths = segment.starts[words + 1] - begins
    found: list[Found] = []
    for nth in np.flatnonzero(lengths >= _LONG).tolist():
        span = slice(begins[nth], begins[nth] + lengths[nth])
        bits = np.bitwise_count(segment.signatures[span] ^ marks[nth])
        near = np.flatnonzero(bits <= ALIKE)
        found.append((np.full(len(near), features[nth]), segment.images[span][near], bits[near]))
    short = np.flatnonzero((lengths > 0) & (lengths < _LONG))
    ends = np.cumsum(lengths[short])
    for part in np.split(short, np.searchsorted(ends, np.arange(_TOGETHER, ends[-1] if len(ends) else 0, _TOGETHER))):
        length = lengths[part]
        offsets = np.repeat(begins[part] - (np.cumsum(length) - length), length)
        places = np.arange(len(offsets)) + offsets
        asking = np.repeat(part, length)
        bits = np.bitwise_count(segment.signatures[places] ^ marks[asking])
        near = np.flatnonzero(bits <= ALIKE)
        found.append((features[asking[near]], segment.images[places[near]], bits[near]))
    return found
