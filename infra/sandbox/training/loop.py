"""The training loop of the image tower: InfoNCE between two views of many pieces, with checkpoints.

A batch depends only on the seed and the number of its step. So an interrupted training ends with the same weights as an
uninterrupted one, on the same machine with the same number of threads. The weights file contains the whole model in half precision,
for open_clip.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from contracts.errors import MapSeekError
from infra.sandbox.training.pool import Pool
from infra.sandbox.training.views import draw_pair

CHECKPOINT_NAME = "checkpoint.pt"
CLIP_MEAN, CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation, with which open_clip normalises every picture."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The settings of a training. `steps` and `checkpoint_every` may change when a training is resumed."""

    steps: int
    pairs: int = 64
    rate: float = 1.5e-3
    warm_up: int = 50
    decline: float = 0.3
    temperature: float = 0.07
    decay: float = 0.05
    seed: int = 7
    checkpoint_every: int = 100

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step.

        It rises for `warm_up` steps, stays level, and falls to 0 over the last share `decline` of all steps.
        """
        declining = max(1.0, self.steps * self.decline)
        return self.rate * min(1.0, (step + 1) / self.warm_up, (self.steps - step) / declining)


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A finished step: its loss, and the share of query views whose nearest archived view was that of the same piece."""

    step: int
    loss: float
    accuracy: float


def train(tower: torch.nn.Module, pool: Pool, plan: TrainingPlan, folder: Path, device: torch.device) -> Iterator[TrainingStep]:
    """Train the tower in place, and yield every finished step. Resumes from the checkpoint in the folder, if there is one.

    Raises MapSeekError if the checkpoint was made with another plan.
    """
    tower.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    weights = [each for each in tower.parameters() if each.ndim > 1]
    others = [each for each in tower.parameters() if each.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": weights, "weight_decay": plan.decay}, {"params": others, "weight_decay": 0.0}])
    first = _resume(tower, optimiser, plan, folder / CHECKPOINT_NAME, device)
    with ThreadPoolExecutor(1, thread_name_prefix="views") as executor:
        pending = executor.submit(draw_batch, pool, plan, first)
        for step in range(first, plan.steps):
            pixels, pending = pending.result(), executor.submit(draw_batch, pool, plan, step + 1)
            for group in optimiser.param_groups:
                group["lr"] = plan.rate_at(step)
            loss, accuracy = contrastive_loss(tower(to_tower_input(pixels, device)), plan.temperature)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            done = step + 1
            if done % plan.checkpoint_every == 0 or done == plan.steps:
                _save(tower, optimiser, plan, done, folder)
            yield TrainingStep(done, loss.item(), accuracy)


def draw_batch(pool: Pool, plan: TrainingPlan, step: int) -> NDArray[np.uint8]:
    """Draw the views of a step: all archived views, then all query views."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([plan.seed, step])
    pieces = rng.permutation(len(pool))[: plan.pairs]
    archived, query = zip(*(draw_pair(pool, int(piece), rng) for piece in pieces), strict=True)
    return np.stack(archived + query)


def to_tower_input(pixels: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Convert pictures to the tower's input, as open_clip's preprocessing does."""
    pictures = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (CLIP_MEAN, CLIP_DEVIATION))
    return ((pictures - mean) / deviation).contiguous(memory_format=torch.channels_last)


def contrastive_loss(vectors: torch.Tensor, temperature: float) -> tuple[torch.Tensor, float]:
    """Return the InfoNCE loss in both directions, and the accuracy from query to archived view, within the batch."""
    archived, query = torch.nn.functional.normalize(vectors, dim=-1).chunk(2)
    similarities = query @ archived.T / temperature
    own = torch.arange(len(similarities), device=similarities.device)
    loss = (torch.nn.functional.cross_entropy(similarities, own) + torch.nn.functional.cross_entropy(similarities.T, own)) / 2
    return loss, (similarities.argmax(1) == own).float().mean().item()


def _resume(tower: torch.nn.Module, optimiser: torch.optim.Optimizer, plan: TrainingPlan, path: Path, device: torch.device) -> int:
    if not path.exists():
        return 0
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if state["plan"] != _fixed_settings(plan):
        raise MapSeekError(
            f"{path} was made by a training with other settings: give the same settings, or another folder in --run."
        )
    tower.load_state_dict(state["tower"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _save(tower: torch.nn.Module, optimiser: torch.optim.Optimizer, plan: TrainingPlan, step: int, folder: Path) -> None:
    state = {"plan": _fixed_settings(plan), "step": step, "tower": tower.state_dict(), "optimiser": optimiser.state_dict()}
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / (CHECKPOINT_NAME + ".new")
    torch.save(state, fresh)
    os.replace(fresh, folder / CHECKPOINT_NAME)


def _fixed_settings(plan: TrainingPlan) -> dict[str, Any]:
    return {name: value for name, value in asdict(plan).items() if name not in ("steps", "checkpoint_every")}


def save_weights(clip: torch.nn.Module, path: Path) -> None:
    """Write the weights of a model to a file, completely or not at all."""
    halves = {name: _to_half(each).contiguous().cpu() for name, each in clip.state_dict().items()}
    fresh = path.with_name(path.name + ".new")
    save_file(halves, fresh)
    fresh.chmod(0o644)  # by default only the owner could read it, but everybody who runs the package has to
    os.replace(fresh, path)


def _to_half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor
