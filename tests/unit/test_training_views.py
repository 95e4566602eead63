"""The training data of the tower: pools that are always the same, and pairs of views."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.sandbox.art.generate import draw_piece
from infra.sandbox.training.pool import FIRST_SEED, POOL_PIECE_PX, Pool, draw_held_out_pool, draw_training_pool
from infra.sandbox.training.views import INPUT_PX, draw_pair


@pytest.fixture(scope="module")
def pool() -> Pool:
    return draw_training_pool(13, None)


def test_a_pool_is_always_the_same_and_shares_no_piece_with_the_held_out_pool(pool: Pool) -> None:
    again, other = draw_training_pool(13, None), draw_held_out_pool(13, None)
    assert (pool.originals == again.originals).all()
    assert (pool.archived == again.archived).all()
    assert not any((mine == theirs).all() for mine in pool.archived for theirs in other.archived)
    assert pool.archived.shape == (13, POOL_PIECE_PX, POOL_PIECE_PX, 3)


def test_archived_pieces_have_only_map_colours(pool: Pool) -> None:
    single = next(at for at in range(13) if draw_piece(FIRST_SEED + at).size == (128, 128))
    drawn = np.asarray(draw_piece(FIRST_SEED + single)).reshape(-1, 3)
    kept = pool.archived[single].reshape(-1, 3)
    assert {tuple(colour) for colour in kept.tolist()} <= {tuple(colour) for colour in drawn.tolist()}


def test_every_fifth_photograph_is_held_out(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (40, 30), (25 * number, 0, 0)).save(tmp_path / f"{number}.jpg")
    assert len(draw_training_pool(3, tmp_path)) == 3 + 2 * 8
    held_out = draw_held_out_pool(3, tmp_path)
    assert len(held_out) == 3 + 2
    assert [round(float(each[..., 0].mean()), -1) for each in held_out.originals[3:]] == [0, 120]


def test_a_pair_depends_only_on_its_generator(pool: Pool) -> None:
    first, again, other = (draw_pair(pool, 4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert not (first[1] == other[1]).all()
    for seed in range(100):
        archived, query = draw_pair(pool, seed % 13, np.random.default_rng(seed))
        assert archived.shape == query.shape == (INPUT_PX, INPUT_PX, 3)
        assert archived.dtype == query.dtype == np.uint8
