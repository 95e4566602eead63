"""The quality report: every figure with its target, the missed targets in words, and no photograph on a sheet."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.errors import MapSeekError
from infra.sandbox.art.generate import draw_piece
from infra.vision.distortions import encode_png
from tests.quality import costs, sheets
from tests.quality.__main__ import _list_photos, _parse_categories
from tests.quality.making import Plan, Query, compute_digests
from tests.quality.report import Results, render_report
from tests.quality.running import Answer, RunLog
from tests.quality.scoring import Outcome

PLAN = Plan(60, 4, 1, ("photo.jpg",), ("a", "b"))


def make_query(name: str, category: str, expected: int | None, family: str = "drawn", file: str = "") -> Query:
    return Query(name, category, 1, family, expected, file, None)


QUERIES = [
    make_query("a-0", "a", 1),
    make_query("a-1", "a", None),
    make_query("b-0", "b", 2),
    make_query("b-1", "b", 3, "photo"),
    make_query("b-2", "b", None),
]
OUTCOMES = [
    Outcome(1, [(frozenset([1]), 0.99)], "match"),
    Outcome(None, []),
    Outcome(2, [(frozenset([2]), 0.9)], "match"),
    Outcome(3, [(frozenset([7]), 0.8)], "possible"),
    Outcome(None, [(frozenset([4]), 0.95)], "match"),
]


def test_the_report_lists_the_targets_that_are_met_and_missed() -> None:
    results = Results(
        plan=PLAN,
        command="python -m tests.quality",
        machine="a machine",
        encoder="open_clip/x",
        queries=QUERIES,
        ways={"MapSeek": OUTCOMES, "PDQ alone": [Outcome(query.expected, []) for query in QUERIES]},
        stages={"match": (10, 20), "through match": (90, 900)},
        bytes_an_image={"blob: pixels": 1234},
        seconds={"archive": 1, "ask": 2, "cores": 1},
        sheets={"The questions": "questions.webp"},
        places={"b": (1, 2, 4)},
    )
    text = render_report(results)
    assert "100.0 (≥ 99.9, met)" in text
    assert "50.0 (≥ 98, **missed**)" in text
    assert "- b: recall@1 50.0 of 98" in text
    assert "1 of 2 (50.00 %)" in text
    assert "| question to match, p95 | 900 ms | ≤ 700 ms | **missed** |" in text
    assert "| b | 4 | 25.0 | 50.0 |" in text
    assert "1 more misses are of photographs" in text
    assert "1 photographs besides procedural art" in text


def test_sheets_show_misses_but_never_a_photograph(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for number, file in enumerate(files):
        Image.new("RGB", (40, 40), (250, 0, 0) if number in (3, 7) else (0, 0, 250)).save(file)
    queries = [
        make_query("b-0", "b", 2, file=str(files[1])),
        make_query("b-1", "b", 3, "photo", str(files[3])),
    ]
    outcomes = [Outcome(2, [(frozenset([7]), 0.9)], "match"), Outcome(3, [], "none")]
    answers = [Answer("match", [0.9], [frozenset([7])]), Answer("none", [], [])]
    sheet = sheets.draw_misses(queries, outcomes, answers, files, lambda number: number not in (3, 7))
    assert sheet is not None
    pixels = np.asarray(sheet, int)
    assert (pixels[..., 2] > 200).any()
    assert not ((pixels[..., 0] > 200) & (pixels[..., 1] < 60)).any()
    assert sheets.draw_misses(queries[1:], outcomes[1:], answers[1:], files, lambda _: True) is None


def test_only_stages_with_facts_have_times() -> None:
    seen = RunLog(
        durations={"a": {"downloaded": 1, "preprocessed": 2, "embedded": 3, "matched": 4, "answered": 100}, "b": {"rejected": 5}}
    )
    milliseconds = costs.measure_stages(seen)
    assert milliseconds["through match"] == (10, 10)
    assert list(milliseconds) == ["download", "preprocess", "embed", "match", "through match"]


def test_bytes_an_image_include_the_blobs_and_everything_else_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "blobs" / "ab").mkdir(parents=True)
    (tmp_path / "vectors").mkdir()
    (tmp_path / "blobs" / "ab" / "abcd").write_bytes(encode_png(draw_piece(1))[:600])
    (tmp_path / "vectors" / "x").write_bytes(b"x" * 20)
    assert costs.measure_bytes(tmp_path, RunLog(blobs={"pixels": {"abcd": None}}), 2) == {"blob: pixels": 300, "vectors": 10}


def test_another_seed_or_number_gives_another_folder() -> None:
    gallery, queries = compute_digests(PLAN)
    assert compute_digests(Plan(60, 5, 1, PLAN.photos, PLAN.categories)) == (
        gallery,
        compute_digests(Plan(60, 5, 1, PLAN.photos, ("a",)))[1],
    )
    assert compute_digests(Plan(60, 5, 1, PLAN.photos, PLAN.categories))[1] != queries
    assert compute_digests(Plan(60, 4, 2, PLAN.photos, PLAN.categories))[0] != gallery


def test_an_unknown_category_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapSeekError, match="no category 'x'"):
        _parse_categories("a,x")
    assert _parse_categories("a, b") == ("a", "b")
    assert _list_photos(tmp_path / "none") == ()
