"""What the quality benchmark is made of: the same for a seed, no stranger in the gallery, every category."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.errors import MapSeekError
from infra.sandbox.art.generate import MAP_PX, draw_piece
from infra.vision.distortions import encode_jpeg, encode_png
from tests.quality import baselines
from tests.quality.categories import ALL, BY_NAME, Lot, file_of
from tests.quality.making import UNMATCHED, Plan, Query, make_gallery, make_queries, planned, posted
from tests.quality.pieces import STRANGERS, Pieces

PLAN = Plan(60, 120, 7, (), tuple(BY_NAME))


def test_every_category_asks_for_archived_pieces_and_for_strangers() -> None:
    questions = planned(PLAN)
    for category in ALL:
        of_category = [archived for name, *_, archived in questions if name == category.name]
        assert of_category.count(True) >= 1
        assert of_category.count(False) >= 1
    assert abs([archived for *_, archived in questions].count(False) / len(questions) - UNMATCHED) < 0.1
    assert all((number < STRANGERS) == archived for _, _, _, number, archived in questions)
    assert questions == planned(PLAN)


def test_a_gallery_that_is_too_small_says_so() -> None:
    with pytest.raises(MapSeekError, match="too few"):
        planned(Plan(2, 100, 7, (), ("plain-b",)))


def test_a_piece_is_maps_in_a_grid_and_finer_as_the_original() -> None:
    pieces = Pieces(7)
    for number in (0, 3, 5, STRANGERS):
        art = pieces.art(number)
        assert art.size == pieces.size(number)
        assert (art.maps.width % MAP_PX, art.maps.height % MAP_PX) == (0, 0)
        assert art.original.width == 2 * art.maps.width
        assert len(art.maps.getcolors(1 << 20)) <= 183


def test_photographs_are_archived_or_held_out_never_both(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(12)]
    for number, file in enumerate(files):
        file.write_bytes(encode_jpeg(draw_piece(number), 90))
    archived, held_out = Pieces(7, files)._shared_out
    assert len(held_out) == 3
    assert sorted(archived + held_out) == sorted(files)
    pieces = Pieces(7, files)
    assert pieces.family(1) == "photo"
    assert pieces.family(1 + 4 * 50) == "drawn"
    assert pieces.family(STRANGERS + 1) == "photo"


@pytest.mark.parametrize("category", ALL, ids=[category.name for category in ALL])
def test_a_question_of_every_category_is_a_picture(category) -> None:
    pieces = Pieces(7)
    number = next(each for each in range(3, 99, 8) if np.prod(pieces.size(each)) >= category.panels)
    art = pieces.art(number)
    lot = Lot(art, Image.open(BytesIO(posted(art, 7))).convert("RGB"), [], np.random.default_rng(1), category.severities[-1])
    scene = category.make(lot)
    assert Image.open(BytesIO(file_of(scene))).size == scene.image.size
    assert min(scene.image.size) >= 32


def test_what_is_made_is_kept(tmp_path: Path) -> None:
    plan = Plan(24, 10, 7, (), ("a",))
    calls: list[tuple[str, int, int]] = []
    gallery = make_gallery(plan, tmp_path / "gallery", lambda *told: calls.append(told))
    assert calls[-1] == ("drawing the gallery", 24, 24)
    queries = make_queries(plan, tmp_path / "questions", lambda *_: None)
    times = [path.stat().st_mtime_ns for path in gallery]
    assert make_gallery(plan, tmp_path / "gallery", lambda *_: None) == gallery
    assert [path.stat().st_mtime_ns for path in gallery] == times
    again = make_queries(plan, tmp_path / "questions", lambda *_: None)
    assert [query.name for query in again] == [query.name for query in queries]


def test_the_others_find_a_copy_and_not_a_stranger(tmp_path: Path) -> None:
    gallery = []
    for number in range(6):
        gallery.append(tmp_path / f"{number}.png")
        gallery[-1].write_bytes(encode_png(draw_piece(number)))
    asked = tmp_path / "asked.jpg"
    asked.write_bytes(encode_jpeg(draw_piece(4), 80))
    queries = [Query("asked", "a", 1, "drawn", 4, str(asked), None)]
    for describe in (baselines.pdq, baselines.seed_bot):
        vector = describe(asked.read_bytes())
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
        [outcome] = baselines.by_descriptor(describe, gallery, queries)
        assert outcome.right
        assert outcome.told[0][1] > 0.6 + 0.2 * (describe is baselines.pdq)
    assert len(baselines.seed_bot(asked.read_bytes())) == 512


def test_the_seed_bot_sees_another_file_in_the_same_picture() -> None:
    one, other = (baselines.seed_bot(file) for file in (encode_png(draw_piece(4)), encode_jpeg(draw_piece(4), 95)))
    assert float(one @ baselines.seed_bot(encode_png(draw_piece(4)))) == pytest.approx(1, abs=1e-4)
    assert float(one @ other) < 0.9
