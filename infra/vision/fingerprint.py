"""Make the fingerprints of archived pictures and of queries.

The fingerprint of a query also has its regions, and more features of the small regions.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.ports import Fingerprint, PictureWorkers, QueryFingerprint
from infra.vision.features import MAX_QUERY_FEATURES, assign_words, choose_feature_limit, extract_features, resize_picture
from infra.vision.hash import compute_pdq, compute_pdq_turns
from infra.vision.prints import MAX_PICTURE_PX, THUMB_PX, Print, pack_print
from infra.vision.rectify import decode_picture, rectify_region, to_pixel_corners
from infra.vision.regions import find_regions

FINGERPRINT_METHOD: Final = "f1"
"""The name of the method that makes fingerprints. Change it whenever the fingerprint of any picture would change: fingerprints of
two methods are never compared.
"""

FEATURES_SIDE_PX: Final = 512
"""A query is scaled to this longer side before its features are extracted. The larger `picture` of the print gives finer features,
but they find no more matches.
"""

MAX_CLOSER_REGIONS: Final = 3
"""Features are extracted again from at most this many regions."""

CLOSER_FEATURES: Final = 150
"""A region that already has this many keypoints needs no more. No region gets more than this."""

CLOSER_SIDE_PX: Final = 256
"""A region is small if its sides in the `picture` are shorter than this. It is straightened and enlarged to this side."""

HASHED_SIDE_PX: Final = 128
"""A region is straightened to a square of this side before it is hashed."""

_MAX_SIDE_PX: Final = 1600
"""A larger picture is reduced to this longer side before anything else."""

Points = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class Fingerprinter:
    """Implements the `PictureFingerprinter` port with workers."""

    def __init__(self, workers: PictureWorkers) -> None:
        self._workers = workers

    @property
    def method(self) -> str:
        return FINGERPRINT_METHOD

    async def fingerprint(self, picture: bytes) -> Fingerprint:
        """Return the fingerprint of an archived picture (canonical PNG). Raises Reject if it cannot be decoded."""
        return await self._workers.run(fingerprint_archived, picture)

    async def examine(self, picture: bytes) -> QueryFingerprint:
        """Return the fingerprint of a query and its regions. Raises Reject if the picture cannot be decoded."""
        return await self._workers.run(fingerprint_query, picture)


def fingerprint_archived(picture: bytes) -> Fingerprint:
    """Make the fingerprint of an archived picture (canonical PNG). Raises Reject if it cannot be decoded."""
    return _pack(make_archived_print(decode_picture(picture)))


def fingerprint_query(picture: bytes) -> QueryFingerprint:
    """Make the fingerprint of a query (canonical PNG), with its regions. Raises Reject if it cannot be decoded."""
    query = make_query_print(decode_picture(picture))
    return QueryFingerprint(_pack(query), tuple(tuple(region) for region in query.places.astype(float).tolist()))


def make_archived_print(rgb: Bytes) -> Print:
    """Return the print of an archived picture (h, w, 3)."""
    height, width = rgb.shape[:2]
    rgb = _shrink(rgb, _MAX_SIDE_PX)
    keypoints, descriptors = extract_features(rgb, choose_feature_limit(width, height), spread=True)
    return _build_print((width, height), rgb, _rescale_keypoints((width, height), keypoints, rgb), descriptors)


def make_query_print(rgb: Bytes) -> Print:
    """Return the print of a query (h, w, 3), with its regions."""
    height, width = rgb.shape[:2]
    rgb = _shrink(rgb, _MAX_SIDE_PX)
    small = _shrink(rgb, MAX_PICTURE_PX)
    regions = np.array(find_regions(small), np.float32).reshape(-1, 8)
    keypoints, descriptors = extract_features(small, MAX_QUERY_FEATURES, FEATURES_SIDE_PX)
    keypoints = _rescale_keypoints((rgb.shape[1], rgb.shape[0]), keypoints, small)
    features = [(keypoints, descriptors), *extract_closer_features(rgb, regions, keypoints)]
    keypoints, descriptors = (np.concatenate(parts) for parts in zip(*features, strict=True))
    hashes = np.stack(
        [
            compute_pdq_turns(small),
            *(compute_pdq_turns(rectify_region(small, region, HASHED_SIDE_PX), CLOSER_SIDE_PX) for region in regions),
        ]
    )
    keypoints = _rescale_keypoints((width, height), keypoints, rgb)
    return _build_print((width, height), small, keypoints, descriptors, picture=small, places=regions, place_hashes=hashes)


def extract_closer_features(rgb: Bytes, regions: Points, known: Points) -> list[tuple[Points, Bytes]]:
    """Extract features from the first regions that are small and have few known keypoints.

    Each result is the keypoints, in pixels of the picture, and the descriptors.
    """
    height, width = rgb.shape[:2]
    small = CLOSER_SIDE_PX * max(1.0, max(height, width) / MAX_PICTURE_PX)
    found: list[tuple[Points, Bytes]] = []
    for region in regions:
        corners = to_pixel_corners(region, width, height)
        sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
        across, down = float(sides[::2].mean()), float(sides[1::2].mean())
        if not (min(across, down) >= 1 and max(across, down) < small and len(found) < MAX_CLOSER_REGIONS):
            continue
        if _count_inside(corners, known) < CLOSER_FEATURES:
            found.append(_extract_from_region(rgb, corners, across, down))
    return found


def _count_inside(corners: Points, keypoints: Points) -> int:
    """Return how many points lie inside an outline."""
    sides = np.roll(corners, -1, axis=0) - corners
    off = keypoints[:, None, :2] - corners
    turns = sides[:, 0] * off[..., 1] - sides[:, 1] * off[..., 0]
    return int(((turns >= 0).all(axis=1) | (turns <= 0).all(axis=1)).sum())


def _extract_from_region(rgb: Bytes, corners: Points, across: float, down: float) -> tuple[Points, Bytes]:
    factor = CLOSER_SIDE_PX / max(across, down)
    size = max(8, round(across * factor)), max(8, round(down * factor))
    box = np.array([[0, 0], [size[0], 0], size, [0, size[1]]], np.float32) - np.float32(0.5)
    straight = cv2.warpPerspective(rgb, cv2.getPerspectiveTransform(corners, box), size, borderMode=cv2.BORDER_REPLICATE)
    keypoints, descriptors = extract_features(np.asarray(straight, np.uint8), CLOSER_FEATURES, CLOSER_SIDE_PX)
    if len(keypoints):
        keypoints = _map_keypoints(keypoints, np.asarray(cv2.getPerspectiveTransform(box, corners), np.float64))
    return keypoints, descriptors


def _map_keypoints(keypoints: Points, homography: NDArray[np.float64]) -> Points:
    """Map keypoints through a homography, with their scales and angles."""
    angles = np.deg2rad(keypoints[:, 3])
    tips = keypoints[:, :2] + keypoints[:, 2:3] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centres, tips = (
        cv2.perspectiveTransform(each[:, None].astype(np.float32), homography)[:, 0] for each in (keypoints[:, :2], tips)
    )
    arrows = tips - centres
    turned = np.rad2deg(np.arctan2(arrows[:, 1], arrows[:, 0])) % 360
    return np.column_stack([centres, np.linalg.norm(arrows, axis=1), turned]).astype(np.float32)


def _build_print(
    size: tuple[int, int], rgb: Bytes, keypoints: Points, descriptors: Bytes, **of_query: NDArray[np.generic]
) -> Print:
    """Return the print of a picture of this size. `keypoints` are in its pixels; `rgb` may be a smaller copy."""
    words, signatures = assign_words(descriptors)
    digest, quality = compute_pdq(rgb)
    thumb = resize_picture(rgb, THUMB_PX, THUMB_PX)
    return Print(size, keypoints, descriptors, words, signatures, digest, quality, thumb, **of_query)  # type: ignore[arg-type]


def _rescale_keypoints(size: tuple[int, int], keypoints: Points, rgb: Bytes) -> Points:
    """Return keypoints of `rgb` in pixels of the same picture at `size`."""
    grown = np.array([size[0] / rgb.shape[1], size[1] / rgb.shape[0]], np.float32)
    return np.column_stack([(keypoints[:, :2] + 0.5) * grown - 0.5, keypoints[:, 2] * grown.max(), keypoints[:, 3]]).astype(
        np.float32
    )


def _shrink(rgb: Bytes, longest: int) -> Bytes:
    """Return the picture with a longer side of at most `longest` pixels."""
    factor = longest / max(rgb.shape)
    return rgb if factor >= 1 else resize_picture(rgb, max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))


def _pack(source: Print) -> Fingerprint:
    return Fingerprint(pack_print(source), source.hash.hex(), source.quality, len(source.keypoints))
