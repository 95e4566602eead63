"""Trains the codebook of visual words: `python -m infra.sandbox.training.codebook [--pictures FOLDER]`, a few minutes on one core.

It learns from generated map art, and from the pictures of a folder drawn as maps. It sees each picture also as a screenshot may
show it: scaled, turned, at an angle, blurred, noisy and compressed. The same seed and pictures give the same codebook.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from infra import vision
from infra.sandbox.art.canvas import quantise
from infra.sandbox.art.generate import MAP_PX, draw_piece
from infra.vision.features import (
    CODEBOOK_SCALE,
    Descriptors,
    extract_features,
    mirror_descriptors,
    normalise_descriptors,
    pair_with_mirrors,
)

WORD_PAIRS = 8192
"""The number of trained words. Each is stored together with its mirror image."""

CODEBOOK_PIECES = 520
VIEWS_PER_PICTURE = 4
DESCRIPTORS_PER_VIEW = 300
SAMPLED_DESCRIPTORS = 450_000
KMEANS_ROUNDS = 6
DESCRIPTORS_PER_CHUNK = 256
CODEBOOK_SEED = 5
CODEBOOK_FILE = Path(vision.__path__[0], "codebook.npz")

Pixels = NDArray[np.uint8]


def iter_pictures(folder: Path | None, rng: np.random.Generator) -> Iterator[Pixels]:
    """Iterate over the map art to learn from, RGB with 128 pixels a map."""
    for seed in range(CODEBOOK_PIECES):
        yield np.asarray(draw_piece(1_000_000 + seed))
    for path in sorted(folder.glob("*.[jp][pn]g")) if folder else ():
        with Image.open(path) as opened:
            photograph = opened.convert("RGB")
        maps = max(1, int(rng.integers(1, 4)))
        ratio = photograph.height / photograph.width
        size = (maps * MAP_PX, max(1, round(maps * ratio)) * MAP_PX)
        small = photograph.resize(size, Image.Resampling.LANCZOS)
        if rng.random() < 0.75:
            small = quantise(small, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))
        yield np.asarray(small)


def distort_picture(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Distort a picture as a screenshot or a phone's photo may show it."""
    height, width = picture.shape[:2]
    factor = float(rng.uniform(0.7, 3.5)) * min(1.0, 256 / max(width, height)) + 0.3
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners * factor + rng.uniform(-0.14, 0.14, (4, 2)) * factor * min(width, height)
    moved = (moved - moved.min(axis=0)).astype(np.float32)
    size = tuple(int(side) + 1 for side in moved.max(axis=0))
    how = cv2.INTER_NEAREST if rng.random() < 0.4 else cv2.INTER_LINEAR
    warped = cv2.warpPerspective(picture, cv2.getPerspectiveTransform(corners, moved), size, flags=how)
    warped = cv2.GaussianBlur(warped, (0, 0), float(rng.uniform(0.2, 2.0)))
    lit = warped * rng.uniform(0.5, 1.15) + rng.normal(0, rng.uniform(0, 8), warped.shape)
    coded = cv2.imencode(".jpg", lit.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def sample_descriptors(picture: Pixels, rng: np.random.Generator) -> Descriptors:
    """Return a random sample of a picture's descriptors."""
    found = extract_features(picture, 2 * DESCRIPTORS_PER_VIEW)[1]
    return found[rng.permutation(len(found))[:DESCRIPTORS_PER_VIEW]]


def learn_words(descriptors: Descriptors, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Run Lloyd's k-means for pairs of words. A descriptor is assigned to the pair whose word or mirrored word is nearest to it."""
    half = _round_words(normalise_descriptors(descriptors[rng.permutation(len(descriptors))[:WORD_PAIRS]]))
    for _ in track(range(KMEANS_ROUNDS), "Training words"):
        words = pair_with_mirrors(half).astype(np.float32) / np.float32(CODEBOOK_SCALE)
        halves = (words * words).sum(axis=1) / 2
        sums, counts = np.zeros((WORD_PAIRS, 128)), np.zeros(WORD_PAIRS, np.int64)
        for start in range(0, len(descriptors), DESCRIPTORS_PER_CHUNK):
            part = descriptors[start : start + DESCRIPTORS_PER_CHUNK]
            rows = normalise_descriptors(part)
            nearest = (rows @ words.T - halves).argmax(axis=1)
            as_kept = np.where((nearest & 1)[:, None] > 0, normalise_descriptors(mirror_descriptors(part)), rows)
            np.add.at(sums, nearest >> 1, as_kept)
            np.add.at(counts, nearest >> 1, 1)
        others = normalise_descriptors(descriptors[rng.choice(len(descriptors), WORD_PAIRS)])
        half = _round_words(np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], others))
    return half


def _round_words(words: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return (words * CODEBOOK_SCALE).round().clip(0, 255).astype(np.uint8)


def train_codebook(
    folder: Annotated[Path | None, typer.Option("--pictures", help="A folder of additional pictures to learn from.")] = None,
    out: Annotated[Path, typer.Option(help="The file of the codebook.")] = CODEBOOK_FILE,
) -> None:
    """Train the codebook of visual words, and write it."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(CODEBOOK_SEED)
    rows = []
    for picture in track(list(iter_pictures(folder, rng)), "Extracting descriptors"):
        rows += [
            sample_descriptors(view, rng)
            for view in (picture, *(distort_picture(picture, rng) for _ in range(VIEWS_PER_PICTURE - 1)))
        ]
    descriptors = np.concatenate(rows)
    descriptors = descriptors[rng.permutation(len(descriptors))[:SAMPLED_DESCRIPTORS]]
    np.savez_compressed(out, words=learn_words(descriptors, rng))
    typer.echo(f"{2 * WORD_PAIRS} words from {len(descriptors)} descriptors in {out}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(train_codebook)
