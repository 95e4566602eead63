"""Measures a tower on pieces that it was not trained on: `python -m infra.sandbox.training.measuring`.

The distortions are simple ones, not those of the training, and each has a fixed strength, so that two trainings can be compared.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table

from infra.clip.loading import Tower, load_tower
from infra.clip.shipped import SMALL_MODEL, find_shipped_tag
from infra.sandbox.training.loop import TrainingPlan, contrastive_loss, draw_batch, to_tower_input
from infra.sandbox.training.pool import Pool, draw_held_out_pool
from infra.vision import distortions

Vectors = NDArray[np.float32]
QUANTILES = (0.001, 0.01, 0.05, 0.5)
"""Quantiles reported for the similarities of the right pieces. For wrong pieces, 1 minus these."""


def list_distortions() -> dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]]:
    """Return the distortions of an archived piece by name."""
    return {
        "JPEG 40, half the size": lambda image, _: distortions.reencode(distortions.resize(image, 0.5), 40),
        "brightness 0.5 to 1.5": lambda image, rng: distortions.change_brightness(image, rng.uniform(0.5, 1.5)),
        "blurred by 2 of 160 pixels": lambda image, _: image.filter(ImageFilter.GaussianBlur(2)),
        "sides of 90 %": lambda image, rng: distortions.crop(image, 0.1, anchor=(rng.random(), rng.random())),
        "sides of 70 %": lambda image, rng: distortions.crop(image, 0.3, anchor=(rng.random(), rng.random())),
        "sides of 50 %": lambda image, rng: distortions.crop(image, 0.5, anchor=(rng.random(), rng.random())),
        "outline off by 5 %": lambda image, rng: _cut_out(image, 0.05, rng),
        "outline off by 10 %, darker": lambda image, rng: distortions.change_brightness(_cut_out(image, 0.1, rng), 0.6),
    }


def build_table(tower: Tower, pool: Pool, unarchived: Pool) -> Table:
    """Build a table of recall@1 in the pool for each distortion, and of the similarities of right and of never archived pieces."""
    gallery = _embed_images(tower, (Image.fromarray(each) for each in pool.archived))
    table = Table("query", "recall@1", *(f"{share:.1%} below" for share in QUANTILES), title=f"{tower.name}, {len(pool)} pieces")
    images = {name: (Image.fromarray(each) for each in pool.archived) for name in list_distortions()}
    for name, distorted in list_distortions().items():
        rng = np.random.default_rng(1)
        similarities = _embed_images(tower, (distorted(image, rng) for image in images[name])) @ gallery.T
        table.add_row(name, *_format_row(similarities))
    table.add_row(
        "the original", *_format_row(_embed_images(tower, (Image.fromarray(each) for each in pool.originals)) @ gallery.T)
    )
    wrong = (_embed_images(tower, (Image.fromarray(each) for each in unarchived.archived)) @ gallery.T).max(1)
    table.add_section()
    table.add_row("never archived: nearest", "", *(f"{1 - share:.1%}: {np.quantile(wrong, 1 - share):.3f}" for share in QUANTILES))
    return table


def measure_batch_accuracy(tower: Tower, pool: Pool, batches: int) -> float:
    """Compute the accuracy that the training reports, on other pieces."""
    device = torch.device("cpu")
    with torch.inference_mode():
        shares = [
            contrastive_loss(tower.visual(to_tower_input(draw_batch(pool, TrainingPlan(1), each), device)), 1)[1]
            for each in range(batches)
        ]
    return float(np.mean(shares))


def measure_tower(
    weights: Annotated[str, typer.Option(help="A tag or a weights file.")] = find_shipped_tag(SMALL_MODEL) or "",
    pieces: Annotated[int, typer.Option(min=20, help="Pieces to draw for the gallery, and the same number outside it.")] = 500,
    photographs: Annotated[Path, typer.Option(help="The folder of the training. Only its held-out photographs are used.")] = Path(
        "../shared/art"
    ),
) -> None:
    """Measure mapseek-small on pieces that were not in the training."""
    tower = load_tower(SMALL_MODEL, weights, device="cpu", precision="fp32")
    drawn = draw_held_out_pool(2 * pieces, photographs if photographs.is_dir() else None)
    archived, unarchived = drawn.select(slice(0, None, 2)), drawn.select(slice(1, None, 2))
    out = Console(width=132)
    out.print(f"in-batch accuracy {measure_batch_accuracy(tower, drawn, 8):.3f}")
    out.print(build_table(tower, archived, unarchived))


def _format_row(similarities: Vectors) -> Iterator[str]:
    yield f"{(similarities.argmax(1) == np.arange(len(similarities))).mean():.1%}"
    yield from (f"{np.quantile(similarities.diagonal(), share):.3f}" for share in QUANTILES)


def _embed_images(tower: Tower, images: Iterator[Image.Image]) -> Vectors:
    prepared = [tower.prepare(image) for image in images]
    parts = [tower.vectors(prepared[at : at + 64]).numpy() for at in range(0, len(prepared), 64)]
    return np.concatenate(parts)


def _cut_out(image: Image.Image, off: float, rng: np.random.Generator) -> Image.Image:
    """Cut out the piece, in front of a grey wall, along corners that are wrong by up to the share `off` of its sides."""
    width, height = image.size
    walled = Image.new("RGB", (2 * width, 2 * height), (110, 105, 100))
    walled.paste(image, (width // 2, height // 2))
    corners = np.array([(0.5, 0.5), (0.5, 1.5), (1.5, 1.5), (1.5, 0.5)]) + rng.uniform(-off, off, (4, 2))
    quad = (corners * (width, height)).flatten().tolist()
    return walled.transform((width, height), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)


if __name__ == "__main__":
    typer.run(measure_tower)
