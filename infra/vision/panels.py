"""Derive from a frame what the evidence says: turn, place, angle, and the panel of a larger piece that the query shows."""

from itertools import product
from typing import Final, Literal

import numpy as np

from contracts.events import Panel, Quad
from infra.vision.alignment import CORNERS, Matrix, compute_jacobian, transform_points
from infra.vision.overlay import BLOCK_PX, BLOCK_STEP_PX, Floats, PixelMask

MAP_SIDE_PX: Final = 128
"""The side of one map."""

MAX_MAPS_PER_SIDE: Final = 6
"""Maps across or down. A picture with more is probably not made of maps but one picture in another size."""

MIN_WHOLE_SHARE: Final = 0.85
"""A map is seen as a whole from this share of it on. A map that is seen in part is not a panel."""

MAX_UNSEEN_SHARE: Final = 0.15
"""A map is not seen if no more than this share of it lies inside the query."""

MIN_SHOWN_AGREEMENT: Final = 0.45
"""From this agreement on, the query shows the map."""

MAX_OTHER_AGREEMENT: Final = 0.3
"""Up to this agreement, the query shows something else there. Between the two bounds it is undecided."""

USUAL_RATIO: Final = 2.0
"""Up to this ratio it is usual that one edge of a picture is nearer than the other, or that the picture looks squeezed."""

MAX_STRAIN: Final = 3.0

_MIN_BLOCK_WEIGHT: Final = 0.2
_MAX_SKEW_DEGREES: Final = 5.0
_MAX_SIDE_RATIO: Final = 1.07


def compute_turn(
    frame: Matrix, query_size: tuple[int, int], archived_size: tuple[int, int]
) -> tuple[Literal[0, 90, 180, 270], bool]:
    """Return by how many degrees the archived picture is turned clockwise in the query, and whether it was mirrored left to right
    before.
    """
    local = np.diag(query_size) @ compute_jacobian(frame, np.array([[0.5, 0.5]]))[0] @ np.diag(1 / np.array(archived_size))
    mirrored = bool(np.linalg.det(local) < 0)
    if mirrored:
        local = local @ np.diag([-1.0, 1.0])
    degrees = np.degrees(np.arctan2(local[1, 0] - local[0, 1], local[0, 0] + local[1, 1]))
    turns: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    return turns[round(degrees / 90) % 4], mirrored


def frame_from_place(place: Quad, *, mirrored: bool = False) -> Matrix:
    """Return the frame of a place: the inverse of place_from_frame. Raises ValueError if no picture can lie like this."""
    square = (np.array([1.0, 0.0]) + CORNERS * np.array([-1.0, 1.0])) if mirrored else CORNERS
    rows = []
    for (x, y), (u, v) in zip(square, np.reshape(place, (4, 2)), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]]
    system = np.array(rows)
    try:
        solved = np.linalg.solve(system[:, :8], system[:, 8])
    except np.linalg.LinAlgError:
        raise ValueError(f"no picture can lie at {place}: its corners are on one line") from None
    return np.append(solved, 1.0).reshape(3, 3)


def place_from_frame(frame: Matrix, *, mirrored: bool) -> Quad:
    """Return where the whole archived picture (or its mirror image) lies: the corners clockwise from its top left."""
    corners = transform_points(frame, CORNERS)[[1, 0, 3, 2] if mirrored else [0, 1, 2, 3]]
    x0, y0, x1, y1, x2, y2, x3, y3 = (float(number) for number in corners.round(5).ravel())
    return (x0, y0, x1, y1, x2, y2, x3, y3)


def compute_seen_box(within: PixelMask) -> Matrix:
    """Return the corners (4, 2) of the box around the part that is seen, as fractions of the archived picture; of the whole picture
    if nothing is seen.
    """
    rows, columns = np.nonzero(within)
    if not len(rows):
        return CORNERS
    low = np.array([columns.min(), rows.min()]) / within.shape[0]
    high = np.array([columns.max() + 1, rows.max() + 1]) / within.shape[0]
    return np.asarray(low + CORNERS * (high - low), np.float64)


def is_angled(frame: Matrix, within: PixelMask, query_size: tuple[int, int]) -> bool:
    """Whether the part that is seen is not a rectangle in the query: the picture is seen at an angle."""
    if not within.any():
        return False
    corners = transform_points(frame, compute_seen_box(within)) * np.array(query_size)
    if not np.isfinite(corners).all():
        return True
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum(np.linalg.norm(sides, axis=1), 1e-9)
    cosine = (sides * np.roll(sides, -1, axis=0)).sum(axis=1) / (lengths * np.roll(lengths, -1))
    off = np.degrees(np.arcsin(np.clip(np.abs(cosine), 0, 1))).max()
    ratio = max(np.maximum(lengths[i] / lengths[i + 2], lengths[i + 2] / lengths[i]) for i in (0, 1))
    return bool(off > _MAX_SKEW_DEGREES or ratio > _MAX_SIDE_RATIO)


