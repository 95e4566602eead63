"""The cost of answers and archives: milliseconds by stage, and bytes an image."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.quality.running import RunLog

STAGES: Mapping[str, str] = {
    "downloaded": "download",
    "preprocessed": "preprocess",
    "fingerprinted": "fingerprint",
    "embedded": "embed",
    "matched": "match",
}
"""Which stage records which fact. The delivery of the answer to the asker is not counted."""


def measure_stages(run_log: RunLog) -> dict[str, tuple[float, float]]:
    """Return p50 and p95 in milliseconds of each stage and of all together, from the times at which the facts were recorded."""
    rows = {}
    for fact, stage in STAGES.items():
        times = [durations[fact] for durations in run_log.durations.values() if fact in durations]
        if times:
            rows[stage] = _percentiles(times)
    whole = [sum(durations.get(fact, 0) for fact in STAGES) for durations in run_log.durations.values() if "matched" in durations]
    if whole:
        rows["through match"] = _percentiles(whole)
    return rows


def _percentiles(times: list[float]) -> tuple[float, float]:
    return float(np.percentile(times, 50)), float(np.percentile(times, 95))


def measure_bytes(folder: Path, run_log: RunLog, images: int) -> dict[str, float]:
    """Return the bytes in the data folder for each archived image, by purpose: the blobs, then everything else on the disk."""
    sizes = {file.name: file.stat().st_size for file in (folder / "blobs").rglob("*") if file.is_file()}
    rows = {f"blob: {kind}": sum(sizes.get(name, 0) for name in names) / images for kind, names in run_log.blobs.items()}
    for entry in sorted(folder.iterdir()):
        if entry.name not in ("blobs", "questions") and not entry.name.startswith("."):
            size = (
                sum(file.stat().st_size for file in entry.rglob("*") if file.is_file()) if entry.is_dir() else entry.stat().st_size
            )
            rows[entry.name] = size / images
    return rows
