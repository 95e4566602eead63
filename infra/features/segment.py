"""Segments of the inverted index. A segment holds the postings of some images, ordered by visual word, and never changes.

A posting takes 14 bytes: the number of the image, the signature of the feature and its pose. Large segments are mapped from a file,
so that only what queries read is in memory, and the system can free it again.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

WORD_COUNT = 1 << 14
"""The number of visual words in the codebook (infra/vision/features.py)."""

MIN_MAPPED_POSTINGS = 500_000
"""A new segment with at least this many postings (7 MB) is stored in an unnamed file instead of memory, until a snapshot saves it.
"""

_BLOCK_WORDS = 256
"""Segments are merged in blocks of this many words, which bounds the memory of a merge."""

_HEAD_BYTES = 8 * (WORD_COUNT + 1)
_POSTING_BYTES = 14


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The postings of some images, ordered by visual word.

    `starts` (WORD_COUNT + 1,) is where the postings of each word begin. `first` and `last` are the lowest and the highest number of
    an image in the segment. `name` is the digest of the file that the segment was saved to, if it was.
    """

    starts: NDArray[np.int64]
    signatures: NDArray[np.uint64]
    images: NDArray[np.uint32]
    poses: NDArray[np.uint16]
    first: int
    last: int
    name: str | None = None

    def __len__(self) -> int:
        return len(self.images)


def seal_segment(
    words: NDArray[np.uint16], signatures: NDArray[np.uint64], images: NDArray[np.uint32], poses: NDArray[np.uint16]
) -> Segment:
    """Build a segment in memory from at least one posting, in order of the images. Raises ValueError for an unknown word."""
    if words.max() >= WORD_COUNT:
        raise ValueError(f"there is no visual word {words.max()}: the codebook has {WORD_COUNT}")
    order = np.argsort(words, kind="stable")
    starts = _starts_from_counts(np.bincount(words, minlength=WORD_COUNT))
    return Segment(starts, signatures[order], images[order], poses[order], int(images[0]), int(images[-1]))


def merge_segments(segments: Sequence[Segment], alive: NDArray[np.bool_], folder: Path | None) -> Segment:
    """Merge neighbouring segments into one, without the images that are not `alive`. A large one is stored on disk.

    `alive` is a mask by image number. Numbers beyond it are alive.
    """
    kept = np.ones(max(len(alive), *(segment.last + 1 for segment in segments)), bool)
    kept[: len(alive)] = alive
    counts = np.zeros(WORD_COUNT, np.int64)
    for segment in segments:
        words = np.repeat(np.arange(WORD_COUNT, dtype=np.uint16), np.diff(segment.starts))
        counts += np.bincount(words[kept[segment.images]], minlength=WORD_COUNT)
    starts = _starts_from_counts(counts)
    result = _map_arrays(_allocate(int(starts[-1]), folder), segments[0].first, segments[-1].last)
    result.starts[:] = starts
    for low in range(0, WORD_COUNT, _BLOCK_WORDS):
        _merge_block(segments, kept, result, low, min(low + _BLOCK_WORDS, WORD_COUNT))
    return result


def write_segment(segment: Segment, file: IO[bytes]) -> None:
    """Write a segment to a file that `open_segment` reads."""
    arrays: tuple[NDArray[Any], ...] = (segment.starts, segment.signatures, segment.images, segment.poses)
    for array in arrays:
        file.write(array.data)


def open_segment(path: Path, name: str, first: int, last: int) -> Segment:
    """Map a segment from its file. Raises ValueError if the file holds anything else, OSError if it cannot be read."""
    segment = _map_arrays(np.memmap(path, np.uint8, "r"), first, last, name)
    if segment.starts[0] != 0 or segment.starts[-1] != len(segment) or (np.diff(segment.starts) < 0).any():
        raise ValueError(f"{path.name} is not a segment of an index")
    return segment


def _merge_block(segments: Sequence[Segment], kept: NDArray[np.bool_], result: Segment, low: int, high: int) -> None:
    words, signatures, images, poses = [], [], [], []
    for segment in segments:
        span = slice(int(segment.starts[low]), int(segment.starts[high]))
        stays = kept[segment.images[span]]
        of_words = np.repeat(np.arange(low, high, dtype=np.uint16), np.diff(segment.starts[low : high + 1]))
        words.append(of_words[stays])
        signatures.append(segment.signatures[span][stays])
        images.append(segment.images[span][stays])
        poses.append(segment.poses[span][stays])
    order = np.argsort(np.concatenate(words), kind="stable")
    span = slice(int(result.starts[low]), int(result.starts[high]))
    result.signatures[span] = np.concatenate(signatures)[order]
    result.images[span] = np.concatenate(images)[order]
    result.poses[span] = np.concatenate(poses)[order]


def _allocate(postings: int, folder: Path | None) -> NDArray[np.uint8]:
    """Allocate space for a segment: in memory, or in a file that the system deletes when it is no longer used."""
    size = _HEAD_BYTES + _POSTING_BYTES * postings
    if folder is None or postings < MIN_MAPPED_POSTINGS:
        return np.zeros(size, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return np.memmap(file, np.uint8, "r+", shape=(size,))


def _map_arrays(content: NDArray[np.uint8], first: int, last: int, name: str | None = None) -> Segment:
    if len(content) < _HEAD_BYTES or (len(content) - _HEAD_BYTES) % _POSTING_BYTES:
        raise ValueError("the file of a segment of an index has the wrong length")
    plain: NDArray[Any] = np.asarray(content)
    postings = (len(content) - _HEAD_BYTES) // _POSTING_BYTES
    starts, signatures, images, poses = np.split(plain, [_HEAD_BYTES, _HEAD_BYTES + 8 * postings, _HEAD_BYTES + 12 * postings])
    return Segment(starts.view("<i8"), signatures.view("<u8"), images.view("<u4"), poses.view("<u2"), first, last, name)


def _starts_from_counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
