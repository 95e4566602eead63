"""The weights as a file that open_clip loads: the whole model in half precision."""

import os
from pathlib import Path

import torch
from safetensors.torch import save_file


def save_weights(clip: torch.nn.Module, path: Path) -> None:
    """Write a model's weights, whole or not at all."""
    halves = {name: _half(each).contiguous().cpu() for name, each in clip.state_dict().items()}
    fresh = path.with_name(path.name + ".new")
    save_file(halves, fresh)
    fresh.chmod(0o644)  # it would be its owner's alone, and is read by whoever runs the package
    os.replace(fresh, path)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor
