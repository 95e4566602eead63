"""How often the outline of a piece is found in a scene. `python -m tests.quality --places` measures it alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contracts.events import Quad
from tests.quality.making import Query

AMONG = 6
ENOUGH = 0.8
SIDE = 1000
"""Outlines are compared as if the picture were so large."""

Finder = Callable[[NDArray[np.uint8]], Sequence[Quad]]


def overlap(one: Quad, other: Quad) -> float:
    """Intersection over union of two outlines; 0 for one that is no convex quadrilateral."""
    shapes = [np.array(each, np.float32).reshape(4, 2) * SIDE for each in (one, other)]
    if not all(cv2.isContourConvex(shape) for shape in shapes):
        return 0.0
    common, _ = cv2.intersectConvexConvex(*shapes)
    return float(common / max(sum(cv2.contourArea(shape) for shape in shapes) - common, 1e-6))


def measured(queries: Sequence[Query], finder: Finder) -> dict[str, tuple[int, int, int]]:
    """By category and in all: how many outlines are right at once, among six, and how many there were."""
    counts: dict[str, list[int]] = {}
    for query in queries:
        if query.place is None or query.expected is None:
            continue
        picture = np.asarray(Image.open(Path(query.file)).convert("RGB"))
        found = [overlap(place, query.place) >= ENOUGH for place in list(finder(picture))[:AMONG]]
        for name in (query.category, "all"):
            entry = counts.setdefault(name, [0, 0, 0])
            entry[0] += bool(found and found[0])
            entry[1] += any(found)
            entry[2] += 1
    return {name: (first, six, whole) for name, (first, six, whole) in counts.items()}
