"""What a frame says in words: how the picture is turned, where it lies, how slanting, and which maps of a larger piece are seen."""

from itertools import product
from typing import Final, Literal

import numpy as np

from contracts.events import Panel, Quad
from infra.vision.alignment import CORNERS, Matrix, compute_jacobian, transform_points
from infra.vision.overlay import BLOCK_PX, BLOCK_STEP_PX, Floats, PixelMask

MAP_SIDE_PX: Final = 128
"""Pixels on a side of one map."""

MAX_MAPS_PER_SIDE: Final = 6
"""Maps across or down; what has more is rather one picture in another size."""

MIN_WHOLE_SHARE: Final = 0.85
MAX_UNSEEN_SHARE: Final = 0.15
"""From which share of it a map is seen as a whole, and up to which it is not seen. One that is seen in part is no panel."""

MIN_SHOWN_AGREEMENT: Final = 0.45
MAX_OTHER_AGREEMENT: Final = 0.3
"""From which agreement a map is what is seen there, and up to which something else is. Between them nobody knows."""

USUAL_RATIO: Final = 2.0
"""How much nearer one edge of a picture may be than the other, and how squeezed it may look, before that is unusual."""

MAX_STRAIN: Final = 3.0

_LEAST_WEIGHT: Final = 0.2
_SQUARE_WITHIN: Final = 5.0
_SIDES_WITHIN: Final = 1.07


def compute_turn(frame: Matrix, asked: tuple[int, int], archived: tuple[int, int]) -> tuple[Literal[0, 90, 180, 270], bool]:
    """By how much the archived picture is turned clockwise in the question, after it was mirrored left to right (True) or not."""
    local = np.diag(asked) @ compute_jacobian(frame, np.array([[0.5, 0.5]]))[0] @ np.diag(1 / np.array(archived))
    mirrored = bool(np.linalg.det(local) < 0)
    if mirrored:
        local = local @ np.diag([-1.0, 1.0])
    degrees = np.degrees(np.arctan2(local[1, 0] - local[0, 1], local[0, 0] + local[1, 1]))
    turns: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    return turns[round(degrees / 90) % 4], mirrored


def frame_from_place(place: Quad, *, mirrored: bool = False) -> Matrix:
    """The frame whose `place_of` this is. Raises ValueError where no picture can lie so."""
    square = (np.array([1.0, 0.0]) + CORNERS * np.array([-1.0, 1.0])) if mirrored else CORNERS
    rows = []
    for (x, y), (u, v) in zip(square, np.reshape(place, (4, 2)), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]]
    system = np.array(rows)
    try:
        solved = np.linalg.solve(system[:, :8], system[:, 8])
    except np.linalg.LinAlgError:
        raise ValueError(f"no picture can lie at {place}") from None
    return np.append(solved, 1.0).reshape(3, 3)


def place_from_frame(frame: Matrix, *, mirrored: bool) -> Quad:
    """Where the whole archived picture lies, clockwise from its top left; if it is mirrored, from the mirror image's."""
    corners = transform_points(frame, CORNERS)[[1, 0, 3, 2] if mirrored else [0, 1, 2, 3]]
    x0, y0, x1, y1, x2, y2, x3, y3 = (float(number) for number in corners.round(5).ravel())
    return (x0, y0, x1, y1, x2, y2, x3, y3)


def compute_seen_box(within: PixelMask) -> Matrix:
    """The corners (4, 2) of the part of the archived picture that is seen, as fractions; the whole where nothing is."""
    rows, columns = np.nonzero(within)
    if not len(rows):
        return CORNERS
    low = np.array([columns.min(), rows.min()]) / within.shape[0]
    high = np.array([columns.max() + 1, rows.max() + 1]) / within.shape[0]
    return np.asarray(low + CORNERS * (high - low), np.float64)


def is_angled(frame: Matrix, within: PixelMask, asked: tuple[int, int]) -> bool:
    """Whether what is seen of the picture is no rectangle any more."""
    if not within.any():
        return False
    corners = transform_points(frame, compute_seen_box(within)) * np.array(asked)
    if not np.isfinite(corners).all():
        return True
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum(np.linalg.norm(sides, axis=1), 1e-9)
    cosine = (sides * np.roll(sides, -1, axis=0)).sum(axis=1) / (lengths * np.roll(lengths, -1))
    off = np.degrees(np.arcsin(np.clip(np.abs(cosine), 0, 1))).max()
    ratio = max(np.maximum(lengths[i] / lengths[i + 2], lengths[i + 2] / lengths[i]) for i in (0, 1))
    return bool(off > _SQUARE_WITHIN or ratio > _SIDES_WITHIN)


