"""The weights that ship with MapSeek: files in the package, by model and tag, for which nothing is downloaded. Imports no torch.

Checkpoint files: what is meant to be one, and is not there. Imports no torch.
"""

from pathlib import Path

MODELS_FOLDER = Path(__file__).parent / "models"
"""Configurations of our own models, the weights of those that are trained, and their cards."""

SMALL_MODEL = "mapseek-small"
"""The default: a small residual CNN, trained by infra.sandbox.training."""

SHIPPED_TAGS = {SMALL_MODEL: "art-v1"}
"""The tag of a model's newest weights. One whose numbers change gets another tag, and the file of the former one stays."""

CHECKPOINT_SUFFIXES = {".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".npz"}


def find_shipped_tag(model: str) -> str | None:
    """What a model is loaded with where no weights are named; None: seeded random ones."""
    return SHIPPED_TAGS.get(model)


def find_shipped_file(model: str, tag: str) -> Path | None:
    """The weights file of a tag, if it is one of ours."""
    path = MODELS_FOLDER / f"{model}.{tag}.safetensors"
    return path if path.is_file() else None


def list_shipped_tags(model: str) -> list[str]:
    """The tags of a model's weights in the package."""
    return sorted(path.stem.removeprefix(f"{model}.") for path in MODELS_FOLDER.glob(f"{model}.*.safetensors"))


def is_missing_checkpoint(pretrained: str) -> bool:
    """Whether this names a file, rather than a tag, and there is none."""
    path = Path(pretrained).expanduser()
    return (path.suffix in CHECKPOINT_SUFFIXES or len(path.parts) > 1) and not path.is_file()
