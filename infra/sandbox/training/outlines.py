"""Trains the judge of outlines: `python -m infra.sandbox.training.outlines [--photographs FOLDER]`, half an hour on two cores.

The judge learns how much a quadrilateral overlaps the outline of a piece. The examples are the candidates in scenes with generated
map art (and photographs of a folder, as maps), and random displacements of the true outline. The scenes are the same each time.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from rich.progress import track
from torch import nn
from torch.nn import functional

from infra import vision
from infra.sandbox.art.camera import ArtPicture
from infra.sandbox.art.canvas import Rng, Style, quantise
from infra.sandbox.art.generate import MAP_PX, PIECE_SIZES, draw_piece
from infra.sandbox.art.ingame import take_screenshot
from infra.sandbox.art.phone import take_photo
from infra.vision.regions import (
    CONVOLUTIONS,
    HIDDEN_UNITS,
    INNER_CORNERS,
    INNER_PX,
    NET_SIDE_PX,
    build_pyramid,
    compute_iou,
    find_quads,
    measure_edges,
    prepare_lab,
    rectify_quad,
    to_net_input,
)

FIRST_OUTLINE_SEED = 5_000_000
"""The seed of the first piece. Other trainings, tests and benchmarks use other seeds."""
OUTLINE_SEEDS = 10**8
TRAINING_CANDIDATES = 150
"""Three times as many candidates as are judged later, so that a scene gives more examples."""
MAX_RIGHT_EXAMPLES, EXAMPLES_PER_SCENE = 40, 70
"""How many candidates of a scene are used: at most this many that are about right, and about this many in all."""
RIGHT_OVERLAP = 0.5
CORNER_OFFSETS = (0.0, 0.02, 0.04, 0.06)
"""The random displacements of corners, as shares of the piece's diagonal.