def guess_map_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Into how many maps (across, down) a picture of that size divides; (1, 1) where that cannot be told.

    Multiples of 128 pixels say it. Other sizes are taken for an enlargement if their sides stand in the ratio of small numbers.
    """
    width, height = size
    across, down = width // MAP_SIDE_PX, height // MAP_SIDE_PX
    if width % MAP_SIDE_PX or height % MAP_SIDE_PX or max(across, down) > MAX_MAPS_PER_SIDE:
        unit = int(np.gcd(width, height))
        across, down = (width // unit, height // unit) if unit >= MAP_SIDE_PX else (1, 1)
    return (across, down) if min(across, down) >= 1 and max(across, down) <= MAX_MAPS_PER_SIDE else (1, 1)


def compute_strain(frame: Matrix, box: Matrix, asked_size: tuple[int, int], archived_size: tuple[int, int]) -> float:
    """By how much a picture is seen more slantingly than pictures are as a rule, as a logarithm: 0 up to half a right angle or so.

    `box` (4, 2) is the part that is seen, in fractions of the archived picture. A frame that is fitted to chance is slanting.
    """
    depth = np.column_stack([box, np.ones(4)]) @ frame[2]
    if depth.min() <= 0:
        return MAX_STRAIN
    local = np.diag(asked_size) @ compute_jacobian(frame, box.mean(axis=0, keepdims=True))[0] @ np.diag(1 / np.array(archived_size))
    widest, narrowest = np.linalg.svd(local, compute_uv=False)
    slanting = (depth.max() / depth.min(), widest / max(narrowest, 1e-9))
    return float(min(sum(max(0.0, np.log(ratio / USUAL_RATIO)) for ratio in slanting), MAX_STRAIN))


def find_panel(size: tuple[int, int], within: PixelMask, values: Floats, weights: Floats) -> Panel | None:
    """Which whole maps of a piece of that size the question shows, if it is some of them and neither all nor parts.

    `within` is what lies inside the question; `values` and `weights` are those of `overlay.blocks`. A map that should be seen
    there and is not like what is there is not shown: a screenshot may have one map of a piece on a wall without the others.
    """
    across, down = guess_map_grid(size)
    if across * down == 1:
        return None
    shown = np.zeros((down, across), np.bool_)
    for row, column in product(range(down), range(across)):
        told = _is_shown(within, values, weights, (column / across, row / down, (column + 1) / across, (row + 1) / down))
        if told is None:
            return None
        shown[row, column] = told
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(rows) or shown.all() or not shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all():
        return None
    return Panel(
        row=int(rows[0]) + 1,
        column=int(columns[0]) + 1,
        rows=down,
        columns=across,
        height=int(rows[-1] - rows[0]) + 1,
        width=int(columns[-1] - columns[0]) + 1,
    )


def mask_panel_blocks(panel: Panel, weights: Floats) -> Floats:
    """The weights of the blocks that lie in the maps that are seen; the others' are 0."""
    centres = (np.arange(weights.shape[0]) * BLOCK_STEP_PX + BLOCK_PX / 2) / (BLOCK_STEP_PX * (weights.shape[0] - 1) + BLOCK_PX)
    down, across = centres * panel.rows, centres * panel.columns
    rows = (down > panel.row - 1) & (down < panel.row - 1 + panel.height)
    columns = (across > panel.column - 1) & (across < panel.column - 1 + panel.width)
    out: Floats = weights * rows[:, None] * columns[None, :]
    return out


def mask_panel_pixels(panel: Panel, within: PixelMask) -> PixelMask:
    """The pixels of `within` that lie in the maps that are seen."""
    rows, columns = (np.arange(side) * maps // side for side, maps in zip(within.shape, (panel.rows, panel.columns), strict=True))
    down = (rows >= panel.row - 1) & (rows < panel.row - 1 + panel.height)
    across = (columns >= panel.column - 1) & (columns < panel.column - 1 + panel.width)
    out: PixelMask = within & down[:, None] & across[None, :]
    return out


def _is_shown(within: PixelMask, values: Floats, weights: Floats, box: tuple[float, float, float, float]) -> bool | None:
    """Whether the map in that box of the piece is seen; None where that cannot be told."""
    left, top, right, bottom = (round(edge * within.shape[0]) for edge in box)
    share = float(within[top:bottom, left:right].mean())
    if share <= MAX_UNSEEN_SHARE:
        return False
    centres = np.arange(values.shape[0]) * BLOCK_STEP_PX + BLOCK_PX / 2
    across, down = (centres > left + 2) & (centres < right - 2), (centres > top + 2) & (centres < bottom - 2)
    inner = np.ix_(down, across)
    total = float(weights[inner].sum())
    if total < _LEAST_WEIGHT:
        return None
    like = float((values[inner] * weights[inner]).sum()) / total
    if like <= MAX_OTHER_AGREEMENT:
        return False
    return True if like >= MIN_SHOWN_AGREEMENT and share >= MIN_WHOLE_SHARE else None
