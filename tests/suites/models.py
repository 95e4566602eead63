"""Small open_clip models with random weights, saved and loaded as trained ones are."""

import json
from pathlib import Path

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 32, "width": 64, "head_width": 64, "layers": 1},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
}


def tiny_model(folder: Path, name: str) -> Path:
    """A checkpoint of a model that open_clip knows by this name from now on, in this process: the same each time."""
    import torch

    from infra.clip.loading import open_clip

    (folder / f"{name}.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    torch.manual_seed(2)
    checkpoint = folder / f"{name}.pt"
    torch.save(open_clip.create_model(name).state_dict(), checkpoint)
    return checkpoint
