"""Local features are found again in other sizes of a picture and in its mirror image."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infra.sandbox.art.generate import draw_piece
from infra.vision.features import DESCRIPTOR_LENGTH, MAX_FEATURES_ONE_MAP, MAX_QUERY_FEATURES, extract_features, mirror_descriptors

Picture = NDArray[np.uint8]


def draw_pixels(seed: int) -> Picture:
    return np.array(draw_piece(seed))


def measure_repeatability(one: Picture, other: Picture, onto: NDArray[np.float64], *, flip: bool = False) -> float:
    """Return the share of features whose nearest descriptor in the other picture is where the homography maps the keypoint."""
    points, descriptors = extract_features(one, MAX_FEATURES_ONE_MAP)
    others, theirs = extract_features(other, MAX_FEATURES_ONE_MAP)
    descriptors = mirror_descriptors(descriptors) if flip else descriptors
    apart = ((descriptors[:, None].astype(np.int32) - theirs[None]) ** 2).sum(axis=2)
    expected = cv2.perspectiveTransform(points[:, None, :2], onto)[:, 0]
    away = np.linalg.norm(others[apart.argmin(axis=1), :2] - expected, axis=1)
    return float((away < 3).mean())


@pytest.mark.parametrize("seed", range(1, 13))
def test_features_are_found_again_in_another_size(seed: int) -> None:
    small = draw_pixels(seed)
    large = cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    points, descriptors = extract_features(small, MAX_FEATURES_ONE_MAP)
    others, theirs = extract_features(large, MAX_QUERY_FEATURES, 640)
    apart = ((descriptors[:, None].astype(np.int32) - theirs[None]) ** 2).sum(axis=2)
    away = np.linalg.norm(others[apart.argmin(axis=1), :2] - (points[:, :2] * 3 + 1), axis=1)
    assert (away < 4).sum() >= 20


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("seed", [1, 4, 6])
def test_mirrored_descriptors_are_those_of_the_mirrored_picture(seed: int, turns: int) -> None:
    picture = draw_pixels(seed)
    height, width = picture.shape[:2]
    flipped = np.ascontiguousarray(np.rot90(picture[:, ::-1], -turns))
    onto = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], np.float64)
    if turns:
        onto = np.array([[0, -1, height - 1], [1, 0, 0], [0, 0, 1]]) @ onto
    assert measure_repeatability(picture, flipped, onto, flip=True) > 0.6
    assert measure_repeatability(picture, flipped, onto) < 0.4


def test_mirroring_twice_changes_nothing() -> None:
    _, descriptors = extract_features(draw_pixels(3), 50)
    assert np.array_equal(mirror_descriptors(mirror_descriptors(descriptors)), descriptors)


def test_features_are_limited_and_the_same_each_time() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    points, descriptors = extract_features(noise, 300)
    assert points.shape == (300, 4)
    assert descriptors.shape == (300, 128)
    assert np.allclose(np.linalg.norm(descriptors.astype(float), axis=1), DESCRIPTOR_LENGTH, atol=6)
    again = extract_features(noise, 300)
    assert np.array_equal(points, again[0])
    assert np.array_equal(descriptors, again[1])


@pytest.mark.parametrize("shape", [(1, 1), (10, 10), (1, 3000), (3000, 1), (400, 300)])
def test_a_blank_picture_has_no_features(shape: tuple[int, int]) -> None:
    points, descriptors = extract_features(np.full((*shape, 3), 77, np.uint8), 100)
    assert points.shape == (0, 4)
    assert descriptors.shape == (0, 128)
