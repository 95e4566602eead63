"""Checkpoint files: what is meant to be one, and is not there. Imports no torch."""

from pathlib import Path

SUFFIXES = {".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".npz"}


def is_missing(pretrained: str) -> bool:
    """Whether this names a file, rather than a tag, and there is none."""
    path = Path(pretrained).expanduser()
    return (path.suffix in SUFFIXES or len(path.parts) > 1) and not path.is_file()
