"""Fingerprints of pictures, made in threads: an archived picture's, and a question's with its places looked at more closely."""

import asyncio
from contextlib import suppress
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.ports import Fingerprint, QueryFingerprint
from infra.vision.features import MAX_QUERY_FEATURES, assign_words, choose_feature_limit, extract_features, resize_picture
from infra.vision.hash import compute_pdq, compute_pdq_turns
from infra.vision.prints import MAX_PICTURE_PX, THUMB_PX, Print, pack_print
from infra.vision.rectify import decode_picture, rectify_region, to_pixel_corners
from infra.vision.regions import find_regions

FINGERPRINT_METHOD: Final = "f1"
"""How fingerprints are made. Another name whenever any picture's would become another one: two methods are never compared."""

FEATURES_SIDE_PX: Final = 512
"""Pixels on the longer side of a question in which features are looked for: its `picture` has finer ones, and they find no more."""

MAX_CLOSER_REGIONS: Final = 3
CLOSER_FEATURES: Final = 150
CLOSER_SIDE_PX: Final = 256
"""At most three places that are smaller than this in a question's `picture` are looked at again, straightened, as large as this."""

HASHED_SIDE_PX: Final = 128
"""Pixels on a side of a straightened place of which the hash is made."""

_LARGEST: Final = 1600
"""Pixels on the longer side to which a larger picture is reduced before anything else."""

_QUESTIONS: Final = 2
_PATIENCE_S: Final = 5.0
"""How long an archived picture waits for questions at most."""

Points = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class Fingerprinter:
    """The `Fingerprinting` port: one archived picture at a time, and none begins while a question is examined."""

    def __init__(self) -> None:
        self._archive = asyncio.Semaphore(1)
        self._questions = asyncio.Semaphore(_QUESTIONS)
        self._asked = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def method(self) -> str:
        return FINGERPRINT_METHOD

    async def fingerprint(self, picture: bytes) -> Fingerprint:
        """An archived picture's (canonical PNG). Raises Reject for one that cannot be decoded."""
        async with self._archive:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._quiet.wait()
            return await asyncio.to_thread(lambda: _told(make_archived_print(decode_picture(picture))))

    async def examine(self, picture: bytes) -> QueryFingerprint:
        """A question's, before the archive's. Raises Reject for a picture that cannot be decoded."""
        self._asked += 1
        self._quiet.clear()
        try:
            async with self._questions:
                return await asyncio.to_thread(_examined, picture)
        finally:
            self._asked -= 1
            if not self._asked:
                self._quiet.set()


def make_archived_print(rgb: Bytes) -> Print:
    """What an archived picture (h, w, 3) is recognised by."""
    height, width = rgb.shape[:2]
    rgb = _reduced(rgb, _LARGEST)
    points, descriptors = extract_features(rgb, choose_feature_limit(width, height), spread=True)
    return _print((width, height), rgb, _in_pixels_of((width, height), points, rgb), descriptors)


def make_query_print(rgb: Bytes) -> Print:
    """What a question is recognised by, with its places."""
    height, width = rgb.shape[:2]
    rgb = _reduced(rgb, _LARGEST)
    small = _reduced(rgb, MAX_PICTURE_PX)
    places = np.array(find_regions(small), np.float32).reshape(-1, 8)
    points, descriptors = extract_features(small, MAX_QUERY_FEATURES, FEATURES_SIDE_PX)
    points = _in_pixels_of((rgb.shape[1], rgb.shape[0]), points, small)
    features = [(points, descriptors), *extract_closer_features(rgb, places, points)]
    points, descriptors = (np.concatenate(parts) for parts in zip(*features, strict=True))
    hashes = np.stack(
        [
            compute_pdq_turns(small),
            *(compute_pdq_turns(rectify_region(small, place, HASHED_SIDE_PX), CLOSER_SIDE_PX) for place in places),
        ]
    )
    points = _in_pixels_of((width, height), points, rgb)
    return _print((width, height), small, points, descriptors, picture=small, places=places, place_hashes=hashes)


