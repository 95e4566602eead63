"""PDQ hashes: near for the same picture, far for others, and almost exact for turned ones."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from infra.sandbox.art.generate import draw_piece
from infra.vision import distortions
from infra.vision.hash import compute_pdq, compute_pdq_turns, hamming_distance


def to_array(picture: Image.Image) -> NDArray[np.uint8]:
    return np.array(picture.convert("RGB"))


def turn_all_ways(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(np.rot90(side, -quarter)) for side in (picture, picture[:, ::-1]) for quarter in range(4)]


@pytest.mark.parametrize("seed", range(13))
def test_turns_are_the_hashes_of_the_turned_pictures(seed: int) -> None:
    picture = to_array(draw_piece(seed))
    found, true = compute_pdq_turns(picture), [compute_pdq(each)[0] for each in turn_all_ways(picture)]
    assert found[0].tobytes() == true[0]
    assert all(hamming_distance(one.tobytes(), other) <= 6 for one, other in zip(found, true, strict=True))


def test_the_same_picture_is_near_and_others_are_far() -> None:
    pieces = [draw_piece(seed) for seed in range(1, 13)]
    hashes = [compute_pdq(to_array(each))[0] for each in pieces]
    edits = (
        lambda art: distortions.reencode(art, 50),
        lambda art: distortions.resize(art, 0.5),
        lambda art: distortions.resize(art, 2.7),
    )
    for art, known in zip(pieces, hashes, strict=True):
        assert all(hamming_distance(compute_pdq(to_array(edit(art)))[0], known) <= 31 for edit in edits)
        assert sum(hamming_distance(other, known) < 60 for other in hashes) == 1


def test_half_of_the_bits_are_set_as_published() -> None:
    known, quality = compute_pdq(to_array(draw_piece(4)))
    assert len(known) == 32
    assert int.from_bytes(known).bit_count() == 128
    assert quality == 100


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (5, 900), (600, 800)])
def test_a_blank_picture_has_no_quality(shape: tuple[int, int]) -> None:
    assert compute_pdq(np.full((*shape, 3), 93, np.uint8)) == (bytes(32), 0)


def test_hamming_distance_counts_bits() -> None:
    assert hamming_distance(bytes(32), bytes(31) + b"\x07") == 3
