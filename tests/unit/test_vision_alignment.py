"""Local features find where an archived picture lies in a query: turned, mirrored, seen at an angle, or not at all."""

import cv2
import numpy as np
import pytest

from infra.sandbox.art.generate import draw_piece
from infra.vision.alignment import (
    CORNERS,
    align_features,
    can_be_seen,
    mirror_points,
    normalise_features,
    select_consistent,
    transform_points,
    verify_frame,
)
from infra.vision.features import MAX_FEATURES_ONE_MAP, MAX_QUERY_FEATURES, extract_features, mirror_descriptors


def draw_pixels(seed):
    return np.asarray(draw_piece(seed))


def extract(picture, most=MAX_QUERY_FEATURES):
    return normalise_features(*extract_features(picture, most))


def draw_scene(picture, corners, size=(640, 400)):
    """Draw the picture within these corners (fractions), on a plain wall."""
    height, width = picture.shape[:2]
    target = (np.array(corners) * size).astype(np.float32)
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source - 0.5, target - 0.5)
    wall = np.full((size[1], size[0], 3), 90, np.uint8)
    return cv2.warpPerspective(picture, matrix, size, wall, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)


TILTED = [[0.2, 0.1], [0.8, 0.2], [0.75, 0.9], [0.22, 0.8]]


@pytest.mark.parametrize("seed", [4, 7, 17])
def test_it_finds_the_corners_of_a_picture_seen_at_an_angle(seed):
    picture = draw_pixels(seed)
    query = draw_scene(picture, TILTED)

    found = align_features(extract(query), (640, 400), extract(picture, MAX_FEATURES_ONE_MAP), picture.shape[1::-1])

    assert found is not None
    assert np.abs(transform_points(found.frame, CORNERS) - TILTED).max() < 0.02
    assert found.inliers >= 12
    assert found.inliers <= len(found.pairs)


def test_it_finds_a_mirrored_picture_through_the_mirrored_features_alone():
    picture = draw_pixels(7)
    query = draw_scene(np.ascontiguousarray(picture[:, ::-1]), TILTED)
    points, descriptors = extract_features(query, MAX_QUERY_FEATURES)
    theirs, sizes = extract(picture, MAX_FEATURES_ONE_MAP), ((640, 400), picture.shape[1::-1])

    plain = align_features(normalise_features(points, descriptors), sizes[0], theirs, sizes[1])
    found = align_features(
        mirror_points(normalise_features(points, mirror_descriptors(descriptors)), 640), sizes[0], theirs, sizes[1], mirrored=True
    )

    assert found is not None
    assert plain is None or plain.inliers < found.inliers / 2
    assert np.abs(transform_points(found.frame, CORNERS) - np.array(TILTED)[[1, 0, 3, 2]]).max() < 0.02
    assert np.abs(transform_points(found.frame, found.pairs[:, :2]) - found.pairs[:, 2:]).max() < 0.02


def test_it_finds_the_same_each_time():
    picture = draw_pixels(4)
    query = extract(draw_scene(picture, TILTED))
    first, second = (
        align_features(query, (640, 400), extract(picture, MAX_FEATURES_ONE_MAP), picture.shape[1::-1]) for _ in range(2)
    )

    assert first is not None
    assert second is not None
    assert np.array_equal(first.frame, second.frame)
    assert np.array_equal(first.pairs, second.pairs)


def test_another_picture_has_hardly_any_inliers():
    query = extract(draw_scene(draw_pixels(4), TILTED))
    for seed in (17, 30, 5, 8):
        other = draw_pixels(seed)
        found = align_features(query, (640, 400), extract(other, MAX_FEATURES_ONE_MAP), other.shape[1::-1])
        assert found is None or found.inliers < 8


def test_pictures_without_features_have_no_alignment():
    blank, picture = np.full((128, 128, 3), 200, np.uint8), draw_pixels(4)
    assert align_features(extract(blank), (128, 128), extract(picture), picture.shape[1::-1]) is None
    assert align_features(extract(picture), picture.shape[1::-1], extract(blank), (128, 128)) is None
    assert verify_frame(np.eye(3), extract(blank), (128, 128), extract(picture), picture.shape[1::-1]).inliers == 0


def test_copies_of_one_texture_have_few_inliers():
    rng = np.random.default_rng(1)
    tile = rng.integers(0, 256, (16, 16, 3), np.uint8)
    one, other = np.tile(tile, (8, 8, 1)), np.tile(tile, (12, 16, 1))
    other[40:120, 60:200] = draw_pixels(7)[:80, :128].mean(axis=(0, 1)).astype(np.uint8)
    found = align_features(extract(other), (256, 192), extract(one, MAX_FEATURES_ONE_MAP), (128, 128))
    assert found is None or found.inliers < 12


def test_a_frame_from_another_source_gets_the_pairs_that_agree_with_it():
    picture = draw_pixels(4)
    query = draw_scene(picture, TILTED)
    theirs = extract(picture, MAX_FEATURES_ONE_MAP)
    size = picture.shape[1::-1]
    true = cv2.getPerspectiveTransform(CORNERS.astype(np.float32), np.array(TILTED, np.float32))
    wrong = cv2.getPerspectiveTransform(CORNERS.astype(np.float32), np.array(TILTED[1:] + TILTED[:1], np.float32))

    assert verify_frame(true, extract(query), (640, 400), theirs, size).inliers >= 20
    assert verify_frame(wrong, extract(query), (640, 400), theirs, size).inliers < 8


def test_pairs_with_another_turn_or_scale_are_dropped():
    archived = np.tile(np.array([[0, 0, 4, 10]], np.float32), (8, 1))
    query = archived * [1, 1, 2, 1] + [0, 0, 0, 90]
    query[6, 3], query[7, 2] = 280, 100
    assert select_consistent(query.astype(np.float32), archived).tolist() == [True] * 6 + [False] * 2
    assert select_consistent(query[:0], archived[:0]).tolist() == []


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        (np.eye(3), True),
        (np.diag([-0.5, 0.5, 1.0]), True),
        (np.array([[0.5, 0, 0.1], [0, 0.5, 0.1], [0.4, 0.2, 1.0]]), True),
        (np.array([[1, 0, 0], [0, 1, 0], [-1.5, 0, 1.0]]), False),
        (np.diag([0.0, 1.0, 1.0]), False),
    ],
)
def test_a_picture_beyond_the_horizon_or_on_a_line_cannot_be_seen(frame, seen):
    assert can_be_seen(frame) == seen
