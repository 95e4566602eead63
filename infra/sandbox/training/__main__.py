"""The training command of the image tower: draw pieces, train, and write the weights where `load_tower` finds them."""

import os
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contracts.errors import MapSeekError
from infra.clip.loading import build_seeded_model
from infra.clip.shipped import MODELS_FOLDER, SHIPPED_TAGS, SMALL_MODEL
from infra.sandbox.training.loop import TrainingPlan, save_weights, train
from infra.sandbox.training.pool import draw_training_pool

progress_console = Console(stderr=True)


def train_tower(
    steps: Annotated[int, typer.Option(min=1, help="Steps in all. A resumed training may have another number.")] = 1000,
    pairs: Annotated[int, typer.Option(min=2, help="Pieces in one step.")] = 64,
    pieces: Annotated[int, typer.Option(min=2, help="Pieces to draw.")] = 2600,
    photographs: Annotated[Path, typer.Option(help="A folder of additional JPEG files to learn from, if it exists.")] = Path(
        "../shared/art"
    ),
    run: Annotated[Path, typer.Option(help="The folder of the checkpoints.")] = Path("training"),
    out: Annotated[Path, typer.Option(help="The weights file.")] = MODELS_FOLDER
    / f"{SMALL_MODEL}.{SHIPPED_TAGS[SMALL_MODEL]}.safetensors",
    seed: Annotated[int, typer.Option(help="The seed of the initial weights and of every batch.")] = 7,
    threads: Annotated[int, typer.Option(min=0, help="Threads of torch. 0: one for each core.")] = 0,
) -> None:
    """Train mapseek-small, on a GPU if there is one. Resumes from the checkpoint in the run folder."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clip = build_seeded_model(SMALL_MODEL, seed)
    pool = draw_training_pool(pieces, photographs if photographs.is_dir() else None)
    progress_console.print(
        f"{len(pool)} pieces, {sum(each.numel() for each in clip.visual.parameters()) / 1e6:.2f} million weights, {device}"
    )
    metrics = TextColumn("loss {task.fields[loss]:.3f}  accuracy {task.fields[accuracy]:.3f}")
    with Progress("training", BarColumn(), MofNCompleteColumn(), metrics, TimeRemainingColumn(), console=progress_console) as bar:
        task = bar.add_task("training", total=steps, loss=float("nan"), accuracy=0.0)
        for done in train(clip.visual, pool, TrainingPlan(steps=steps, pairs=pairs, seed=seed), run, device):
            bar.update(task, completed=done.step, loss=done.loss, accuracy=done.accuracy)
            if done.step % 50 == 0:
                bar.console.print(f"step {done.step}: loss {done.loss:.3f}, accuracy {done.accuracy:.3f}")
    save_weights(clip, out)
    progress_console.print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        typer.run(train_tower)
    except MapSeekError as error:
        progress_console.print(str(error))
        raise SystemExit(1) from None
