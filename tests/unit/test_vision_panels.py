"""Turn, place, angle and panel are derived from a frame."""

from itertools import product

import cv2
import numpy as np
import pytest

from contracts.events import Panel
from infra.sandbox.art.generate import draw_piece
from infra.vision.overlay import correlate_blocks, mask_inside, warp_through
from infra.vision.panels import (
    compute_turn,
    find_panel,
    frame_from_place,
    guess_map_grid,
    is_angled,
    mask_panel_blocks,
    mask_panel_pixels,
    place_from_frame,
)
from infra.vision.prints import THUMB_PX
from infra.vision.proposals import SQUARE_SYMMETRIES

PLACE = (0.2, 0.1, 0.8, 0.2, 0.75, 0.9, 0.22, 0.8)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_picture_is_mirrored_first_and_then_turned_clockwise(quarters, mirrored):
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:10, :20] = 255
    query = np.rot90(picture[:, ::-1] if mirrored else picture, -quarters)
    frame = SQUARE_SYMMETRIES[4 * mirrored + quarters]

    assert np.abs(warp_through(np.ascontiguousarray(query), frame, 40, fine=1).astype(int) - picture).max() <= 1
    assert compute_turn(frame, (40, 40), (40, 40)) == (90 * quarters, mirrored)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_frame_follows_from_its_place_and_mirroring(mirrored):
    assert place_from_frame(frame_from_place(PLACE, mirrored=mirrored), mirrored=mirrored) == pytest.approx(PLACE, abs=1e-4)


def test_no_picture_can_lie_on_a_line():
    with pytest.raises(ValueError, match="can lie"):
        frame_from_place((0, 0, 0, 0, 0, 0, 0, 0))


def test_only_a_picture_that_is_not_a_rectangle_is_seen_at_an_angle():
    tilted, upright = frame_from_place(PLACE), frame_from_place((0.1, 0.1, 0.6, 0.1, 0.6, 0.9, 0.1, 0.9))
    assert is_angled(tilted, mask_inside(tilted), (640, 400))
    assert not is_angled(upright, mask_inside(upright), (640, 400))


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((128, 128), (1, 1)),
        ((256, 128), (2, 1)),
        ((512, 384), (4, 3)),
        ((1500, 1000), (3, 2)),
        ((1000, 1000), (1, 1)),
        ((1024, 1024), (1, 1)),
        ((1920, 1080), (1, 1)),
        ((641, 480), (1, 1)),
        ((10, 10), (1, 1)),
        ((64, 128), (1, 1)),
    ],
)
def test_the_map_grid_is_guessed_from_the_size(size, grid):
    assert guess_map_grid(size) == grid


def draw_large():
    """Draw a piece of 3 by 2 maps."""
    return next(np.asarray(made) for made in (draw_piece(seed) for seed in range(2, 400, 13)) if made.size == (384, 256))


def find(query, frame, picture):
    thumb = cv2.resize(picture, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    within = mask_inside(frame)
    return find_panel(picture.shape[1::-1], within, *correlate_blocks(warp_through(query, frame), thumb, within))


@pytest.mark.parametrize(("row", "column"), list(product(range(2), range(3))))
def test_one_cropped_map_is_a_panel(row, column):
    picture = draw_large()
    cut = picture[128 * row : 128 * row + 128, 128 * column : 128 * column + 128]
    frame = np.array([[3, 0, -column], [0, 2, -row], [0, 0, 1.0]])
    assert find(cut, frame, picture) == Panel(row=row + 1, column=column + 1, rows=2, columns=3)


def test_one_map_on_a_wall_without_the_others_is_a_panel():
    picture = draw_large()
    wall = np.random.default_rng(2).integers(60, 90, (400, 600, 3), np.uint8)
    wall[136:264, 236:364] = picture[:128, 128:256]
    frame = frame_from_place((108 / 600, 136 / 400, 492 / 600, 136 / 400, 492 / 600, 392 / 400, 108 / 600, 392 / 400))
    assert find(wall, frame, picture) == Panel(row=1, column=2, rows=2, columns=3)


def test_several_maps_are_one_panel():
    picture = draw_large()
    frame = np.array([[1.5, 0, -0.5], [0, 1, 0], [0, 0, 1.0]])
    assert find(picture[:, 128:], frame, picture) == Panel(row=1, column=2, rows=2, columns=3, height=2, width=2)


def test_the_whole_piece_and_a_part_of_a_map_are_not_panels():
    picture = draw_large()
    assert find(picture, np.eye(3), picture) is None
    frame = np.array([[384 / 200, 0, -60 / 200], [0, 256 / 150, -50 / 150], [0, 0, 1.0]])
    assert find(picture[50:200, 60:260], frame, picture) is None
    assert find_panel((128, 128), np.ones((64, 64), np.bool_), np.ones((14, 14), np.float32), np.ones((14, 14), np.float32)) is None


def test_blocks_outside_the_panel_have_no_weight():
    kept = mask_panel_blocks(Panel(row=2, column=1, rows=2, columns=2), np.ones((14, 14), np.float32))
    assert kept[7:, :7].all()
    assert kept.sum() == 49


def test_pixels_outside_the_panel_are_masked():
    kept = mask_panel_pixels(Panel(row=1, column=2, rows=2, columns=2, height=2), np.ones((64, 64), np.bool_))
    assert kept[:, 32:].all()
    assert not kept[:, :32].any()
    assert not mask_panel_pixels(Panel(row=1, column=2, rows=2, columns=2), np.zeros((64, 64), np.bool_)).any()