The 0 gives one right example even if no candidate is right.
"""
WORTHLESS_OVERLAP, FULL_WORTH_OVERLAP = 0.6, 0.9
"""The overlap (intersection over union) up to which the target of an outline is 0, and from which it is 1."""
PHOTO_SHARE = 0.5
TINY_SHARE = 0.25
PHOTOGRAPH_SHARE = 0.2
PLAIN_SHARE = 0.3
EXAMPLES_PER_BATCH = 256
LEARNING_RATE = 3e-3
GOOD_OVERLAP = 0.85
"""The overlap from which an outline counts as right when the side weights are fitted."""
CORNER_LOSS_WEIGHT, CORNER_LOSS_UNIT, CORNER_LOSS_BETA = 5.0, 0.1, 0.02
"""The weight of the corners in the loss, the share of a side that equals 1, and the error below which the loss is quadratic."""
MIN_SPREAD = 0.05
RIDGE_PENALTY = 1e-5
OUTLINES_SEED = 11
JUDGE_FILE = Path(vision.__path__[0], "judging.npz")


class OutlineExamples(NamedTuple):
    """n examples for the judge: the inputs `seen` and `figures`, and the targets `overlaps` and `corners`.

    `seen` (n, NET_SIDE_PX, NET_SIDE_PX, 3) is the input of the net, `figures` (n, EDGE_FIGURES) describes the edges. `overlaps`
    (n,) is the overlap of each quadrilateral with the true outline. `corners` (n, 4, 2) is the offset of each true corner from the
    corner of the quadrilateral, as a share of its side, at most 1.
    """

    seen: NDArray[np.uint8]
    figures: NDArray[np.float32]
    overlaps: NDArray[np.float32]
    corners: NDArray[np.float32]


def draw_scene(rng: Rng, photographs: list[Path]) -> ArtPicture:
    """Draw a picture with map art in it, as somebody may send it."""
    severity = int(rng.integers(1, 4))
    shown = _draw_art(rng, photographs)
    if rng.random() < PHOTO_SHARE:
        made = take_photo(shown, rng, severity)
    else:
        made = take_screenshot(shown, rng, severity, beside=[_draw_art(rng, photographs)] if rng.random() < 0.25 else [])
    image, quality = made.image, made.quality or 92
    if rng.random() < TINY_SHARE:
        size = [round(side * rng.uniform(0.25, 0.45)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
        quality = int(rng.integers(25, 60))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return ArtPicture(Image.open(buffer), made.place)


def collect_examples(seed: int, photographs: list[Path]) -> OutlineExamples | None:
    """Collect the examples of the scene of a seed. None if it gives no examples."""
    rng = np.random.default_rng([OUTLINES_SEED, seed])
    drawn = draw_scene(rng, photographs)
    lab = prepare_lab(np.asarray(drawn.image))
    quads = find_quads(lab, TRAINING_CANDIDATES)
    truth = (np.array(drawn.place).reshape(4, 2) * (lab.shape[1], lab.shape[0]) - 0.5).astype(np.float32)
    if not len(quads) or not cv2.isContourConvex(truth):
        return None
    overlaps = np.array([compute_iou(truth, quad) for quad in quads], np.float32)
    right, wrong = (rng.permutation(np.flatnonzero(each)) for each in (overlaps > RIGHT_OVERLAP, overlaps <= RIGHT_OVERLAP))
    right = right[:MAX_RIGHT_EXAMPLES]
    displaced = _move_corners(truth, rng)
    chosen = np.concatenate([right, wrong[: max(20, EXAMPLES_PER_SCENE - len(right))]])
    used = np.concatenate([quads[chosen], displaced])
    levels = build_pyramid(lab)
    seen = np.stack([rectify_quad(levels, quad) for quad in used])
    overlaps = np.append(overlaps[chosen], [compute_iou(truth, quad) for quad in displaced]).astype(np.float32)
    return OutlineExamples(seen, measure_edges(lab, used), overlaps, np.stack([_corner_offsets(quad, truth) for quad in used]))


def train_net(examples: OutlineExamples, epochs: int) -> nn.Module:
    """Train the net for `epochs` passes over the examples, which are turned and mirrored at random each time.

    The net also learns where the true corners are. That output is never used, but it makes the net look at corners.
    """
    torch.manual_seed(OUTLINES_SEED)
    net = _build_net()
    count = len(examples.seen) // EXAMPLES_PER_BATCH
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=max(2, epochs * count))
    for _ in track(range(epochs), "Training"):
        order = torch.randperm(len(examples.seen)).numpy()
        for part in (
            order[start : start + EXAMPLES_PER_BATCH] for start in range(0, count * EXAMPLES_PER_BATCH, EXAMPLES_PER_BATCH)
        ):
            seen, corners = turn_examples(examples.seen[part], examples.corners[part], int(torch.randint(8, ())))
            shown = torch.from_numpy(to_net_input(seen)).permute(0, 3, 1, 2) * (0.8 + 0.4 * torch.rand(len(part), 1, 1, 1))
            targets = (
                (torch.from_numpy(examples.overlaps[part]) - WORTHLESS_OVERLAP) / (FULL_WORTH_OVERLAP - WORTHLESS_OVERLAP)
            ).clamp(0, 1)
            outputs, right = net(shown), targets > 0
            moved, wanted = outputs[right, 1:].reshape(-1, 4, 2) * CORNER_LOSS_UNIT, torch.from_numpy(corners)[right]
            off = functional.smooth_l1_loss(moved, wanted, beta=CORNER_LOSS_BETA, reduction="sum") / max(wanted.numel(), 1)
            loss = functional.binary_cross_entropy_with_logits(outputs[:, 0], targets) + CORNER_LOSS_WEIGHT * off
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return net


def turn_examples(
    seen: NDArray[np.uint8], corners: NDArray[np.float32], turn: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Mirror the examples and their corners (if `turn` is 4 or more), and turn them by `turn % 4` quarter turns."""
    if turn >= 4:
        seen, corners = seen[:, :, ::-1], corners[:, [1, 0, 3, 2]] * np.array([-1, 1], np.float32)
    for _ in range(turn % 4):
        corners = np.roll(corners, -1, axis=1)[:, :, ::-1] * np.array([1, -1], np.float32)
    return np.ascontiguousarray(np.rot90(seen, turn % 4, axes=(1, 2))), np.ascontiguousarray(corners)


