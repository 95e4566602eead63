"""Propose frames where local features found none: correlate small copies of the query and the archived picture, in all turns."""

from itertools import product
from typing import Final, NamedTuple

import cv2
import numpy as np

from infra.vision.alignment import Matrix
from infra.vision.overlay import Floats, Rgb, to_opponent_planes, warp_through
from infra.vision.panels import frame_from_place, guess_map_grid
from infra.vision.prints import THUMB_PX, Print

_COPY_PX: Final = 20
"""The side of a small copy."""

_ZOOM: Final = 1.13
_MIN_WINDOW_PX: Final = 16

_CENTRED: Final = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
_QUARTER: Final = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float64)
_MIRROR: Final = np.diag([-1.0, 1, 1])


class Proposal(NamedTuple):
    """A frame, and the correlation (-1 to 1) of the small copies when the query is seen through it."""

    correlation: float
    frame: Matrix


class Views(NamedTuple):
    """The regions of a query in all eight turns: a frame for each, and the small copy (n, numbers) seen through it."""

    frames: list[Matrix]
    copies: Floats


SQUARE_SYMMETRIES: Final = [
    np.linalg.inv(_CENTRED) @ np.linalg.matrix_power(_QUARTER, quarters) @ mirror @ _CENTRED
    for mirror, quarters in product((np.eye(3), _MIRROR), range(4))
]
"""The eight ways to turn and mirror a square onto itself."""


def build_views(query: Print) -> Views:
    """Return the views of the whole query and of each of its regions. Raises ValueError for a print that is not of a query."""
    if query.picture is None:
        raise ValueError("this print has no picture, so it is not the print of a query")
    region_frames = [np.eye(3)]
    for place in query.places:
        try:
            region_frames.append(frame_from_place(tuple(float(number) for number in place)))  # type: ignore[arg-type]
        except ValueError:
            continue
    frames = [region_frame @ turn for region_frame, turn in product(region_frames, SQUARE_SYMMETRIES)]
    copies = []
    for region_frame in region_frames:
        upright = warp_through(query.picture, region_frame, _COPY_PX, fine=4)
        copies += [_normalise_copy(warp_through(upright, turn, _COPY_PX, fine=1)) for turn in SQUARE_SYMMETRIES]
    return Views(frames, np.stack(copies))


def propose_frames(views: Views, archived: Print, most: int = 2) -> list[Proposal]:
    """Return at most `most` frames, best first. Each region, in any turn, may show the whole piece or one map of it."""
    found = []
    for left, top, width, height in _list_parts(archived.size):
        box = archived.thumb[
            round(top * THUMB_PX) : round((top + height) * THUMB_PX), round(left * THUMB_PX) : round((left + width) * THUMB_PX)
        ]
        correlations = views.copies @ _normalise_copy(
            np.asarray(cv2.resize(box, (_COPY_PX, _COPY_PX), interpolation=cv2.INTER_AREA), np.uint8)
        )
        part = np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]])
        best = np.argsort(-correlations, kind="stable")[:most]
        found += [Proposal(float(correlations[i]), views.frames[i] @ part) for i in best]
    return sorted(found, key=lambda proposal: -proposal.correlation)[:most]


def propose_window(query: Print, archived: Print) -> Proposal | None:
    """Return the part of the archived picture that the whole query resembles most, if it was cropped from it and not stretched."""
    wide, high = query.size[0] / archived.size[0], query.size[1] / archived.size[1]
    best: tuple[float, Matrix] | None = None
    zoom = THUMB_PX / max(wide, high)
    while min(wide, high) * zoom >= _MIN_WINDOW_PX:
        width, height = max(1, round(wide * zoom)), max(1, round(high * zoom))
        crop = cv2.resize(query.thumb, (width, height), interpolation=cv2.INTER_AREA)
        scores = cv2.matchTemplate(np.ascontiguousarray(archived.thumb), crop, cv2.TM_CCOEFF_NORMED)
        _, score, _, (left, top) = cv2.minMaxLoc(np.nan_to_num(scores))
        if best is None or score > best[0]:
            best = score, np.array([left, top, width, height]) / THUMB_PX
        zoom /= _ZOOM
    if best is None:
        return None
    left, top, width, height = best[1]
    return Proposal(float(best[0]), np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]]))


def _list_parts(size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Return the whole piece and each of its maps: left, top, width and height as fractions."""
    across, down = guess_map_grid(size)
    maps = [(column / across, row / down, 1 / across, 1 / down) for row, column in product(range(down), range(across))]
    return [(0.0, 0.0, 1.0, 1.0), *(maps if len(maps) > 1 else [])]


def _normalise_copy(copy: Rgb) -> Floats:
    """Return the light and colours of a small copy without their means, as a vector of length 1. A flat copy gives about 0."""
    numbers = to_opponent_planes(copy) * np.array([1, 0.6, 0.6], np.float32)
    numbers -= numbers.mean(axis=(0, 1))
    length = float(np.linalg.norm(numbers))
    out: Floats = (numbers / max(length, 2.0 * _COPY_PX)).ravel()
    return out
