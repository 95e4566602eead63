"""Frames worth trying where local features found none: how alike are small copies of the two pictures, however turned?"""

from itertools import product
from typing import Final, NamedTuple

import cv2
import numpy as np

from infra.vision.alignment import Matrix
from infra.vision.overlay import Floats, Rgb, to_opponent_planes, warp_through
from infra.vision.panels import frame_from_place, guess_map_grid
from infra.vision.prints import THUMB_PX, Print

_SMALL: Final = 20
"""Pixels on a side of a small copy."""

_ZOOM: Final = 1.13
_LEAST_WINDOW: Final = 16

_CENTRED: Final = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
_QUARTER: Final = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float64)
_MIRROR: Final = np.diag([-1.0, 1, 1])


class Proposal(NamedTuple):
    """A frame, and how alike the small copies are when one looks through it (-1 to 1)."""

    alike: float
    frame: Matrix


class Views(NamedTuple):
    """The places of a question in their eight turns: a frame each, and the small copy (n, numbers) seen through it."""

    frames: list[Matrix]
    copies: Floats


SQUARE_SYMMETRIES: Final = [
    np.linalg.inv(_CENTRED) @ np.linalg.matrix_power(_QUARTER, quarters) @ mirror @ _CENTRED
    for mirror, quarters in product((np.eye(3), _MIRROR), range(4))
]
"""The eight ways in which a square comes to lie on itself."""


def build_views(question: Print) -> Views:
    """The whole picture and each of its places. Raises ValueError for a print that is not a question's."""
    if question.picture is None:
        raise ValueError("this print has no picture: it is not a question's")
    places = [np.eye(3)]
    for place in question.places:
        try:
            places.append(frame_from_place(tuple(float(number) for number in place)))  # type: ignore[arg-type]
        except ValueError:
            continue
    frames = [place @ turn for place, turn in product(places, SQUARE_SYMMETRIES)]
    copies = []
    for place in places:
        upright = warp_through(question.picture, place, _SMALL, fine=4)
        copies += [_numbers(warp_through(upright, turn, _SMALL, fine=1)) for turn in SQUARE_SYMMETRIES]
    return Views(frames, np.stack(copies))


def propose_frames(views: Views, archived: Print, most: int = 2) -> list[Proposal]:
    """The likeliest frames, best first: each place, however it is turned, may show the whole piece or one map of it."""
    found = []
    for left, top, width, height in _parts(archived.size):
        box = archived.thumb[
            round(top * THUMB_PX) : round((top + height) * THUMB_PX), round(left * THUMB_PX) : round((left + width) * THUMB_PX)
        ]
        alike = views.copies @ _numbers(np.asarray(cv2.resize(box, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA), np.uint8))
        part = np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]])
        found += [Proposal(float(alike[i]), views.frames[i] @ part) for i in np.argsort(-alike, kind="stable")[:most]]
    return sorted(found, key=lambda proposal: -proposal.alike)[:most]


def propose_window(question: Print, archived: Print) -> Proposal | None:
    """The part of the archived picture that the whole question looks like most, if it was cut out of it, not stretched."""
    wide, high = question.size[0] / archived.size[0], question.size[1] / archived.size[1]
    best: tuple[float, Matrix] | None = None
    zoom = THUMB_PX / max(wide, high)
    while min(wide, high) * zoom >= _LEAST_WINDOW:
        width, height = max(1, round(wide * zoom)), max(1, round(high * zoom))
        cut = cv2.resize(question.thumb, (width, height), interpolation=cv2.INTER_AREA)
        scores = cv2.matchTemplate(np.ascontiguousarray(archived.thumb), cut, cv2.TM_CCOEFF_NORMED)
        _, score, _, (left, top) = cv2.minMaxLoc(np.nan_to_num(scores))
        if best is None or score > best[0]:
            best = score, np.array([left, top, width, height]) / THUMB_PX
        zoom /= _ZOOM
    if best is None:
        return None
    left, top, width, height = best[1]
    return Proposal(float(best[0]), np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]]))


def _parts(size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """The whole piece and each of its maps: left, top, width and height as fractions."""
    across, down = guess_map_grid(size)
    maps = [(column / across, row / down, 1 / across, 1 / down) for row, column in product(range(down), range(across))]
    return [(0.0, 0.0, 1.0, 1.0), *(maps if len(maps) > 1 else [])]


def _numbers(copy: Rgb) -> Floats:
    """A small copy's light and colours without their means, of length 1; all 0 for a flat one."""
    numbers = to_opponent_planes(copy) * np.array([1, 0.6, 0.6], np.float32)
    numbers -= numbers.mean(axis=(0, 1))
    length = float(np.linalg.norm(numbers))
    out: Floats = (numbers / max(length, 2.0 * _SMALL)).ravel()
    return out
