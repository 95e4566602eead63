"""Measure how often the outline of a piece is found in a scene. `python -m tests.quality --places` measures only this."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contracts.events import Quad
from tests.quality.making import Query

TOP_REGIONS = 6
MIN_IOU = 0.8
COMPARED_SIDE_PX = 1000
"""Outlines are compared as if the picture had this side."""

Finder = Callable[[NDArray[np.uint8]], Sequence[Quad]]


def compute_iou(one: Quad, other: Quad) -> float:
    """Return the intersection over union of two outlines, or 0 if one is not a convex quadrilateral."""
    shapes = [np.array(each, np.float32).reshape(4, 2) * COMPARED_SIDE_PX for each in (one, other)]
    if not all(cv2.isContourConvex(shape) for shape in shapes):
        return 0.0
    common, _ = cv2.intersectConvexConvex(*shapes)
    return float(common / max(sum(cv2.contourArea(shape) for shape in shapes) - common, 1e-6))


def measure_recall(queries: Sequence[Query], finder: Finder) -> dict[str, tuple[int, int, int]]:
    """Return for each category and for all: how often the first region is right, how often one of six, and the total."""
    counts: dict[str, list[int]] = {}
    for query in queries:
        if query.place is None or query.expected is None:
            continue
        picture = np.asarray(Image.open(Path(query.file)).convert("RGB"))
        found = [compute_iou(place, query.place) >= MIN_IOU for place in list(finder(picture))[:TOP_REGIONS]]
        for name in (query.category, "all"):
            entry = counts.setdefault(name, [0, 0, 0])
            entry[0] += bool(found and found[0])
            entry[1] += any(found)
            entry[2] += 1
    return {name: (first, six, whole) for name, (first, six, whole) in counts.items()}
