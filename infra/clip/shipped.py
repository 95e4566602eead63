"""The weights that ship with MapSeek, as files in the package by model and tag, and checkpoint files. Does not import torch."""

from pathlib import Path

MODELS_FOLDER = Path(__file__).parent / "models"
"""The folder with the configurations of our own models, and the weights and cards of the trained ones."""

SMALL_MODEL = "mapseek-small"
"""The default model: a small residual CNN, trained by infra.sandbox.training."""

SHIPPED_TAGS = {SMALL_MODEL: "art-v1"}
"""The tag of the newest weights of each model. Changed weights get a new tag, and the file of the former tag stays."""

CHECKPOINT_SUFFIXES = {".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".npz"}


def find_shipped_tag(model: str) -> str | None:
    """Return the tag that a model is loaded with if no weights are named. None means seeded random weights."""
    return SHIPPED_TAGS.get(model)


def find_shipped_file(model: str, tag: str) -> Path | None:
    """Return the weights file of a tag, or None if it is not one of ours."""
    path = MODELS_FOLDER / f"{model}.{tag}.safetensors"
    return path if path.is_file() else None


def list_shipped_tags(model: str) -> list[str]:
    """Return the tags of all weights of a model in the package."""
    return sorted(path.stem.removeprefix(f"{model}.") for path in MODELS_FOLDER.glob(f"{model}.*.safetensors"))


def is_missing_checkpoint(pretrained: str) -> bool:
    """Whether this is the path of a checkpoint file, not a tag, and the file does not exist."""
    path = Path(pretrained).expanduser()
    return (path.suffix in CHECKPOINT_SUFFIXES or len(path.parts) > 1) and not path.is_file()
