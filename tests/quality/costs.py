"""What answers and archives cost: milliseconds by stage, and bytes an image."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.quality.running import Seen

STAGES: Mapping[str, str] = {
    "downloaded": "download",
    "preprocessed": "preprocess",
    "fingerprinted": "fingerprint",
    "embedded": "embed",
    "matched": "match",
}
"""Which stage records which fact; the answer's way to the asker is not counted."""


def milliseconds(seen: Seen) -> dict[str, tuple[float, float]]:
    """p50 and p95 of each stage and of all of them together, from the times at which the facts of each question were recorded."""
    rows = {}
    for fact, stage in STAGES.items():
        times = [parts[fact] for parts in seen.parts.values() if fact in parts]
        if times:
            rows[stage] = _percentiles(times)
    whole = [sum(parts.get(fact, 0) for fact in STAGES) for parts in seen.parts.values() if "matched" in parts]
    if whole:
        rows["through match"] = _percentiles(whole)
    return rows


def _percentiles(times: list[float]) -> tuple[float, float]:
    return float(np.percentile(times, 50)), float(np.percentile(times, 95))


def bytes_an_image(folder: Path, seen: Seen, images: int) -> dict[str, float]:
    """What the data folder holds for each archived image, by what it is for: the blobs, then what else is on the disk."""
    sizes = {file.name: file.stat().st_size for file in (folder / "blobs").rglob("*") if file.is_file()}
    rows = {f"blob: {kind}": sum(sizes.get(name, 0) for name in names) / images for kind, names in seen.blobs.items()}
    for entry in sorted(folder.iterdir()):
        if entry.name not in ("blobs", "questions") and not entry.name.startswith("."):
            size = (
                sum(file.stat().st_size for file in entry.rglob("*") if file.is_file()) if entry.is_dir() else entry.stat().st_size
            )
            rows[entry.name] = size / images
    return rows
