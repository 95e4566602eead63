"""Draws two views of a piece: as it is archived, and as a query shows it.

The query view looks as if it came from a game, a camera or an editor: cropped, seen at an angle with its surroundings in the frame,
in other light, blurred, striped, partly covered, scaled down, saved as JPEG. The distortions vary widely, because screenshots do.
All random choices come from the generator given.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from infra.sandbox.art.canvas import Rng
from infra.sandbox.training import light
from infra.sandbox.training.pool import Pixels, Pool

INPUT_PX = 96
"""The side of the tower's input, in pixels."""

FRAME_PX = 144
"""The side of the frame in which a piece is drawn, in pixels."""


def draw_pair(pool: Pool, at: int, rng: Rng) -> tuple[Pixels, Pixels]:
    """Draw the archived and the query view of the piece at index `at` of the pool, (INPUT_PX, INPUT_PX, 3) each."""
    shown = pool.archived[at] if rng.random() < 0.7 else pool.originals[at]
    archived, shown = _vary_piece(pool.archived[at], shown, rng)
    surroundings = pool.originals[int(rng.integers(len(pool)))]
    return _render_archived(archived, rng), _render_query(shown, surroundings, rng)


def _vary_piece(archived: Pixels, shown: Pixels, rng: Rng) -> tuple[Pixels, Pixels]:
    """Turn the piece into another piece, the same in both views: crop, turn, mirror or exchange its colours."""
    if rng.random() < 0.5:
        left, top, right, bottom = _random_rectangle(len(archived), 0.4, rng)
        archived, shown = (each[top:bottom, left:right] for each in (archived, shown))
    if rng.random() < 0.5:
        turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
        archived, shown = (np.rot90(each[:, ::-1] if mirrored else each, turns) for each in (archived, shown))
    if rng.random() < 0.4:
        order, negative = rng.permutation(3), bool(rng.random() < 0.3)
        archived, shown = ((255 - each if negative else each)[..., order] for each in (archived, shown))
    return np.ascontiguousarray(archived), np.ascontiguousarray(shown)


def _render_archived(piece: Pixels, rng: Rng) -> Pixels:
    side = len(piece)
    if rng.random() < 0.3:
        left, top, right, bottom = (int(value) for value in rng.integers(0, 1 + side // 25, 4))
        piece = piece[top : side - bottom, left : piece.shape[1] - right]
    if rng.random() < 0.2:
        piece = light.compress_jpeg(piece, int(rng.integers(60, 96)))
    return _resize(piece, INPUT_PX)


def _render_query(piece: Pixels, surroundings: Pixels, rng: Rng) -> Pixels:
    lot = rng.random()
    if lot < 0.3:
        piece = _cut_part(piece, rng)
    view = _resize(piece, FRAME_PX) if rng.random() < 0.2 else _place_in_frame(piece, surroundings, in_scene=lot > 0.8, rng=rng)
    if rng.random() < 0.25:
        _draw_occlusions(view, rng)
    view = light.relight(view, rng)
    side = int(np.exp(rng.uniform(np.log(28), np.log(FRAME_PX))))
    view = light.capture(_resize(view, side), rng)
    return _resize(view, INPUT_PX)


def _cut_part(piece: Pixels, rng: Rng) -> Pixels:
    """Cut out a random part, or one panel of a piece of several maps."""
    side = len(piece)
    if rng.random() < 0.6:
        left, top, right, bottom = _random_rectangle(min(piece.shape[:2]), 0.25, rng)
        return piece[top:bottom, left:right]
    across, down = (int(value) for value in rng.integers(1, 4, 2))
    width, height = piece.shape[1] // across, side // down
    left, top = int(rng.integers(across)) * width, int(rng.integers(down)) * height
    return piece[top : top + height, left : left + width]


def _random_rectangle(side: int, least: float, rng: Rng) -> tuple[int, int, int, int]:
    """Return a random rectangle (left, top, right, bottom) with at least the share `least` of a square's area."""
    area, stretch = rng.uniform(least, 1), np.exp(rng.uniform(-0.4, 0.4))
    width, height = (min(side, max(8, round(side * share))) for share in (np.sqrt(area) * stretch, np.sqrt(area) / stretch))
    left, top = int(rng.integers(side - width + 1)), int(rng.integers(side - height + 1))
    return left, top, left + width, top + height


def _place_in_frame(piece: Pixels, surroundings: Pixels, *, in_scene: bool, rng: Rng) -> Pixels:
    """Draw the piece at an angle: its corners near those of the frame or, `in_scene`, well inside it."""
    height, width = piece.shape[:2]
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    if in_scene:
        size = rng.uniform(0.5, 0.95, 2)
        corners = corners * size + rng.uniform(0, 1 - size) + rng.uniform(-0.08, 0.08, (4, 2))
    else:
        corners = corners + rng.normal(0, rng.uniform(0.01, 0.07), (4, 2)) + rng.normal(0, 0.02, 2)
    here = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    turn = cv2.getPerspectiveTransform(here, (corners * FRAME_PX).astype(np.float32))
    view = _draw_background(surroundings, rng)
    cv2.warpPerspective(piece, turn, (FRAME_PX, FRAME_PX), view, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return view


def _draw_background(surroundings: Pixels, rng: Rng) -> Pixels:
    """Draw a background: one colour, rough stone, or another picture out of focus."""
    lot = rng.random()
    if lot < 0.35:
        return np.full((FRAME_PX, FRAME_PX, 3), rng.integers(0, 256, 3), np.uint8)
    if lot < 0.7:
        cells = int(rng.integers(4, 40))
        stone = rng.normal(rng.uniform(30, 200, 3), rng.uniform(3, 40), (cells, cells, 3)) + rng.normal(0, 10, (cells, cells, 1))
        return _resize(stone.clip(0, 255).astype(np.uint8), FRAME_PX)
    return cv2.GaussianBlur(_resize(surroundings, FRAME_PX), (0, 0), rng.uniform(0.5, 6)).astype(np.uint8)


def _draw_occlusions(view: Pixels, rng: Rng) -> None:
    """Draw objects over the picture, such as a toolbar, a cursor, the edge of a frame, or seams between maps."""
    for _ in range(int(rng.integers(1, 4))):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        x, y = (int(value) for value in rng.integers(0, FRAME_PX, 2))
        if rng.random() < 0.4:
            across = bool(rng.random() < 0.5)
            cv2.line(
                view, (x, 0) if across else (0, y), (x, FRAME_PX) if across else (FRAME_PX, y), colour, int(rng.integers(1, 4))
            )
        else:
            width, height = (int(value) for value in rng.integers(4, FRAME_PX // 3, 2))
            cv2.rectangle(view, (x, y), (x + width, y + height), colour, -1 if rng.random() < 0.6 else 2)


def _resize(picture: Pixels, side: int) -> Pixels:
    way = cv2.INTER_AREA if min(picture.shape[:2]) >= side else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = cv2.resize(picture, (side, side), interpolation=way).astype(np.uint8)
    return resized