def fit_side_weights(examples: OutlineExamples) -> NDArray[np.float32]:
    """Fit the weight of each edge figure (EDGE_FIGURES,) by a logistic regression on whether the overlap exceeds GOOD_OVERLAP."""
    figures, good = torch.from_numpy(examples.figures), torch.from_numpy((examples.overlaps > GOOD_OVERLAP).astype(np.float32))
    spread = figures.std(0) + MIN_SPREAD
    rows = torch.column_stack([(figures - figures.mean(0)) / spread, torch.ones(len(figures))])
    weights = torch.zeros(rows.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        off = functional.binary_cross_entropy_with_logits(rows @ weights, good) + RIDGE_PENALTY * (weights[:-1] ** 2).sum()
        off.backward()  # type: ignore[no-untyped-call]
        return off

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    worth: NDArray[np.float32] = (weights[:-1] / spread).detach().numpy()
    return worth


def export_layers(net: nn.Module, sides: NDArray[np.float32]) -> dict[str, NDArray[np.float16]]:
    """Return the weights in the layout of the judge in infra/vision: kernels and planes as columns."""
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    layers = {"sides": sides}
    for at in range(len(CONVOLUTIONS)):
        kernel = state[f"{2 * at}.weight"]
        layers[f"kernel{at}"], layers[f"bias{at}"] = kernel.reshape(len(kernel), -1).T, state[f"{2 * at}.bias"]
    first = 2 * len(CONVOLUTIONS) + 1
    channels = CONVOLUTIONS[-1][1]
    hidden = state[f"{first}.weight"].reshape(HIDDEN_UNITS, channels, -1).transpose(2, 1, 0).reshape(-1, HIDDEN_UNITS)
    layers |= {"hidden": hidden, "hidden_bias": state[f"{first}.bias"]}
    layers |= {"out": state[f"{first + 2}.weight"][:1].T, "out_bias": state[f"{first + 2}.bias"][:1]}
    return {name: np.ascontiguousarray(value, np.float16) for name, value in layers.items()}


def train_outline_judge(
    scenes: Annotated[int, typer.Option(min=1, help="Number of pictures to learn from.")] = 2000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 10,
    photographs: Annotated[Path | None, typer.Option(help="A folder of pictures to draw as maps, besides generated art.")] = None,
    out: Annotated[Path, typer.Option(help="The file of the weights.")] = JUDGE_FILE,
) -> None:
    """Train the judge of outlines, and write its weights."""
    files = sorted(photographs.glob("*.[jp][pn]g")) if photographs else []
    context = get_context("spawn")  # threads of torch or OpenCV do not survive a fork
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, cv2.setNumThreads, (1,)) as pool:
        jobs = pool.map(collect_examples, range(scenes), [files] * scenes, chunksize=8)
        parts = [part for part in track(jobs, "Drawing scenes", scenes) if part is not None]
    examples = OutlineExamples(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    np.savez_compressed(out, **export_layers(train_net(examples, epochs), fit_side_weights(examples)))  # type: ignore[arg-type]
    typer.echo(f"trained on {sum(len(part.seen) for part in parts)} outlines; {out}, {out.stat().st_size / 1e3:.0f} kB")


def _corner_offsets(quad: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the offsets of the true corners from those of a straightened quadrilateral (4, 2).

    The first corner may be any of the four; the order with the smallest offsets is taken.
    """
    seen = cv2.perspectiveTransform(truth[None], cv2.getPerspectiveTransform(quad, INNER_CORNERS))[0]
    off = min((np.roll(seen, turn, axis=0) - INNER_CORNERS for turn in range(4)), key=lambda each: float(np.abs(each).sum()))
    return np.asarray(np.clip(off / INNER_PX, -1, 1), np.float32)


def _move_corners(truth: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Return the outline (4, 2) with its corners moved at random, once for each of CORNER_OFFSETS."""
    diagonal = np.linalg.norm(truth[2] - truth[0])
    moved = [(truth + rng.normal(0, share, (4, 2)) * diagonal).astype(np.float32) for share in CORNER_OFFSETS]
    return np.stack([quad for quad in moved if cv2.isContourConvex(quad)])


def _build_net() -> nn.Sequential:
    layers: list[nn.Module] = []
    side = NET_SIDE_PX
    for before, after, size in CONVOLUTIONS:
        layers += [nn.Conv2d(before, after, size, 2), nn.ReLU()]
        side = (side - size) // 2 + 1
    hidden = nn.Linear(CONVOLUTIONS[-1][1] * side * side, HIDDEN_UNITS)
    return nn.Sequential(*layers, nn.Flatten(), hidden, nn.ReLU(), nn.Linear(HIDDEN_UNITS, 1 + 4 * 2))


def _draw_art(rng: Rng, photographs: list[Path]) -> Image.Image:
    """Draw a piece. Some are made from photographs, some have hardly more than a few colours."""
    style: Style = "flat" if rng.random() < 0.5 else "staircase"
    dither = bool(rng.random() < 0.5)
    if photographs and rng.random() < PHOTOGRAPH_SHARE:
        width, height = PIECE_SIZES[int(rng.integers(len(PIECE_SIZES)))]
        where = float(rng.random()), float(rng.random())
        opened = Image.open(photographs[int(rng.integers(len(photographs)))]).convert("RGB")
        return quantise(ImageOps.fit(opened, (width * MAP_PX, height * MAP_PX), centering=where), style, dither=dither)
    drawn = draw_piece(FIRST_OUTLINE_SEED + int(rng.integers(OUTLINE_SEEDS)))
    if rng.random() >= PLAIN_SHARE:
        return drawn
    few = drawn.resize((int(rng.integers(2, 7)), int(rng.integers(2, 7))), Image.Resampling.BOX)
    how = Image.Resampling.NEAREST if rng.random() < 0.4 else Image.Resampling.BICUBIC
    return quantise(few.resize(drawn.size, how), style, dither=dither)


if __name__ == "__main__":
    typer.run(train_outline_judge)