def guess_map_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Return into how many maps (across, down) a picture of this size divides, or (1, 1) if that is unknown.

    Sides that are multiples of 128 pixels give it directly. Another size counts as an enlargement if its sides have the ratio of
    two small numbers.
    """
    width, height = size
    across, down = width // MAP_SIDE_PX, height // MAP_SIDE_PX
    if width % MAP_SIDE_PX or height % MAP_SIDE_PX or max(across, down) > MAX_MAPS_PER_SIDE:
        unit = int(np.gcd(width, height))
        across, down = (width // unit, height // unit) if unit >= MAP_SIDE_PX else (1, 1)
    return (across, down) if min(across, down) >= 1 and max(across, down) <= MAX_MAPS_PER_SIDE else (1, 1)


def compute_strain(frame: Matrix, box: Matrix, query_size: tuple[int, int], archived_size: tuple[int, int]) -> float:
    """Return by how much the picture is seen at a steeper angle than usual, as a logarithm: 0 up to about 45 degrees.

    `box` (4, 2) is the part that is seen, in fractions of the archived picture. A frame that was fitted to chance pairs has a high
    strain.
    """
    depth = np.column_stack([box, np.ones(4)]) @ frame[2]
    if depth.min() <= 0:
        return MAX_STRAIN
    local = np.diag(query_size) @ compute_jacobian(frame, box.mean(axis=0, keepdims=True))[0] @ np.diag(1 / np.array(archived_size))
    widest, narrowest = np.linalg.svd(local, compute_uv=False)
    ratios = (depth.max() / depth.min(), widest / max(narrowest, 1e-9))
    return float(min(sum(max(0.0, np.log(ratio / USUAL_RATIO)) for ratio in ratios), MAX_STRAIN))


def find_panel(size: tuple[int, int], within: PixelMask, values: Floats, weights: Floats) -> Panel | None:
    """Return which whole maps of a piece of this size the query shows, or None if it shows all of them or parts of some.

    `within` is the mask of what lies inside the query. `values` and `weights` come from `overlay.correlate_blocks`. A map inside
    the query that does not agree with what is seen there is not shown: a screenshot may have one map of a piece on a wall, without
    the others.
    """
    across, down = guess_map_grid(size)
    if across * down == 1:
        return None
    shown = np.zeros((down, across), np.bool_)
    for row, column in product(range(down), range(across)):
        is_shown = _is_shown(within, values, weights, (column / across, row / down, (column + 1) / across, (row + 1) / down))
        if is_shown is None:
            return None
        shown[row, column] = is_shown
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
    """Return the weights of the blocks, 0 for those outside the panel."""
    centres = (np.arange(weights.shape[0]) * BLOCK_STEP_PX + BLOCK_PX / 2) / (BLOCK_STEP_PX * (weights.shape[0] - 1) + BLOCK_PX)
    down, across = centres * panel.rows, centres * panel.columns
    rows = (down > panel.row - 1) & (down < panel.row - 1 + panel.height)
    columns = (across > panel.column - 1) & (across < panel.column - 1 + panel.width)
    out: Floats = weights * rows[:, None] * columns[None, :]
    return out


def mask_panel_pixels(panel: Panel, within: PixelMask) -> PixelMask:
    """Return the mask `within` restricted to the panel."""
    rows, columns = (np.arange(side) * maps // side for side, maps in zip(within.shape, (panel.rows, panel.columns), strict=True))
    down = (rows >= panel.row - 1) & (rows < panel.row - 1 + panel.height)
    across = (columns >= panel.column - 1) & (columns < panel.column - 1 + panel.width)
    out: PixelMask = within & down[:, None] & across[None, :]
    return out


def _is_shown(within: PixelMask, values: Floats, weights: Floats, box: tuple[float, float, float, float]) -> bool | None:
    """Whether the query shows the map in this box of the piece. None if that is undecided."""
    left, top, right, bottom = (round(edge * within.shape[0]) for edge in box)
    share = float(within[top:bottom, left:right].mean())
    if share <= MAX_UNSEEN_SHARE:
        return False
    centres = np.arange(values.shape[0]) * BLOCK_STEP_PX + BLOCK_PX / 2
    across, down = (centres > left + 2) & (centres < right - 2), (centres > top + 2) & (centres < bottom - 2)
    inner = np.ix_(down, across)
    total = float(weights[inner].sum())
    if total < _MIN_BLOCK_WEIGHT:
        return None
    agreement = float((values[inner] * weights[inner]).sum()) / total
    if agreement <= MAX_OTHER_AGREEMENT:
        return False
    return True if agreement >= MIN_SHOWN_AGREEMENT and share >= MIN_WHOLE_SHARE else None
