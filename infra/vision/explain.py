"""Draw why two pictures were matched: the outline, the keypoints that agree, and the difference of the two pictures."""

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

_GAP_PX: Final = 24
_CAPTION_PX: Final = 30
_UPPER_PX: Final = 520
_LOWER_PX: Final = 300
_PAPER: Final = (250, 250, 250)
_INK: Final = (40, 40, 40)
_OUTLINE: Final = (0, 230, 90)
_UNSEEN: Final = (205, 205, 205)
_LINE_OPACITY: Final = 0.75
_FRACTION_BITS: Final = 4
"""OpenCV draws with coordinates of this many fractional bits."""


class Captions(NamedTuple):
    """The captions of the parts of an explanation. They must be ASCII: OpenCV's fonts have no other characters."""

    asked: str
    archived: str
    straightened: str
    difference: str


def draw_explanation(
    query_png: bytes, archived_png: bytes, query_print: bytes, archived_print: bytes, evidence: Evidence, captions: Captions
) -> bytes:
    """Return a PNG that explains a match.

    The upper part shows both pictures side by side, with the outline and lines between keypoints that agree. The lower part shows
    the query warped to the archived picture, the archived picture, and their difference. Without keypoints there are no lines, and
    without a place there is no outline and no lower part. The pictures are PNG files, the prints are those that were compared.
    Raises ValueError for a picture that cannot be decoded.
    """
    query, piece, box = _decode_png(query_png), _decode_png(archived_png), _panel_box(evidence.panel)
    frame = None if evidence.place is None else frame_from_place(evidence.place, mirrored=evidence.mirrored)
    pairs = (
        _select_pairs(query_print, archived_print, frame, is_mirrored=evidence.mirrored) if frame is not None else np.empty((0, 4))
    )
    sheets = [_draw_side_by_side(query, piece, frame, pairs, box, captions)]
    if frame is not None:
        left, top, right, bottom = (box[[0, 2]] * piece.shape[1::-1]).round().astype(int).ravel().tolist()
        part = np.column_stack([np.vstack([np.diag(box[2] - box[0]), [0, 0]]), [*box[0], 1]])
        sheets.append(_draw_difference(query, piece[top:bottom, left:right], frame @ part, captions))
    _, encoded = cv2.imencode(".png", cv2.cvtColor(np.vstack(sheets), cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def _draw_side_by_side(query: Rgb, piece: Rgb, frame: Matrix | None, pairs: Float64s, box: Float64s, captions: Captions) -> Rgb:
    """Draw the query with the outline on the left, the archived picture on the right, and lines between keypoints that agree.

    `box` are the corners of the outlined part, as fractions of the archived picture: all of it, or the panel that the query shows.
    """
    height = min(_UPPER_PX, int((EXPLANATION_WIDTH_PX - 3 * _GAP_PX) / (_aspect_ratio(query) + _aspect_ratio(piece))))
    left, right = (_fit(each, height) for each in (query, piece))
    at = (EXPLANATION_WIDTH_PX - left.shape[1] - right.shape[1] - _GAP_PX) // 2
    corners = np.array([[at, _CAPTION_PX], [at + left.shape[1] + _GAP_PX, _CAPTION_PX]])
    sheet = _blank_sheet(max(left.shape[0], right.shape[0]))
    for picture, corner, caption in zip((left, right), corners, captions[:2], strict=True):
        _paste(sheet, picture, corner, caption)
    ours, theirs = (np.array(each.shape[1::-1]) for each in (left, right))
    if frame is not None:
        view = sheet[corners[0][1] : corners[0][1] + ours[1], corners[0][0] : corners[0][0] + ours[0]]
        for thick, colour in ((7, (0, 0, 0)), (3, _OUTLINE)):
            _draw_outline(view, frame, box, colour, thick)
            first, last = (corners[1] + box[[0, 2]] * (theirs - 1)).round().astype(int).tolist()
            cv2.rectangle(sheet, first, last, colour, thick, cv2.LINE_AA)
    lines = sheet.copy()
    for number, (x, y, u, v) in enumerate(pairs):
        one, other = corners[1] + np.array([x, y]) * theirs, corners[0] + np.array([u, v]) * ours
        colour = _line_colour(number, len(pairs))
        cv2.line(lines, _fixed_point(one), _fixed_point(other), colour, 1, cv2.LINE_AA, _FRACTION_BITS)
        for end in (one, other):
            cv2.circle(lines, _fixed_point(end), 4 << _FRACTION_BITS, (0, 0, 0), -1, cv2.LINE_AA, _FRACTION_BITS)
            cv2.circle(lines, _fixed_point(end), 3 << _FRACTION_BITS, colour, -1, cv2.LINE_AA, _FRACTION_BITS)
    return np.asarray(cv2.addWeighted(lines, _LINE_OPACITY, sheet, 1 - _LINE_OPACITY, 0), np.uint8)


def _panel_box(panel: Panel | None) -> Float64s:
    """Return the corners of the panel that the query shows, as fractions of the archived picture."""
    if panel is None:
        return CORNERS
    start, size = np.array([panel.column - 1, panel.row - 1]), np.array([panel.width, panel.height])
    return np.asarray((start + CORNERS * size) / np.array([panel.columns, panel.rows]))


def _draw_difference(query: Rgb, piece: Rgb, frame: Matrix, captions: Captions) -> Rgb:
    """Draw what the query shows within the outline, straightened; the archived picture; and the difference of the two."""
    height = min(_LOWER_PX, int((EXPLANATION_WIDTH_PX - 4 * _GAP_PX) / 3 / _aspect_ratio(piece)))
    theirs = _fit(piece, height)
    size = (theirs.shape[1], theirs.shape[0])
    matrix = (
        fractions_to_pixels((query.shape[1], query.shape[0]))
        @ frame
        @ np.linalg.inv(fractions_to_pixels((2 * size[0], 2 * size[1])))
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    double = (2 * size[0], 2 * size[1])
    ours = resize_picture(np.asarray(cv2.warpPerspective(query, matrix, double, flags=flags), np.uint8), *size)
    seen = cv2.warpPerspective(np.full(query.shape[:2], 255, np.uint8), matrix, double, flags=flags)
    within = resize_picture(np.asarray(seen, np.uint8), *size) > 127
    difference = _compute_difference(ours, theirs, within)
    for picture in (ours, difference):
        picture[~within] = _UNSEEN
    sheet = _blank_sheet(size[1])
    at = (EXPLANATION_WIDTH_PX - 3 * size[0] - 2 * _GAP_PX) // 2
    texts = (captions.straightened, captions.archived, captions.difference)
    for number, (picture, caption) in enumerate(zip((ours, theirs, difference), texts, strict=True)):
        _paste(sheet, picture, np.array([at + number * (size[0] + _GAP_PX), _CAPTION_PX]), caption)
    return sheet


def _compute_difference(ours: Rgb, theirs: Rgb, within: NDArray[np.bool_]) -> Rgb:
    """Return the difference of the two after the query was given the mean colours and contrast of the archived picture.

    So another light makes no difference.
    """
    if not within.any():
        return np.zeros_like(ours)
    soft = [cv2.GaussianBlur(each, (0, 0), 1.5).astype(np.float64) for each in (ours, theirs)]
    mine, other = soft[0][within], soft[1][within]
    gain = other.std(axis=0) / np.maximum(mine.std(axis=0), 4.0)
    matched = (soft[0] - mine.mean(axis=0)) * np.clip(gain, 0.3, 3.0) + other.mean(axis=0)
    return np.asarray(np.clip(np.abs(matched - soft[1]) * 1.5, 0, 255), np.uint8)


def _select_pairs(query_print: bytes, archived_print: bytes, frame: Matrix, *, is_mirrored: bool) -> Float64s:
    """Return at most MAX_DRAWN_PAIRS of the pairs that agree, spread evenly over all of them; none if a print cannot be read."""
    query, archived = _try_unpack(query_print), _try_unpack(archived_print)
    if query is None or archived is None:
        return np.empty((0, 4))
    query_features = normalise_features(query.keypoints, query.descriptors)
    if is_mirrored:
        query_features = mirror_points(normalise_features(query.keypoints, mirror_descriptors(query.descriptors)), query.size[0])
    archived_features = normalise_features(archived.keypoints, archived.descriptors)
    pairs = verify_frame(frame, query_features, query.size, archived_features, archived.size, mirrored=is_mirrored).pairs.astype(
        np.float64
    )
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    return pairs[np.unique(np.linspace(0, len(pairs) - 1, min(MAX_DRAWN_PAIRS, len(pairs))).round().astype(np.intp))]


def _draw_outline(view: Rgb, frame: Matrix, box: Float64s, colour: tuple[int, int, int], thick: int) -> None:
    """Draw the part of the outline that lies in front of the camera and not too far away to draw."""
    edge = np.concatenate([np.linspace(a, b, 24, endpoint=False) for a, b in zip(box, np.roll(box, -1, axis=0), strict=True)])
    through = np.column_stack([edge, np.ones(len(edge))]) @ frame.T
    depth = through[:, 2:]
    at = np.where(depth > 1e-6, through[:, :2] / np.maximum(depth, 1e-6), np.nan) * np.array(view.shape[1::-1])
    drawn = np.ascontiguousarray(view)
    for one, other in zip(at, np.roll(at, -1, axis=0), strict=True):
        if np.isfinite([one, other]).all() and np.abs([one, other]).max() < 20 * EXPLANATION_WIDTH_PX:
            cv2.line(drawn, _fixed_point(one), _fixed_point(other), colour, thick, cv2.LINE_AA, _FRACTION_BITS)
    view[:] = drawn


def _paste(sheet: Rgb, picture: Rgb, corner: NDArray[np.integer], caption: str) -> None:
    x, y = corner.tolist()
    sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    cv2.putText(sheet, caption, (x, y - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)


def _blank_sheet(height: int) -> Rgb:
    return np.full((_CAPTION_PX + height + _GAP_PX // 2, EXPLANATION_WIDTH_PX, 3), _PAPER, np.uint8)


def _fit(picture: Rgb, height: int) -> Rgb:
    return resize_picture(
        picture, max(1, min(EXPLANATION_WIDTH_PX - 3 * _GAP_PX, round(_aspect_ratio(picture) * height))), max(1, height)
    )


def _aspect_ratio(picture: Rgb) -> float:
    return float(picture.shape[1] / picture.shape[0])


def _line_colour(number: int, count: int) -> tuple[int, int, int]:
    """Return a bright colour, different for each line number."""
    hue = np.array([[[int(170 * number / max(count, 1)), 230, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _fixed_point(point: Float64s) -> tuple[int, int]:
    x, y = (point * (1 << _FRACTION_BITS)).round().astype(int).tolist()
    return x, y


def _decode_png(png: bytes) -> Rgb:
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) if png else None
    if decoded is None:
        raise ValueError("a picture of the explanation cannot be decoded: its bytes are not a PNG")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _try_unpack(data: bytes) -> Print | None:
    try:
        return unpack_print(data)
    except ValueError:
        return None
