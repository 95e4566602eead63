"""Colours by which a crop is found: what a part has in common with the whole, and no other picture."""

import numpy as np
import pytest

from infra.sandbox.art.generate import piece
from infra.vision.colours import BINS, FULL, explained, histogram, kept


def picture(seed: int) -> np.ndarray:
    return np.asarray(piece(seed).convert("RGB"), np.uint8)


def test_a_histogram_holds_the_whole_picture() -> None:
    shares = histogram(picture(1))
    assert (shares.shape, shares.dtype) == ((BINS,), np.float32)
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    assert kept(shares).max() <= FULL


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 255, 0), (127, 3, 250)])
def test_every_colour_of_a_screen_has_its_place(colour: tuple[int, int, int]) -> None:
    shares = histogram(np.full((4, 4, 3), colour, np.uint8))
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    assert explained(shares, kept(shares)[None])[0] > 0.95


def test_order_and_size_do_not_matter() -> None:
    shown = picture(2)
    again = np.repeat(shown[::-1, ::-1], 2, axis=0)
    assert np.abs(histogram(again) - histogram(shown)).max() < 1e-5


def test_a_part_is_explained_by_its_whole_before_any_other_picture() -> None:
    shown = [picture(seed) for seed in range(20)]
    archived = np.stack([kept(histogram(each)) for each in shown])
    for number, each in enumerate(shown):
        height, width = each.shape[:2]
        part = each[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3]
        alike = explained(histogram(part), archived)
        assert alike[number] > 0.8
        assert (alike > alike[number]).sum() <= 1


def test_another_colour_explains_nothing() -> None:
    red, blue = (histogram(np.full((4, 4, 3), colour, np.uint8)) for colour in ((200, 20, 20), (20, 20, 200)))
    assert explained(red, np.stack([kept(red), kept(blue)])).round(2).tolist() == [1.0, 0.0]


def test_nothing_is_archived() -> None:
    assert explained(histogram(picture(1)), np.zeros((0, BINS), np.uint8)).shape == (0,)
