"""Colour histograms find the whole picture for a crop of it."""

import numpy as np
import pytest

from infra.sandbox.art.generate import draw_piece
from infra.vision.colours import COLOUR_BINS, FULL_SHARE, compute_explained_share, compute_histogram, quantise_shares


def draw_pixels(seed: int) -> np.ndarray:
    return np.asarray(draw_piece(seed).convert("RGB"), np.uint8)


def test_a_histogram_holds_the_whole_picture() -> None:
    shares = compute_histogram(draw_pixels(1))
    assert (shares.shape, shares.dtype) == ((COLOUR_BINS,), np.float32)
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    assert quantise_shares(shares).max() <= FULL_SHARE


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 255, 0), (127, 3, 250)])
def test_every_rgb_colour_has_its_bins(colour: tuple[int, int, int]) -> None:
    shares = compute_histogram(np.full((4, 4, 3), colour, np.uint8))
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    assert compute_explained_share(shares, quantise_shares(shares)[None])[0] > 0.95


def test_a_histogram_does_not_depend_on_order_and_size() -> None:
    picture = draw_pixels(2)
    again = np.repeat(picture[::-1, ::-1], 2, axis=0)
    assert np.abs(compute_histogram(again) - compute_histogram(picture)).max() < 1e-5


def test_a_part_is_explained_by_its_whole_before_any_other_picture() -> None:
    picture = [draw_pixels(seed) for seed in range(20)]
    archived = np.stack([quantise_shares(compute_histogram(each)) for each in picture])
    for number, each in enumerate(picture):
        height, width = each.shape[:2]
        part = each[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3]
        alike = compute_explained_share(compute_histogram(part), archived)
        assert alike[number] > 0.8
        assert (alike > alike[number]).sum() <= 1


def test_another_colour_explains_nothing() -> None:
    red, blue = (compute_histogram(np.full((4, 4, 3), colour, np.uint8)) for colour in ((200, 20, 20), (20, 20, 200)))
    assert compute_explained_share(red, np.stack([quantise_shares(red), quantise_shares(blue)])).round(2).tolist() == [1.0, 0.0]


def test_an_empty_archive_gives_no_shares() -> None:
    assert compute_explained_share(compute_histogram(draw_pixels(1)), np.zeros((0, COLOUR_BINS), np.uint8)).shape == (0,)
