"""Exact search: every allowed vector is compared, so that filters and removals cost no recall."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.ports import Neighbour
from infra.vectors.table import Floats, Rows, Slots

GATHER_UP_TO = 0.1
"""Up to this share of the rows it is quicker to copy the allowed ones together than to compare all."""

CHUNK = 256
"""Rows that are copied or widened at once: they stay in the processor's cache, and memory stays flat."""

DIGITS = 6
"""Scores are rounded to this, so that one picture posted twice ties, and the earlier id wins."""

SLACK = 1e-5
"""More than float32 sums and the rounding can move a score: what lies this near to the k-th best is compared again exactly."""


def candidates(rows: Rows, allowed: Slots, query: NDArray[np.float64], top: int) -> Slots:
    """The allowed slots that can be among the `top` nearest, in no order: those, and all that are as near as the last of them."""
    if len(allowed) <= top:
        return allowed
    scores = _scores(rows, allowed, query.astype(np.float32))
    last = np.partition(scores, len(scores) - top)[len(scores) - top]
    near: Slots = allowed[scores >= last - SLACK]
    return near


def ranked(ids: Sequence[str], values: Floats, query: NDArray[np.float64], top: int) -> list[Neighbour]:
    """The `top` best by exact cosine, ties in order of image id. Summed row by row, so a score does not depend on the company."""
    scores = np.empty(len(ids))
    for start in range(0, len(ids), CHUNK):
        part = values[start : start + CHUNK].astype(np.float64)
        scores[start : start + CHUNK] = (part * query).sum(axis=1) / np.sqrt((part * part).sum(axis=1))
    cosines = scores.round(DIGITS).tolist()
    best = sorted(zip(cosines, ids, strict=True), key=lambda scored: (-scored[0], scored[1]))[:top]
    return [Neighbour(image_id, cosine) for cosine, image_id in best]


def _scores(rows: Rows, allowed: Slots, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of each allowed slot to a unit query, within float32."""
    if rows.values.dtype == np.float32 and len(allowed) > GATHER_UP_TO * rows.size:
        everything: NDArray[np.float32] = np.multiply(rows.values[: rows.size] @ query, rows.scale[: rows.size], dtype=np.float32)
        return everything[allowed]
    scores = np.empty(len(allowed), np.float32)
    for start in range(0, len(allowed), CHUNK):
        part = allowed[start : start + CHUNK]
        scores[start : start + CHUNK] = rows.values[part].astype(np.float32, copy=False) @ query * rows.scale[part]
    return scores
