"""Pictures of the same piece agree pixel by pixel; flat pictures and pictures of other pieces do not."""

import cv2
import numpy as np
import pytest

from infra.sandbox.art.generate import draw_piece
from infra.vision.overlay import compare_colours, compute_agreement, correlate_blocks, mask_inside, refine_frame, warp_through
from infra.vision.prints import THUMB_PX


def draw_pixels(seed):
    return np.asarray(draw_piece(seed))


def make_thumb(picture):
    return cv2.resize(picture, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)


def measure_agreement(picture, thumb, frame=None):
    frame = np.eye(3) if frame is None else frame
    return compute_agreement(*correlate_blocks(warp_through(picture, frame), thumb, mask_inside(frame)))


@pytest.mark.parametrize("seed", range(13))
def test_a_picture_agrees_with_itself(seed):
    picture = draw_pixels(seed)
    assert measure_agreement(picture, make_thumb(picture)) > 0.7


@pytest.mark.parametrize("seed", range(13))
def test_pieces_of_one_kind_do_not_agree(seed):
    assert measure_agreement(draw_pixels(seed), make_thumb(draw_pixels(seed + 13))) < 0.5


def test_another_light_and_a_colour_cast_change_little():
    picture = draw_pixels(4)
    dark = np.clip(picture * np.array([0.5, 0.6, 0.7]) + 20, 0, 255).astype(np.uint8)
    assert measure_agreement(dark, make_thumb(picture)) > 0.75


def test_flat_pictures_agree_with_nothing():
    flat = np.full((128, 128, 3), 120, np.uint8)
    faint = np.clip(flat + np.random.default_rng(0).normal(0, 2, flat.shape), 0, 255).astype(np.uint8)
    assert measure_agreement(flat, make_thumb(flat)) == 0
    assert measure_agreement(faint, make_thumb(faint)) < 0.2
    assert measure_agreement(flat, make_thumb(draw_pixels(4))) < 0.05
    assert measure_agreement(draw_pixels(4), make_thumb(flat)) == 0


def test_something_in_front_lowers_the_agreement_by_at_most_its_share():
    picture = draw_pixels(4).copy()
    thumb = make_thumb(picture)
    whole = measure_agreement(picture, thumb)
    picture[: picture.shape[0] // 4] = 255 - picture[: picture.shape[0] // 4]
    assert 0.6 * whole < measure_agreement(picture, thumb) < whole


def test_a_variant_agrees_less_than_the_piece_itself():
    picture = draw_pixels(4)
    variant = picture.copy()
    height, width = variant.shape[:2]
    variant[height // 3 : height // 2, width // 4 : width // 2] = (250, 40, 40)
    assert measure_agreement(picture, make_thumb(variant)) < measure_agreement(picture, make_thumb(picture)) - 0.02


def test_pixels_outside_the_query_do_not_count():
    picture = draw_pixels(4)
    left = picture[:, : picture.shape[1] // 2]
    frame = np.diag([2.0, 1, 1])
    assert mask_inside(frame)[:, : THUMB_PX // 2].all()
    assert not mask_inside(frame)[:, THUMB_PX // 2 :].any()
    assert measure_agreement(left, make_thumb(picture), frame) > 0.7
    assert not mask_inside(np.array([[1, 0, 5], [0, 1, 5], [0, 0, 1.0]])).any()


@pytest.mark.parametrize("seed", [0, 4, 7, 10])
def test_a_rough_frame_is_refined(seed):
    picture = draw_pixels(seed)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    about = corners + np.array([[0.05, 0.03], [-0.04, 0.05], [0.02, -0.05], [-0.03, 0.04]], np.float32)
    rough = cv2.getPerspectiveTransform(corners, about)
    better = refine_frame(picture, make_thumb(picture), rough)
    assert measure_agreement(picture, make_thumb(picture), better) > measure_agreement(picture, make_thumb(picture), rough) + 0.1


def test_a_frame_that_cannot_be_refined_stays_the_same():
    flat = np.full((128, 128, 3), 120, np.uint8)
    assert np.array_equal(refine_frame(flat, make_thumb(flat), np.eye(3)), np.eye(3))


def measure_colours(picture, thumb):
    return compare_colours(warp_through(picture, np.eye(3)), thumb, mask_inside(np.eye(3)))


@pytest.mark.parametrize("seed", range(13))
def test_colours_correlate_in_any_light_and_the_cast_is_measured(seed):
    picture = draw_pixels(seed)
    same = measure_colours(picture, make_thumb(picture))
    assert same.correlation > 0.99
    assert same.cast < 0.02
    warm = measure_colours((picture * np.array([0.6, 0.5, 0.35])).astype(np.uint8), make_thumb(picture))
    assert warm.correlation > 0.95
    assert 0.05 < warm.cast < 0.45


def test_the_same_drawing_in_other_colours_does_not_fit():
    green, blue = (
        (np.indices((128, 128)).sum(axis=0) // 32 % 2)[..., None] * np.array(ink) + 30 for ink in ((20, 200, 40), (40, 20, 200))
    )
    found = measure_colours(green.astype(np.uint8), make_thumb(blue.astype(np.uint8)))
    assert found.cast > 0.5 or found.correlation < 0.8


def test_colours_are_not_compared_where_nothing_is_seen():
    assert compare_colours(make_thumb(draw_pixels(4)), make_thumb(draw_pixels(4)), np.zeros((THUMB_PX, THUMB_PX), np.bool_)) == (
        0.0,
        0.0,
    )
    flat = np.full((THUMB_PX, THUMB_PX, 3), 90, np.uint8)
    assert compare_colours(flat, flat, np.ones((THUMB_PX, THUMB_PX), np.bool_)).correlation == 0
