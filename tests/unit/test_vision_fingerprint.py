"""Fingerprinter: the same picture has the same fingerprint, and no picture breaks it."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import Reject
from infra.sandbox.art.generate import draw_piece
from infra.vision import fingerprint
from infra.vision.features import MAX_ARCHIVED_FEATURES
from infra.vision.fingerprint import Fingerprinter, extract_closer_features, make_query_print
from infra.vision.hash import compute_pdq
from infra.vision.prints import MAX_PICTURE_PX, unpack_print
from tests.support.workers import ThreadWorkers


def to_png(rgb: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()


def draw_noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def draw_framed(seed: int) -> NDArray[np.uint8]:
    """Draw one map, small in a wide picture."""
    wide = np.full((720, 1280, 3), 70, np.uint8)
    wide[300:460, 500:660] = cv2.resize(np.array(draw_piece(seed))[:128, :128], (160, 160))
    return wide


async def test_an_archived_picture_has_one_fingerprint() -> None:
    art = np.array(draw_piece(3))
    port = Fingerprinter(ThreadWorkers())
    made = await port.fingerprint(to_png(art))
    assert made == await port.fingerprint(to_png(art))
    read = unpack_print(made.data)
    assert (read.size, read.picture, len(read.places)) == ((art.shape[1], art.shape[0]), None, 0)
    assert (made.features, made.quality, made.hash) == (len(read.keypoints), read.quality, compute_pdq(art)[0].hex())
    assert 0 < made.features <= MAX_ARCHIVED_FEATURES
    assert len(made.data) < 62_000


async def test_a_query_has_its_regions_and_its_picture_too() -> None:
    query = await Fingerprinter(ThreadWorkers()).examine(to_png(draw_framed(1)))
    read = unpack_print(query.fingerprint.data)
    assert read.size == (1280, 720)
    assert read.picture is not None
    assert max(read.picture.shape) == MAX_PICTURE_PX
    assert 0 < len(query.places) == len(read.places) <= 6
    assert read.place_hashes.shape == (len(read.places) + 1, 8, 32)
    assert read.place_hashes[0, 0].tobytes() == read.hash


def test_a_small_region_gives_more_features_inside_it() -> None:
    region = np.array([[500, 300, 660, 300, 660, 460, 500, 460]], np.float32) / np.tile([1280, 720], 4)
    nothing = np.empty((0, 4), np.float32)
    ((points, descriptors),) = extract_closer_features(draw_framed(1), region.astype(np.float32), nothing)
    assert extract_closer_features(draw_framed(1), region.astype(np.float32), np.tile(points, (10, 1))) == []
    assert len(points) == len(descriptors) > 30
    assert (points[:, :2] >= (495, 295)).all()
    assert (points[:, :2] <= (665, 465)).all()
    whole = make_query_print(draw_framed(1))
    nearest = np.linalg.norm(points[:, None, :2] - whole.keypoints[None, :, :2], axis=2).min(axis=1)
    assert (nearest < 1.5).mean() > 0.5


def test_keypoints_are_mapped_with_their_scales_and_angles() -> None:
    points = np.array([[10, 20, 8, 30], [40, 5, 4, 350]], np.float32)
    quarter = np.array([[0, -2, 100], [2, 0, 50], [0, 0, 1]], np.float64)
    assert np.allclose(fingerprint._map_keypoints(points, quarter), [[60, 70, 16, 120], [90, 130, 8, 80]], atol=1e-3)


HOSTILE = {
    "blank": np.full((600, 800, 3), 90, np.uint8),
    "noise": draw_noise(1080, 1920),
    "tiny": draw_noise(10, 10),
    "one pixel": draw_noise(1, 1),
    "one row": draw_noise(1, 5000),
    "one column": draw_noise(5000, 1),
    "huge": np.tile(draw_noise(500, 500), (12, 12, 1)),
    "corners everywhere": np.kron(np.indices((60, 80)).sum(0) % 2, np.ones((13, 13)))[..., None].repeat(3, 2).astype(np.uint8)
    * 255,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_pictures_have_fingerprints(name: str) -> None:
    port, picture = Fingerprinter(ThreadWorkers()), to_png(HOSTILE[name])
    made, query = await port.fingerprint(picture), await port.examine(picture)
    assert unpack_print(made.data).size == unpack_print(query.fingerprint.data).size == HOSTILE[name].shape[1::-1]
    assert made.features <= MAX_ARCHIVED_FEATURES
    assert query.fingerprint.features <= 1400
    assert (made.quality == 0) == (name in {"blank", "one pixel"})


async def test_an_undecodable_picture_is_rejected() -> None:
    port = Fingerprinter(ThreadWorkers())
    for work in (port.fingerprint, port.examine):
        with pytest.raises(Reject, match="decoded"):
            await work(b"no picture")