def extract_closer_features(rgb: Bytes, places: Points, known: Points) -> list[tuple[Points, Bytes]]:
    """The features of the first places that are small and have few known points: points in the picture's pixels, descriptors."""
    height, width = rgb.shape[:2]
    small = CLOSER_SIDE_PX * max(1.0, max(height, width) / MAX_PICTURE_PX)
    seen: list[tuple[Points, Bytes]] = []
    for place in places:
        corners = to_pixel_corners(place, width, height)
        sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
        across, down = float(sides[::2].mean()), float(sides[1::2].mean())
        if not (min(across, down) >= 1 and max(across, down) < small and len(seen) < MAX_CLOSER_REGIONS):
            continue
        if _inside(corners, known) < CLOSER_FEATURES:
            seen.append(_closer(rgb, corners, across, down))
    return seen


def _inside(corners: Points, points: Points) -> int:
    """How many points lie inside an outline."""
    sides = np.roll(corners, -1, axis=0) - corners
    off = points[:, None, :2] - corners
    turns = sides[:, 0] * off[..., 1] - sides[:, 1] * off[..., 0]
    return int(((turns >= 0).all(axis=1) | (turns <= 0).all(axis=1)).sum())


def _closer(rgb: Bytes, corners: Points, across: float, down: float) -> tuple[Points, Bytes]:
    factor = CLOSER_SIDE_PX / max(across, down)
    size = max(8, round(across * factor)), max(8, round(down * factor))
    box = np.array([[0, 0], [size[0], 0], size, [0, size[1]]], np.float32) - np.float32(0.5)
    straight = cv2.warpPerspective(rgb, cv2.getPerspectiveTransform(corners, box), size, borderMode=cv2.BORDER_REPLICATE)
    points, descriptors = extract_features(np.asarray(straight, np.uint8), CLOSER_FEATURES, CLOSER_SIDE_PX)
    if len(points):
        points = _back(points, np.asarray(cv2.getPerspectiveTransform(box, corners), np.float64))
    return points, descriptors


def _back(points: Points, homography: NDArray[np.float64]) -> Points:
    """Points with their scales and angles as they are on the other side of the homography."""
    angles = np.deg2rad(points[:, 3])
    tips = points[:, :2] + points[:, 2:3] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centres, tips = (cv2.perspectiveTransform(each[:, None].astype(np.float32), homography)[:, 0] for each in (points[:, :2], tips))
    arrows = tips - centres
    turned = np.rad2deg(np.arctan2(arrows[:, 1], arrows[:, 0])) % 360
    return np.column_stack([centres, np.linalg.norm(arrows, axis=1), turned]).astype(np.float32)


def _print(size: tuple[int, int], rgb: Bytes, points: Points, descriptors: Bytes, **asked: NDArray[np.generic]) -> Print:
    """The print of a picture of that size: points are in its pixels, `rgb` may be a smaller copy."""
    words, signatures = assign_words(descriptors)
    digest, quality = compute_pdq(rgb)
    return Print(size, points, descriptors, words, signatures, digest, quality, resize_picture(rgb, THUMB_PX, THUMB_PX), **asked)  # type: ignore[arg-type]


def _in_pixels_of(size: tuple[int, int], points: Points, rgb: Bytes) -> Points:
    """Points of a picture as they are where it has another size."""
    grown = np.array([size[0] / rgb.shape[1], size[1] / rgb.shape[0]], np.float32)
    return np.column_stack([(points[:, :2] + 0.5) * grown - 0.5, points[:, 2] * grown.max(), points[:, 3]]).astype(np.float32)


def _reduced(rgb: Bytes, longest: int) -> Bytes:
    """The picture with a longer side of at most `longest` pixels."""
    factor = longest / max(rgb.shape)
    return rgb if factor >= 1 else resize_picture(rgb, max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))


def _told(made: Print) -> Fingerprint:
    return Fingerprint(pack_print(made), made.hash.hex(), made.quality, len(made.points))


def _examined(picture: bytes) -> QueryFingerprint:
    made = make_query_print(decode_picture(picture))
    return QueryFingerprint(_told(made), tuple(tuple(place) for place in made.places.astype(float).tolist()))
