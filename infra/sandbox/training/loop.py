"""The training: InfoNCE between the two views of many pieces, step by step, and from the last checkpoint where it was ended.

Every batch is drawn from the seed and the number of its step alone, so that a training that was interrupted ends with the weights
of one that was not (on the same machine and number of threads).

The weights as a file that open_clip loads: the whole model in half precision.
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
"""What open_clip takes from every picture, and divides it by."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training is made of; `steps` and `checkpoint_every` may change when one goes on."""

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
        """The learning rate: up in `warm_up` steps, level, and down to nothing over the last `decline` of all."""
        declining = max(1.0, self.steps * self.decline)
        return self.rate * min(1.0, (step + 1) / self.warm_up, (self.steps - step) / declining)


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A step that is done: its loss, and the share of the asked views that were nearest to their own archived one."""

    step: int
    loss: float
    accuracy: float


def train(tower: torch.nn.Module, pool: Pool, plan: TrainingPlan, folder: Path, device: torch.device) -> Iterator[TrainingStep]:
    """Train the tower where it stands, from the folder's checkpoint if it has one, telling every step.

    Raises MapSeekError when the checkpoint is of another plan.
    """
    tower.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    weights = [each for each in tower.parameters() if each.ndim > 1]
    others = [each for each in tower.parameters() if each.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": weights, "weight_decay": plan.decay}, {"params": others, "weight_decay": 0.0}])
    first = _resume(tower, optimiser, plan, folder / CHECKPOINT_NAME, device)
    with ThreadPoolExecutor(1, thread_name_prefix="views") as drawing:
        waiting = drawing.submit(draw_batch, pool, plan, first)
        for step in range(first, plan.steps):
            pixels, waiting = waiting.result(), drawing.submit(draw_batch, pool, plan, step + 1)
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
    """The views of one step, all archived ones before all asked ones."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([plan.seed, step])
    pieces = rng.permutation(len(pool))[: plan.pairs]
    archived, asked = zip(*(draw_pair(pool, int(piece), rng) for piece in pieces), strict=True)
    return np.stack(archived + asked)


def to_tower_input(pixels: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Pictures as the tower gets them from open_clip's preprocessing."""
    pictures = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (CLIP_MEAN, CLIP_DEVIATION))
    return ((pictures - mean) / deviation).contiguous(memory_format=torch.channels_last)


def contrastive_loss(vectors: torch.Tensor, temperature: float) -> tuple[torch.Tensor, float]:
    """InfoNCE in both directions, and the accuracy of asked to archived, among the pieces of the batch."""
    archived, asked = torch.nn.functional.normalize(vectors, dim=-1).chunk(2)
    alike = asked @ archived.T / temperature
    own = torch.arange(len(alike), device=alike.device)
    loss = (torch.nn.functional.cross_entropy(alike, own) + torch.nn.functional.cross_entropy(alike.T, own)) / 2
    return loss, (alike.argmax(1) == own).float().mean().item()


def _resume(tower: torch.nn.Module, optimiser: torch.optim.Optimizer, plan: TrainingPlan, path: Path, device: torch.device) -> int:
    if not path.exists():
        return 0
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if state["plan"] != _lasting(plan):
        raise MapSeekError(f"{path} is of a training with other settings: give them again, or another folder in --run.")
    tower.load_state_dict(state["tower"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _save(tower: torch.nn.Module, optimiser: torch.optim.Optimizer, plan: TrainingPlan, step: int, folder: Path) -> None:
    state = {"plan": _lasting(plan), "step": step, "tower": tower.state_dict(), "optimiser": optimiser.state_dict()}
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / (CHECKPOINT_NAME + ".new")
    torch.save(state, fresh)
    os.replace(fresh, folder / CHECKPOINT_NAME)


def _lasting(plan: TrainingPlan) -> dict[str, Any]:
    return {name: value for name, value in asdict(plan).items() if name not in ("steps", "checkpoint_every")}


def save_weights(clip: torch.nn.Module, path: Path) -> None:
    """Write a model's weights, whole or not at all."""
    halves = {name: _half(each).contiguous().cpu() for name, each in clip.state_dict().items()}
    fresh = path.with_name(path.name + ".new")
    save_file(halves, fresh)
    fresh.chmod(0o644)  # it would be its owner's alone, and is read by whoever runs the package
    os.replace(fresh, path)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor
