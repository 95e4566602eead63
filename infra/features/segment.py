"""A segment: the postings of some images, in order of their visual words, and never changed.

14 bytes a posting: the number of the image, the signature of the feature and its pose. Large ones are mapped from a file, so that
only what questions touch is in memory, and the system may take it back.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

WORD_COUNT = 1 << 14
"""As many as infra/vision/features.py knows."""

MIN_MAPPED_POSTINGS = 500_000
"""Postings (7 MB) from which a new segment lies in a file without a name, until a snapshot keeps it, rather than in memory."""

_BLOCK = 256
"""Words that are merged at once: it bounds the memory that a merge takes."""

_HEAD = 8 * (WORD_COUNT + 1)
_EACH = 14


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """`starts` (WORDS + 1,) is where the postings of each word begin. `name` is the digest of the file that keeps it, if one does.

    `first` and `last` are the lowest and the highest number of an image in it.
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
    """A segment in memory of postings, at least one, in order of their images. Raises ValueError for a word that there is not."""
    if words.max() >= WORD_COUNT:
        raise ValueError(f"there is no visual word {words.max()}")
    order = np.argsort(words, kind="stable")
    starts = _starts(np.bincount(words, minlength=WORD_COUNT))
    return Segment(starts, signatures[order], images[order], poses[order], int(images[0]), int(images[-1]))


def merge_segments(segments: Sequence[Segment], alive: NDArray[np.bool_], folder: Path | None) -> Segment:
    """One segment of several that follow each other, without the images that are not `alive`, on disk if it is large.

    `alive` says it by number; higher numbers are alive.
    """
    kept = np.ones(max(len(alive), *(segment.last + 1 for segment in segments)), bool)
    kept[: len(alive)] = alive
    counts = np.zeros(WORD_COUNT, np.int64)
    for segment in segments:
        words = np.repeat(np.arange(WORD_COUNT, dtype=np.uint16), np.diff(segment.starts))
        counts += np.bincount(words[kept[segment.images]], minlength=WORD_COUNT)
    starts = _starts(counts)
    result = _mapped(_room(int(starts[-1]), folder), segments[0].first, segments[-1].last)
    result.starts[:] = starts
    for low in range(0, WORD_COUNT, _BLOCK):
        _merge_block(segments, kept, result, low, min(low + _BLOCK, WORD_COUNT))
    return result


def write_segment(segment: Segment, file: IO[bytes]) -> None:
    """Write what `opened` reads."""
    arrays: tuple[NDArray[Any], ...] = (segment.starts, segment.signatures, segment.images, segment.poses)
    for array in arrays:
        file.write(array.data)


def open_segment(path: Path, name: str, first: int, last: int) -> Segment:
    """The segment that was written to a file. Raises ValueError when it holds anything else, OSError when it cannot be read."""
    segment = _mapped(np.memmap(path, np.uint8, "r"), first, last, name)
    if segment.starts[0] != 0 or segment.starts[-1] != len(segment) or (np.diff(segment.starts) < 0).any():
        raise ValueError(f"{path.name} is no segment of an index")
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


def _room(postings: int, folder: Path | None) -> NDArray[np.uint8]:
    """Space for a segment: in memory, or in a file that is gone as soon as nobody uses it."""
    size = _HEAD + _EACH * postings
    if folder is None or postings < MIN_MAPPED_POSTINGS:
        return np.zeros(size, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return np.memmap(file, np.uint8, "r+", shape=(size,))


def _mapped(content: NDArray[np.uint8], first: int, last: int, name: str | None = None) -> Segment:
    if len(content) < _HEAD or (len(content) - _HEAD) % _EACH:
        raise ValueError("a segment of an index is not as long as it should be")
    plain: NDArray[Any] = np.asarray(content)
    postings = (len(content) - _HEAD) // _EACH
    starts, signatures, images, poses = np.split(plain, [_HEAD, _HEAD + 8 * postings, _HEAD + 12 * postings])
    return Segment(starts.view("<i8"), signatures.view("<u8"), images.view("<u4"), poses.view("<u2"), first, last, name)


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
