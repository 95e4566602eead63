"""The quality report: every target beside its figure, what falls short in words, and no photograph on a sheet."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.errors import MapSeekError
from infra.sandbox.art.generate import draw_piece
from infra.vision.distortions import encode_png
from tests.quality import costs, sheets
from tests.quality.__main__ import _categories, _photos
from tests.quality.making import Plan, Query, digests
from tests.quality.report import Results, document
from tests.quality.running import Answer, Seen
from tests.quality.scoring import Outcome

PLAN = Plan(60, 4, 1, ("photo.jpg",), ("a", "b"))


def question(name: str, category: str, expected: int | None, family: str = "drawn", file: str = "") -> Query:
    return Query(name, category, 1, family, expected, file, None)


QUERIES = [
    question("a-0", "a", 1),
    question("a-1", "a", None),
    question("b-0", "b", 2),
    question("b-1", "b", 3, "photo"),
    question("b-2", "b", None),
]
OUTCOMES = [
    Outcome(1, [(frozenset([1]), 0.99)], "match"),
    Outcome(None, []),
    Outcome(2, [(frozenset([2]), 0.9)], "match"),
    Outcome(3, [(frozenset([7]), 0.8)], "possible"),
    Outcome(None, [(frozenset([4]), 0.95)], "match"),
]


def test_the_report_says_what_is_met_and_what_is_missed() -> None:
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
    text = document(results)
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
        question("b-0", "b", 2, file=str(files[1])),
        question("b-1", "b", 3, "photo", str(files[3])),
    ]
    outcomes = [Outcome(2, [(frozenset([7]), 0.9)], "match"), Outcome(3, [], "none")]
    answers = [Answer("match", [0.9], [frozenset([7])]), Answer("none", [], [])]
    sheet = sheets.misses(queries, outcomes, answers, files, lambda number: number not in (3, 7))
    assert sheet is not None
    pixels = np.asarray(sheet, int)
    assert (pixels[..., 2] > 200).any()
    assert not ((pixels[..., 0] > 200) & (pixels[..., 1] < 60)).any()
    assert sheets.misses(queries[1:], outcomes[1:], answers[1:], files, lambda _: True) is None


def test_times_are_those_of_the_stages_that_there_are() -> None:
    seen = Seen(
        parts={"a": {"downloaded": 1, "preprocessed": 2, "embedded": 3, "matched": 4, "answered": 100}, "b": {"rejected": 5}}
    )
    told = costs.milliseconds(seen)
    assert told["through match"] == (10, 10)
    assert list(told) == ["download", "preprocess", "embed", "match", "through match"]


def test_bytes_an_image_are_those_of_the_blobs_and_of_what_else_is_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "blobs" / "ab").mkdir(parents=True)
    (tmp_path / "vectors").mkdir()
    (tmp_path / "blobs" / "ab" / "abcd").write_bytes(encode_png(draw_piece(1))[:600])
    (tmp_path / "vectors" / "x").write_bytes(b"x" * 20)
    assert costs.bytes_an_image(tmp_path, Seen(blobs={"pixels": {"abcd": None}}), 2) == {"blob: pixels": 300, "vectors": 10}


def test_another_seed_or_number_is_another_folder() -> None:
    gallery, questions = digests(PLAN)
    assert digests(Plan(60, 5, 1, PLAN.photos, PLAN.categories)) == (gallery, digests(Plan(60, 5, 1, PLAN.photos, ("a",)))[1])
    assert digests(Plan(60, 5, 1, PLAN.photos, PLAN.categories))[1] != questions
    assert digests(Plan(60, 4, 2, PLAN.photos, PLAN.categories))[0] != gallery


def test_a_wrong_category_is_named(tmp_path: Path) -> None:
    with pytest.raises(MapSeekError, match="no category 'x'"):
        _categories("a,x")
    assert _categories("a, b") == ("a", "b")
    assert _photos(tmp_path / "none") == ()
