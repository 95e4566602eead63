"""Trains the judge of outlines: `python -m infra.vision.learning [--photographs FOLDER]`, about half an hour on two cores.

It learns from scenes with procedural map art (and the photographs of a folder as maps): of each quadrilateral that is a candidate
in a scene, how much it overlaps the outline of the piece. Scenes are the same each time.
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

from infra.art.camera import Scene
from infra.art.canvas import Rng
from infra.art.generate import MAP, SIZES, piece
from infra.art.ingame import screenshot
from infra.art.palette import Style, quantise
from infra.art.phone import photo
from infra.vision.judging import CONVOLUTIONS, HIDDEN, SIDE, as_input, halved, straightened
from infra.vision.localise import candidates, overlap, working

FIRST = 5_000_000
"""The first procedural piece; other trainings, tests and benchmarks draw others."""
PIECES = 10**8
MOST_RIGHT, MOST = 40, 70
"""Candidates of a scene that are learnt from: so many that are about right at most, and so many in all at least."""
ABOUT_RIGHT = 0.5
NOTHING, ALL = 0.6, 0.9
"""The overlap (intersection over union) up to which an outline counts nothing, and from which it counts in full."""
ON_SCREENS = 0.5
TINY = 0.25
PHOTOGRAPHS = 0.2
PLAIN = 0.3
BATCH = 256
RATE = 3e-3
SEED = 11
OUTPUT = Path(__file__).with_name("judging.npz")


class Examples(NamedTuple):
    """What the judge sees (n, SIDE, SIDE, 3), and how much each outline overlaps the truth (n,)."""

    seen: NDArray[np.uint8]
    overlaps: NDArray[np.float32]


def scene(rng: Rng, photographs: list[Path]) -> Scene:
    """A picture with map art in it, as somebody may send it."""
    severity = int(rng.integers(1, 4))
    shown = _art(rng, photographs)
    if rng.random() < ON_SCREENS:
        made = photo(shown, rng, severity)
    else:
        made = screenshot(shown, rng, severity, beside=[_art(rng, photographs)] if rng.random() < 0.25 else [])
    image, quality = made.image, made.quality or 92
    if rng.random() < TINY:
        size = [round(side * rng.uniform(0.25, 0.45)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
        quality = int(rng.integers(25, 60))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Scene(Image.open(buffer), made.place)


def examples(seed: int, photographs: list[Path]) -> Examples | None:
    """What is learnt from the scene of that seed; None where there is nothing to learn."""
    rng = np.random.default_rng([SEED, seed])
    drawn = scene(rng, photographs)
    lab = working(np.asarray(drawn.image))
    quads = candidates(lab)
    truth = (np.array(drawn.place).reshape(4, 2) * (lab.shape[1], lab.shape[0]) - 0.5).astype(np.float32)
    if not len(quads) or not cv2.isContourConvex(truth):
        return None
    overlaps = np.array([overlap(truth, quad) for quad in quads], np.float32)
    right, wrong = (rng.permutation(np.flatnonzero(each)) for each in (overlaps > ABOUT_RIGHT, overlaps <= ABOUT_RIGHT))
    right = right[:MOST_RIGHT]
    chosen = np.concatenate([right, wrong[: max(20, MOST - len(right))]])
    levels = halved(lab)
    return Examples(np.stack([straightened(levels, quads[at]) for at in chosen]), overlaps[chosen])


def learnt(given: Examples, epochs: int) -> nn.Module:
    """The net after so many passes over the examples, each time turned and mirrored by lot."""
    torch.manual_seed(SEED)
    net = _net()
    count = len(given.seen) // BATCH
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=max(2, epochs * count))
    for _ in track(range(epochs), "Learning"):
        order = torch.randperm(len(given.seen)).numpy()
        for part in (order[start : start + BATCH] for start in range(0, count * BATCH, BATCH)):
            seen = turned(given.seen[part], int(torch.randint(8, ())))
            told = net(torch.from_numpy(as_input(seen)).permute(0, 3, 1, 2) * (0.8 + 0.4 * torch.rand(len(part), 1, 1, 1)))
            worth = ((torch.from_numpy(given.overlaps[part]) - NOTHING) / (ALL - NOTHING)).clamp(0, 1)
            loss = functional.binary_cross_entropy_with_logits(told[:, 0], worth)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            pace.step()
    return net


def turned(seen: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """The examples mirrored (`turn` from 4 on), and turned by so many quarters."""
    flipped = seen[:, :, ::-1] if turn >= 4 else seen
    return np.ascontiguousarray(np.rot90(flipped, turn % 4, axes=(1, 2)))


def layers_of(net: nn.Module) -> dict[str, NDArray[np.float16]]:
    """The weights as judging.py uses them: kernels and planes as columns."""
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    layers = {}
    for at in range(len(CONVOLUTIONS)):
        kernel = state[f"{2 * at}.weight"]
        layers[f"kernel{at}"], layers[f"bias{at}"] = kernel.reshape(len(kernel), -1).T, state[f"{2 * at}.bias"]
    first = 2 * len(CONVOLUTIONS) + 1
    channels = CONVOLUTIONS[-1][1]
    hidden = state[f"{first}.weight"].reshape(HIDDEN, channels, -1).transpose(2, 1, 0).reshape(-1, HIDDEN)
    layers |= {"hidden": hidden, "hidden_bias": state[f"{first}.bias"]}
    layers |= {"out": state[f"{first + 2}.weight"].T, "out_bias": state[f"{first + 2}.bias"]}
    return {name: np.ascontiguousarray(value, np.float16) for name, value in layers.items()}


def main(
    scenes: Annotated[int, typer.Option(min=1, help="Pictures to learn from.")] = 2500,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them.")] = 10,
    photographs: Annotated[
        Path | None, typer.Option(help="A folder of pictures that are shown as maps, besides drawn ones.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = OUTPUT,
) -> None:
    """Train the judge and write it."""
    files = sorted(photographs.glob("*.[jp][pn]g")) if photographs else []
    spawning = get_context("spawn")  # threads of torch or OpenCV do not survive a fork
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), spawning, cv2.setNumThreads, (1,)) as pool:
        jobs = pool.map(examples, range(scenes), [files] * scenes, chunksize=8)
        parts = [part for part in track(jobs, "Taking pictures", scenes) if part is not None]
    net = learnt(Examples(*(np.concatenate(each) for each in zip(*parts, strict=True))), epochs)
    np.savez_compressed(out, **layers_of(net))  # type: ignore[arg-type]
    typer.echo(f"learnt from {sum(len(part.seen) for part in parts)} outlines; {out}, {out.stat().st_size / 1e3:.0f} kB")


def _net() -> nn.Sequential:
    layers: list[nn.Module] = []
    side = SIDE
    for before, after, size in CONVOLUTIONS:
        layers += [nn.Conv2d(before, after, size, 2), nn.ReLU()]
        side = (side - size) // 2 + 1
    hidden = nn.Linear(CONVOLUTIONS[-1][1] * side * side, HIDDEN)
    return nn.Sequential(*layers, nn.Flatten(), hidden, nn.ReLU(), nn.Linear(HIDDEN, 1))


def _art(rng: Rng, photographs: list[Path]) -> Image.Image:
    """A piece; some are of photographs, some hardly more than a few colours."""
    style: Style = "flat" if rng.random() < 0.5 else "staircase"
    dither = bool(rng.random() < 0.5)
    if photographs and rng.random() < PHOTOGRAPHS:
        width, height = SIZES[int(rng.integers(len(SIZES)))]
        where = float(rng.random()), float(rng.random())
        opened = Image.open(photographs[int(rng.integers(len(photographs)))]).convert("RGB")
        return quantise(ImageOps.fit(opened, (width * MAP, height * MAP), centering=where), style, dither=dither)
    drawn = piece(FIRST + int(rng.integers(PIECES)))
    if rng.random() >= PLAIN:
        return drawn
    few = drawn.resize((int(rng.integers(2, 7)), int(rng.integers(2, 7))), Image.Resampling.BOX)
    how = Image.Resampling.NEAREST if rng.random() < 0.4 else Image.Resampling.BICUBIC
    return quantise(few.resize(drawn.size, how), style, dither=dither)


if __name__ == "__main__":
    typer.run(main)
