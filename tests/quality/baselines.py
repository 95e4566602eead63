"""What others do with the same files: PDQ and the embedding, each of the whole picture, and the seed bot's descriptor."""

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
HASHED = 128
"""Numbers of the seed bot's 512 that are the MD5 of the file."""


def pdq(data: bytes) -> Vectors:
    """The 256 bits of PDQ as -1 and 1, so that the cosine of two is 1 less the share of bits that differ, doubled."""
    grey = np.asarray(_opened(data).convert("L"), np.float32)
    height, width = grey.shape
    window = max(1, round(width / 128)), max(1, round(height / 128))
    soft = cv2.blur(cv2.blur(grey, window), window)
    rows, columns = (((np.arange(64) + 0.5) * side / 64).astype(int) for side in (height, width))
    small = soft[np.ix_(rows, columns)]
    places = np.arange(1, 17)[:, None] * (2 * np.arange(64)[None] + 1)
    waves = np.sqrt(2 / 64) * np.cos(np.pi / 128 * places)
    spectrum = waves @ small @ waves.T
    return np.where(spectrum > np.median(spectrum), 1, -1).astype(np.float32).ravel() / 16


def seed_bot(data: bytes) -> Vectors:
    """512 numbers: 128 bits of the file's MD5, and 384 of the picture: an 8x8 thumbnail, colour histograms, directions of edges.

    Only the first part is known for certain; the rest is what a simple descriptor has, and each of the four parts weighs as much as
    it has numbers.
    """
    digest = np.unpackbits(np.frombuffer(hashlib.md5(data).digest(), np.uint8)).astype(np.float32) * 2 - 1
    pixels = np.asarray(_opened(data).resize((64, 64), Image.Resampling.BOX), np.float32) / 255
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


def _opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def _unit(values: Vectors) -> Vectors:
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-9), np.float32)


def outcomes(queries: Sequence[Query], asked: Mapping[str, Vectors], archived: Mapping[int, Vectors]) -> list[Outcome]:
    """The three nearest of the archive by cosine, for each question; those that have no vector are not answered."""
    numbers = list(archived)
    table = np.stack([archived[number] for number in numbers])
    answers = []
    for query in queries:
        told: list[tuple[frozenset[int], float]] = []
        if (vector := asked.get(query.name)) is not None:
            similar = table @ vector
            nearest = np.argsort(-similar)[:TOP]
            told = [(frozenset([numbers[at]]), float(similar[at])) for at in nearest]
        answers.append(Outcome(query.expected, told))
    return answers


def by_descriptor(describe: Callable[[bytes], Vectors], gallery: Sequence[Path], queries: Sequence[Query]) -> list[Outcome]:
    """The same with a descriptor of the files."""
    archived = {number: describe(path.read_bytes()) for number, path in enumerate(gallery)}
    asked = {query.name: describe(Path(query.file).read_bytes()) for query in queries}
    return outcomes(queries, asked, archived)
