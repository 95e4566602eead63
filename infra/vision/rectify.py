"""Decode pictures, and straighten regions of them: see a region from straight ahead, as a square."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Reject, RejectCode
from contracts.events import Quad
from infra.vision.prints import unpack_print

EMBEDDED_SIDE_PX = 224
"""The side of the square that a region is straightened to before it is embedded."""


def rectify_region(rgb: NDArray[np.uint8], region: Sequence[float] | NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Return a region as a square (side, side, 3). A region is eight fractions of the picture: x, y of its corners.

    A region of other proportions is squeezed to a square. Where it lies outside the picture, the edge of the picture is repeated.
    """
    corners = to_pixel_corners(region, rgb.shape[1], rgb.shape[0])
    longest = float(max(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)))
    fine = int(min(max(longest // side, 1), 4))  # warp to a multiple of the side and average, so that no pixel is skipped
    warped = cv2.warpPerspective(
        rgb, compute_square_homography(corners, side * fine), (side * fine, side * fine), borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.resize(warped, (side, side), interpolation=cv2.INTER_AREA) if fine > 1 else warped, np.uint8)


def to_pixel_corners(region: Sequence[float] | NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return the corners (4, 2) of a region in pixels, where the centre of a pixel is a whole number."""
    return np.asarray(region, np.float32).reshape(4, 2) * np.array([width, height], np.float32) - np.float32(0.5)


def compute_square_homography(corners: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """Return the homography (3, 3) from pixels of the picture to those of a square, given the corners in the picture."""
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - np.float32(0.5)
    return np.asarray(cv2.getPerspectiveTransform(corners, square), np.float64)


def extract_views(fingerprint: bytes, regions: Sequence[Quad]) -> list[bytes]:
    """Return what is embedded of a query: the picture in its print, then each region as a square of 224 pixels.

    The results are BMP files, which are quick to read. Raises Reject for a print that has no picture or cannot be read.
    """
    try:
        picture = unpack_print(fingerprint).picture
    except ValueError:
        picture = None
    if picture is None:
        raise Reject(RejectCode.DAMAGED, "The fingerprint of the query cannot be read.")
    views = (picture, *(rectify_region(picture, region, EMBEDDED_SIDE_PX) for region in regions))
    return [cv2.imencode(".bmp", cv2.cvtColor(view, cv2.COLOR_RGB2BGR))[1].tobytes() for view in views]


def decode_picture(picture: bytes) -> NDArray[np.uint8]:
    """Return the pixels (h, w, 3) of a picture, RGB. Raises Reject for bytes that are not a picture."""
    try:
        rgb = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        rgb = None
    if rgb is None:
        raise Reject(RejectCode.DAMAGED, "The picture cannot be decoded.")
    return np.asarray(rgb, np.uint8)
