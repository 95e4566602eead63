"""Trains the codebook of visual words: `python -m infra.sandbox.training.codebook [--pictures FOLDER]`, a few minutes on one core.

It learns from procedural map art, and from the pictures of a folder as maps would show them, each also as a screenshot may show it:
scaled, turned, seen at an angle, blurred, noisy and compressed. The same seed and pictures give the same codebook.
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
from infra.sandbox.art.generate import MAP, piece
from infra.vision.features import SCALE, Descriptors, features_of, mirrored, paired, units

HALF = 8192
"""Words that are learnt; each has its mirror image beside it."""

PIECES = 520
EACH = 4
PER_VIEW = 300
SAMPLE = 450_000
ROUNDS = 6
CHUNK = 256
SEED = 5
OUT = Path(vision.__path__[0], "codebook.npz")

Pixels = NDArray[np.uint8]


def pictures(folder: Path | None, rng: np.random.Generator) -> Iterator[Pixels]:
    """Map art to learn from, RGB with 128 pixels a map."""
    for seed in range(PIECES):
        yield np.asarray(piece(1_000_000 + seed))
    for path in sorted(folder.glob("*.[jp][pn]g")) if folder else ():
        with Image.open(path) as opened:
            photograph = opened.convert("RGB")
        maps = max(1, int(rng.integers(1, 4)))
        ratio = photograph.height / photograph.width
        size = (maps * MAP, max(1, round(maps * ratio)) * MAP)
        small = photograph.resize(size, Image.Resampling.LANCZOS)
        if rng.random() < 0.75:
            small = quantise(small, "flat" if rng.random() < 0.5 else "staircase", dither=bool(rng.random() < 0.5))
        yield np.asarray(small)


def seen(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """A picture as a screenshot or a phone's photo may show it."""
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


def described(picture: Pixels, rng: np.random.Generator) -> Descriptors:
    """Some of a picture's descriptors."""
    found = features_of(picture, 2 * PER_VIEW)[1]
    return found[rng.permutation(len(found))[:PER_VIEW]]


def learnt(descriptors: Descriptors, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lloyd's k-means for pairs of words: a descriptor counts for the word that it, or its mirror image, is nearest to."""
    half = _rounded(units(descriptors[rng.permutation(len(descriptors))[:HALF]]))
    for _ in track(range(ROUNDS), "Learning words"):
        words = paired(half).astype(np.float32) / np.float32(SCALE)
        halves = (words * words).sum(axis=1) / 2
        sums, counts = np.zeros((HALF, 128)), np.zeros(HALF, np.int64)
        for start in range(0, len(descriptors), CHUNK):
            part = descriptors[start : start + CHUNK]
            rows = units(part)
            nearest = (rows @ words.T - halves).argmax(axis=1)
            as_kept = np.where((nearest & 1)[:, None] > 0, units(mirrored(part)), rows)
            np.add.at(sums, nearest >> 1, as_kept)
            np.add.at(counts, nearest >> 1, 1)
        others = units(descriptors[rng.choice(len(descriptors), HALF)])
        half = _rounded(np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], others))
    return half


def _rounded(words: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return (words * SCALE).round().clip(0, 255).astype(np.uint8)


def main(
    folder: Annotated[Path | None, typer.Option("--pictures", help="A folder of pictures to learn from as well.")] = None,
    out: Annotated[Path, typer.Option(help="Where the codebook goes.")] = OUT,
) -> None:
    """Train the codebook and write it."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(SEED)
    rows = []
    for picture in track(list(pictures(folder, rng)), "Extracting descriptors"):
        rows += [described(view, rng) for view in (picture, *(seen(picture, rng) for _ in range(EACH - 1)))]
    descriptors = np.concatenate(rows)
    descriptors = descriptors[rng.permutation(len(descriptors))[:SAMPLE]]
    np.savez_compressed(out, words=learnt(descriptors, rng))
    typer.echo(f"{2 * HALF} words from {len(descriptors)} descriptors in {out}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
