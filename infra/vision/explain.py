"""Why two pictures are taken for one piece, as a picture: the outline, the points that agree, and one laid over the other."""

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.events import Evidence, Panel
from infra.vision.alignment import CORNERS, Matrix, fractions_to_pixels, mirror_points, normalise_features, verify_frame
from infra.vision.features import mirror_descriptors, resize_picture
from infra.vision.panels import frame_from_place
from infra.vision.prints import Print, unpack_print

Rgb = NDArray[np.uint8]
Float64s = NDArray[np.float64]

EXPLANATION_WIDTH_PX: Final = 1_200
MAX_DRAWN_PAIRS: Final = 60

_GAP: Final = 24
_CAPTION: Final = 30
_UPPER: Final = 520
_LOWER: Final = 300
_PAPER: Final = (250, 250, 250)
_INK: Final = (40, 40, 40)
_OUTLINE: Final = (0, 230, 90)
_UNSEEN: Final = (205, 205, 205)
_SOLID: Final = 0.75
_FRACTION: Final = 4
"""Bits after the point in the coordinates that are drawn with."""


class Captions(NamedTuple):
    """What is written above each part of an explanation, in ASCII: OpenCV's fonts have no other letters."""

    asked: str
    archived: str
    straightened: str
    difference: str


def draw_explanation(
    asked: bytes, archived: bytes, asked_print: bytes, archived_print: bytes, evidence: Evidence, captions: Captions
) -> bytes:
    """A PNG: both pictures with the outline and the points that agree; below, one through the other's frame, and their difference.

    The pictures are PNGs, the prints those that were compared. Without points there are no lines, and without a place the pictures
    stand side by side. Raises ValueError for a picture that cannot be decoded.
    """
    question, piece, box = _decoded(asked), _decoded(archived), _box(evidence.panel)
    frame = None if evidence.place is None else frame_from_place(evidence.place, mirrored=evidence.mirrored)
    pairs = _agreeing(asked_print, archived_print, frame, mirrored_too=evidence.mirrored) if frame is not None else np.empty((0, 4))
    sheets = [_side_by_side(question, piece, frame, pairs, box, captions)]
    if frame is not None:
        left, top, right, bottom = (box[[0, 2]] * piece.shape[1::-1]).round().astype(int).ravel().tolist()
        part = np.column_stack([np.vstack([np.diag(box[2] - box[0]), [0, 0]]), [*box[0], 1]])
        sheets.append(_laid_over(question, piece[top:bottom, left:right], frame @ part, captions))
    _, encoded = cv2.imencode(".png", cv2.cvtColor(np.vstack(sheets), cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def _side_by_side(question: Rgb, piece: Rgb, frame: Matrix | None, pairs: Float64s, box: Float64s, captions: Captions) -> Rgb:
    """The question on the left with the outline, the archived picture on the right, and lines between what agrees.

    `box` are the corners of what is outlined, as fractions of the archived picture: all of it, or the maps that are shown.
    """
    height = min(_UPPER, int((EXPLANATION_WIDTH_PX - 3 * _GAP) / (_aspect(question) + _aspect(piece))))
    left, right = (_fit(each, height) for each in (question, piece))
    at = (EXPLANATION_WIDTH_PX - left.shape[1] - right.shape[1] - _GAP) // 2
    corners = np.array([[at, _CAPTION], [at + left.shape[1] + _GAP, _CAPTION]])
    sheet = _sheet(max(left.shape[0], right.shape[0]))
    for picture, corner, caption in zip((left, right), corners, captions[:2], strict=True):
        _put(sheet, picture, corner, caption)
    ours, theirs = (np.array(each.shape[1::-1]) for each in (left, right))
    if frame is not None:
        view = sheet[corners[0][1] : corners[0][1] + ours[1], corners[0][0] : corners[0][0] + ours[0]]
        for thick, colour in ((7, (0, 0, 0)), (3, _OUTLINE)):
            _outline(view, frame, box, colour, thick)
            first, last = (corners[1] + box[[0, 2]] * (theirs - 1)).round().astype(int).tolist()
            cv2.rectangle(sheet, first, last, colour, thick, cv2.LINE_AA)
    lines = sheet.copy()
    for number, (x, y, u, v) in enumerate(pairs):
        one, other = corners[1] + np.array([x, y]) * theirs, corners[0] + np.array([u, v]) * ours
        colour = _colour(number, len(pairs))
        cv2.line(lines, _fine(one), _fine(other), colour, 1, cv2.LINE_AA, _FRACTION)
        for end in (one, other):
            cv2.circle(lines, _fine(end), 4 << _FRACTION, (0, 0, 0), -1, cv2.LINE_AA, _FRACTION)
            cv2.circle(lines, _fine(end), 3 << _FRACTION, colour, -1, cv2.LINE_AA, _FRACTION)
    return np.asarray(cv2.addWeighted(lines, _SOLID, sheet, 1 - _SOLID, 0), np.uint8)


def _box(panel: Panel | None) -> Float64s:
    """The corners of the maps that are shown, as fractions of the archived picture."""
    if panel is None:
        return CORNERS
    start, size = np.array([panel.column - 1, panel.row - 1]), np.array([panel.width, panel.height])
    return np.asarray((start + CORNERS * size) / np.array([panel.columns, panel.rows]))


def _laid_over(question: Rgb, piece: Rgb, frame: Matrix, captions: Captions) -> Rgb:
    """What the question shows within the outline, set straight; the archived picture; and where the two differ."""
    height = min(_LOWER, int((EXPLANATION_WIDTH_PX - 4 * _GAP) / 3 / _aspect(piece)))
    theirs = _fit(piece, height)
    size = (theirs.shape[1], theirs.shape[0])
    matrix = (
        fractions_to_pixels((question.shape[1], question.shape[0]))
        @ frame
        @ np.linalg.inv(fractions_to_pixels((2 * size[0], 2 * size[1])))
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    double = (2 * size[0], 2 * size[1])
    ours = resize_picture(np.asarray(cv2.warpPerspective(question, matrix, double, flags=flags), np.uint8), *size)
    seen = cv2.warpPerspective(np.full(question.shape[:2], 255, np.uint8), matrix, double, flags=flags)
    within = resize_picture(np.asarray(seen, np.uint8), *size) > 127
    difference = _difference(ours, theirs, within)
    for picture in (ours, difference):
        picture[~within] = _UNSEEN
    sheet = _sheet(size[1])
    at = (EXPLANATION_WIDTH_PX - 3 * size[0] - 2 * _GAP) // 2
    texts = (captions.straightened, captions.archived, captions.difference)
    for number, (picture, caption) in enumerate(zip((ours, theirs, difference), texts, strict=True)):
        _put(sheet, picture, np.array([at + number * (size[0] + _GAP), _CAPTION]), caption)
    return sheet


def _difference(ours: Rgb, theirs: Rgb, within: NDArray[np.bool_]) -> Rgb:
    """How far apart the two are once the question has the archived picture's mean colours and contrast: a lamp is no difference."""
    if not within.any():
        return np.zeros_like(ours)
    soft = [cv2.GaussianBlur(each, (0, 0), 1.5).astype(np.float64) for each in (ours, theirs)]
    mine, other = soft[0][within], soft[1][within]
    gain = other.std(axis=0) / np.maximum(mine.std(axis=0), 4.0)
    matched = (soft[0] - mine.mean(axis=0)) * np.clip(gain, 0.3, 3.0) + other.mean(axis=0)
    return np.asarray(np.clip(np.abs(matched - soft[1]) * 1.5, 0, 255), np.uint8)


def _agreeing(asked: bytes, archived: bytes, frame: Matrix, *, mirrored_too: bool) -> Float64s:
    """At most MOST_LINES of the points that agree, spread over all of them; none where a print cannot be read."""
    ours, theirs = _readable(asked), _readable(archived)
    if ours is None or theirs is None:
        return np.empty((0, 4))
    mine = normalise_features(ours.points, ours.descriptors)
    if mirrored_too:
        mine = mirror_points(normalise_features(ours.points, mirror_descriptors(ours.descriptors)), ours.size[0])
    other = normalise_features(theirs.points, theirs.descriptors)
    pairs = verify_frame(frame, mine, ours.size, other, theirs.size, mirrored=mirrored_too).pairs.astype(np.float64)
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    return pairs[np.unique(np.linspace(0, len(pairs) - 1, min(MAX_DRAWN_PAIRS, len(pairs))).round().astype(np.intp))]


def _outline(view: Rgb, frame: Matrix, box: Float64s, colour: tuple[int, int, int], thick: int) -> None:
    """Draws the outline as far as it lies before the camera and near enough to be drawn."""
    edge = np.concatenate([np.linspace(a, b, 24, endpoint=False) for a, b in zip(box, np.roll(box, -1, axis=0), strict=True)])
    through = np.column_stack([edge, np.ones(len(edge))]) @ frame.T
    depth = through[:, 2:]
    at = np.where(depth > 1e-6, through[:, :2] / np.maximum(depth, 1e-6), np.nan) * np.array(view.shape[1::-1])
    drawn = np.ascontiguousarray(view)
    for one, other in zip(at, np.roll(at, -1, axis=0), strict=True):
        if np.isfinite([one, other]).all() and np.abs([one, other]).max() < 20 * EXPLANATION_WIDTH_PX:
            cv2.line(drawn, _fine(one), _fine(other), colour, thick, cv2.LINE_AA, _FRACTION)
    view[:] = drawn


def _put(sheet: Rgb, picture: Rgb, corner: NDArray[np.integer], caption: str) -> None:
    x, y = corner.tolist()
    sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    cv2.putText(sheet, caption, (x, y - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)


def _sheet(height: int) -> Rgb:
    return np.full((_CAPTION + height + _GAP // 2, EXPLANATION_WIDTH_PX, 3), _PAPER, np.uint8)


def _fit(picture: Rgb, height: int) -> Rgb:
    return resize_picture(picture, max(1, min(EXPLANATION_WIDTH_PX - 3 * _GAP, round(_aspect(picture) * height))), max(1, height))


def _aspect(picture: Rgb) -> float:
    return float(picture.shape[1] / picture.shape[0])


def _colour(number: int, count: int) -> tuple[int, int, int]:
    """A bright colour of its own for each line, by its place among them."""
    hue = np.array([[[int(170 * number / max(count, 1)), 230, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _fine(point: Float64s) -> tuple[int, int]:
    x, y = (point * (1 << _FRACTION)).round().astype(int).tolist()
    return x, y


def _decoded(png: bytes) -> Rgb:
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) if png else None
    if decoded is None:
        raise ValueError("a picture of the explanation cannot be decoded: its bytes are no PNG")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _readable(data: bytes) -> Print | None:
    try:
        return unpack_print(data)
    except ValueError:
        return None
