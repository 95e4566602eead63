"""Other ways to find the same files: PDQ and the embedding of the whole picture, and a simple descriptor."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.quality.making import Query
from tests.quality.scoring import Outcome

Vectors = NDArray[np.float32]
TOP = 3


def describe_by_pdq(data: bytes) -> Vectors:
    """Return the 256 bits of PDQ as -1 and 1. So the cosine of two is 1 minus twice the share of differing bits."""
    grey = np.asarray(_open(data).convert("L"), np.float32)
    height, width = grey.shape
    window = max(1, round(width / 128)), max(1, round(height / 128))
    soft = cv2.blur(cv2.blur(grey, window), window)
    rows, columns = (((np.arange(64) + 0.5) * side / 64).astype(int) for side in (height, width))
    small = soft[np.ix_(rows, columns)]
    places = np.arange(1, 17)[:, None] * (2 * np.arange(64)[None] + 1)
    waves = np.sqrt(2 / 64) * np.cos(np.pi / 128 * places)
    spectrum = waves @ small @ waves.T
    return np.where(spectrum > np.median(spectrum), 1, -1).astype(np.float32).ravel() / 16


def describe_simply(data: bytes) -> Vectors:
    """Return 512 numbers: 128 bits of the file's MD5, and 384 numbers of an 8x8 thumbnail, colour histograms and edge directions.

    This is what a simple descriptor has. The weight of each of the four parts is in proportion to its count of numbers.
    """
    digest = np.unpackbits(np.frombuffer(hashlib.md5(data).digest(), np.uint8)).astype(np.float32) * 2 - 1
    pixels = np.asarray(_open(data).resize((64, 64), Image.Resampling.BOX), np.float32) / 255
    thumbnail = cv2.resize(pixels, (8, 8), interpolation=cv2.INTER_AREA) * 2 - 1
    histograms = np.concatenate([np.histogram(pixels[..., channel], 32, (0, 1))[0] for channel in range(3)]) / 4096
    grey = pixels.mean(-1)
    down, across = np.gradient(grey)
    direction = ((np.arctan2(down, across) % np.pi) / np.pi * 6).astype(int) % 6
    edges = np.zeros((4, 4, 6), np.float32)
    rows, columns = np.mgrid[0:64, 0:64] // 16
    np.add.at(edges, (rows, columns, direction), np.hypot(down, across))
    parts = [_unit(each.ravel()) * np.sqrt(each.size / 512) for each in (digest, thumbnail, histograms, edges)]
    return np.concatenate(parts).astype(np.float32)


def _open(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def _unit(values: Vectors) -> Vectors:
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-9), np.float32)


def rank_by_cosine(queries: Sequence[Query], asked: Mapping[str, Vectors], archived: Mapping[int, Vectors]) -> list[Outcome]:
    """Return the three nearest archived pieces by cosine for each query. A query without a vector gets no answer."""
    numbers = list(archived)
    table = np.stack([archived[number] for number in numbers])
    answers = []
    for query in queries:
        found: list[tuple[frozenset[int], float]] = []
        if (vector := asked.get(query.name)) is not None:
            similar = table @ vector
            nearest = np.argsort(-similar)[:TOP]
            found = [(frozenset([numbers[at]]), float(similar[at])) for at in nearest]
        answers.append(Outcome(query.expected, found))
    return answers


def rank_by_descriptor(describe: Callable[[bytes], Vectors], gallery: Sequence[Path], queries: Sequence[Query]) -> list[Outcome]:
    """Return the three nearest archived pieces for each query by a descriptor of the files."""
    archived = {number: describe(path.read_bytes()) for number, path in enumerate(gallery)}
    asked = {query.name: describe(Path(query.file).read_bytes()) for query in queries}
    return rank_by_cosine(queries, asked, archived)
