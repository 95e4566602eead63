"""The files of the quality benchmark: the same for a seed, no unarchived piece in the gallery, every category."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.errors import MapSeekError
from infra.sandbox.art.generate import MAP_PX, draw_piece
from infra.vision.distortions import encode_jpeg, encode_png
from tests.quality import baselines
from tests.quality.categories import ALL, BY_NAME, QueryInput, encode_file
from tests.quality.making import NO_MATCH_SHARE, Plan, Query, make_gallery, make_posted_file, make_queries, plan_queries
from tests.quality.pieces import FIRST_STRANGER, Pieces

PLAN = Plan(60, 120, 7, (), tuple(BY_NAME))


def test_every_category_has_archived_pieces_and_no_matches() -> None:
    queries = plan_queries(PLAN)
    for category in ALL:
        of_category = [archived for name, *_, archived in queries if name == category.name]
        assert of_category.count(True) >= 1
        assert of_category.count(False) >= 1
    assert abs([archived for *_, archived in queries].count(False) / len(queries) - NO_MATCH_SHARE) < 0.1
    assert all((number < FIRST_STRANGER) == archived for _, _, _, number, archived in queries)
    assert queries == plan_queries(PLAN)


def test_a_gallery_that_is_too_small_is_refused() -> None:
    with pytest.raises(MapSeekError, match="too few"):
        plan_queries(Plan(2, 100, 7, (), ("plain-b",)))


def test_a_piece_is_a_grid_of_maps_and_its_original_is_finer() -> None:
    pieces = Pieces(7)
    for number in (0, 3, 5, FIRST_STRANGER):
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
    assert pieces.family(FIRST_STRANGER + 1) == "photo"


@pytest.mark.parametrize("category", ALL, ids=[category.name for category in ALL])
def test_a_query_of_every_category_is_a_picture(category) -> None:
    pieces = Pieces(7)
    number = next(each for each in range(3, 99, 8) if np.prod(pieces.size(each)) >= category.panels)
    art = pieces.art(number)
    lot = QueryInput(
        art, Image.open(BytesIO(make_posted_file(art, 7))).convert("RGB"), [], np.random.default_rng(1), category.severities[-1]
    )
    scene = category.make(lot)
    assert Image.open(BytesIO(encode_file(scene))).size == scene.image.size
    assert min(scene.image.size) >= 32


def test_files_that_are_made_are_reused(tmp_path: Path) -> None:
    plan = Plan(24, 10, 7, (), ("a",))
    calls: list[tuple[str, int, int]] = []
    gallery = make_gallery(plan, tmp_path / "gallery", lambda *steps: calls.append(steps))
    assert calls[-1] == ("drawing the gallery", 24, 24)
    queries = make_queries(plan, tmp_path / "questions", lambda *_: None)
    times = [path.stat().st_mtime_ns for path in gallery]
    assert make_gallery(plan, tmp_path / "gallery", lambda *_: None) == gallery
    assert [path.stat().st_mtime_ns for path in gallery] == times
    again = make_queries(plan, tmp_path / "questions", lambda *_: None)
    assert [query.name for query in again] == [query.name for query in queries]


def test_the_other_ways_find_a_copy(tmp_path: Path) -> None:
    gallery = []
    for number in range(6):
        gallery.append(tmp_path / f"{number}.png")
        gallery[-1].write_bytes(encode_png(draw_piece(number)))
    query_file = tmp_path / "asked.jpg"
    query_file.write_bytes(encode_jpeg(draw_piece(4), 80))
    queries = [Query("asked", "a", 1, "drawn", 4, str(query_file), None)]
    for describe in (baselines.describe_by_pdq, baselines.describe_simply):
        vector = describe(query_file.read_bytes())
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
        [outcome] = baselines.rank_by_descriptor(describe, gallery, queries)
        assert outcome.is_right
        assert outcome.found[0][1] > 0.6 + 0.2 * (describe is baselines.describe_by_pdq)
    assert len(baselines.describe_simply(query_file.read_bytes())) == 512


def test_the_simple_descriptor_depends_on_the_file() -> None:
    one, other = (baselines.describe_simply(file) for file in (encode_png(draw_piece(4)), encode_jpeg(draw_piece(4), 95)))
    assert float(one @ baselines.describe_simply(encode_png(draw_piece(4)))) == pytest.approx(1, abs=1e-4)
    assert float(one @ other) < 0.9
