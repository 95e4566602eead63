"""Places in a picture, seen from straight ahead."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Reject, RejectCode
from contracts.events import Quad
from infra.vision.prints import unpack_print

EMBEDDED_SIDE_PX = 224
"""Pixels on a side of what is embedded."""


def rectify_region(rgb: NDArray[np.uint8], place: Sequence[float] | NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """What lies in the place as a square (side, side, 3): a place is eight fractions, and what is no square is squeezed to one.

    What is outside the picture is drawn like its edge.
    """
    corners = to_pixel_corners(place, rgb.shape[1], rgb.shape[0])
    longest = float(max(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)))
    fine = int(min(max(longest // side, 1), 4))  # a side of several pixels for each one wanted is averaged, not picked from
    warped = cv2.warpPerspective(
        rgb, compute_square_homography(corners, side * fine), (side * fine, side * fine), borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.resize(warped, (side, side), interpolation=cv2.INTER_AREA) if fine > 1 else warped, np.uint8)


def to_pixel_corners(place: Sequence[float] | NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """The place's corners (4, 2) in pixels, whose centres are whole numbers."""
    return np.asarray(place, np.float32).reshape(4, 2) * np.array([width, height], np.float32) - np.float32(0.5)


def compute_square_homography(corners: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """The homography (3, 3) from the picture to a square of that side."""
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - np.float32(0.5)
    return np.asarray(cv2.getPerspectiveTransform(corners, square), np.float64)


def extract_views(fingerprint: bytes, places: Sequence[Quad]) -> list[bytes]:
    """The picture in a question's print, then each place in it with 224 pixels a side, as files that are quickly read (BMP).

    Raises Reject for a print that has no picture or cannot be read.
    """
    try:
        picture = unpack_print(fingerprint).picture
    except ValueError:
        picture = None
    if picture is None:
        raise Reject(RejectCode.DAMAGED, "The fingerprint of the question cannot be read.")
    seen = (picture, *(rectify_region(picture, place, EMBEDDED_SIDE_PX) for place in places))
    return [cv2.imencode(".bmp", cv2.cvtColor(each, cv2.COLOR_RGB2BGR))[1].tobytes() for each in seen]


def decode_picture(picture: bytes) -> NDArray[np.uint8]:
    """The pixels (h, w, 3) of a picture, RGB. Raises Reject for bytes that are no picture."""
    try:
        rgb = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        rgb = None
    if rgb is None:
        raise Reject(RejectCode.DAMAGED, "The picture cannot be decoded.")
    return np.asarray(rgb, np.uint8)
