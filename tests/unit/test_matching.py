"""Verdicts and ranking in stages/matching.py, and which archived images show the same piece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Calibration, Evidence, Match, Quad
from contracts.ports import PrintComparison
from stages.matching import FULL_FRAME, is_another_piece, is_same_piece, is_whole_piece, judge_match, quad_iou, rank_matches

CALIBRATION = Calibration(match_at=0.8, possible_at=0.4)


def box(left: float, top: float, right: float, bottom: float) -> Quad:
    return (left, top, right, top, right, bottom, left, bottom)


def match(score: float, by: str | None = "points", *, place: Quad | None = None, image_id: str = "1", **more: object) -> Match:
    evidence = None if by is None else Evidence.model_validate({"by": by, "place": place, **more})
    return Match(image_id=image_id, score=score, evidence=evidence)


@pytest.mark.parametrize(
    ("score", "by", "verdict"),
    [
        (0.9, "points", "match"),
        (0.899999, "points", "possible"),
        (0.15, "hash", "possible"),
        (0.149999, "overlay", "none"),
        (0.99, "vector", "possible"),
        (0.1, "vector", "possible"),
        (0.8, None, "match"),
        (0.79, None, "possible"),
        (0.39, None, "none"),
    ],
)
def test_a_match_is_judged_by_its_probability_or_else_by_its_cosine(score: float, by: str | None, verdict: str) -> None:
    assert judge_match(match(score, by), CALIBRATION) == verdict


def test_words_never_prove_a_match() -> None:
    assert judge_match(match(0.99, None), CALIBRATION, "text") == "possible"


def test_matches_are_ranked_by_probability_and_similar_ones_come_last() -> None:
    matches = [
        match(0.95, "vector", image_id="alike"),
        match(0.6, image_id="possible"),
        match(0.95, image_id="sure", agreement=0.7),
        match(0.95, image_id="surer", agreement=0.9),
        match(0.85, None, image_id="cosine"),
        match(0.97, "hash", image_id="surest"),
    ]
    names = [each.image_id for each in rank_matches(matches, CALIBRATION, {})]
    assert names == ["surest", "surer", "sure", "cosine", "possible", "alike"]


def test_equally_probable_posts_are_ranked_by_cosine_and_then_by_age() -> None:
    """Their probabilities differ by less than a thousandth, and their agreement only by chance."""
    matches = [
        match(1.0, image_id="1002", agreement=0.93),
        match(0.9999, image_id="1001", agreement=0.92),
        match(0.9999, image_id="999", agreement=0.92),
        match(0.99991, image_id="1003", agreement=0.91),
        match(1.0, image_id="beside", agreement=0.94, place=(0.5, 0, 1, 0, 1, 1, 0.5, 1)),
    ]
    cosines = {"1003": 1.0, "1002": 0.98, "1001": 0.97, "999": 0.97}
    assert [each.image_id for each in rank_matches(matches, CALIBRATION, cosines)] == ["beside", "1003", "1002", "999", "1001"]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (FULL_FRAME, FULL_FRAME, 1.0),
        (box(0, 0, 1, 1), box(0.5, 0, 1.5, 1), 1 / 3),
        (box(0, 0, 0.4, 1), box(0.6, 0, 1, 1), 0.0),
        (box(0, 0, 1, 1), box(0.25, 0.25, 0.75, 0.75), 0.25),
        (box(0, 0, 1, 1), (0.5, 0, 1, 0.5, 0.5, 1, 0, 0.5), 0.5),
        (box(0, 0, 1, 1), (1, 0, 0, 0, 0, 1, 1, 1), 1.0),
        (box(0, 0, 1, 1), (1, 1, 0, 1, 0, 0, 1, 0), 1.0),
        (box(0, 0, 1, 1), (0, 0, 1, 1, 0, 0, 1, 1), 0.0),
        ((0, 0) * 4, (0, 0) * 4, 0.0),
    ],
    ids=["same", "half", "apart", "inside", "diamond", "mirrored", "turned", "flat", "points"],
)
def test_the_iou_does_not_depend_on_the_direction_of_rotation(one: Quad, other: Quad, shared: float) -> None:
    assert quad_iou(one, other) == pytest.approx(shared, abs=1e-9)


coordinates = st.floats(-2, 3, allow_nan=False)


@given(st.tuples(*[coordinates] * 4), st.tuples(*[coordinates] * 4))
def test_the_iou_is_a_fraction_and_symmetric(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    first, second = box(*one), box(*other)
    shared = quad_iou(first, second)
    assert -1e-6 <= shared <= 1 + 1e-6
    assert shared == pytest.approx(quad_iou(second, first), abs=1e-6)


def test_images_in_the_same_place_of_a_query_are_posts_of_one_piece() -> None:
    left, right = box(0, 0, 0.5, 1), box(0.5, 0, 1, 1)
    here, there = match(0.95, place=left), match(0.95, place=right)
    assert is_same_piece(here, match(0.92, "hash", place=box(0, 0, 0.55, 1)))
    assert not is_same_piece(here, there)
    assert not is_same_piece(here, match(0.7, place=left))
    assert not is_same_piece(here, match(0.95, "vector", place=left))
    assert not is_same_piece(here, match(0.95, None))
    assert is_same_piece(match(0.95), match(0.95, place=FULL_FRAME))


def test_a_verified_match_in_another_place_is_another_piece() -> None:
    left, right = box(0, 0, 0.5, 1), box(0.5, 0, 1, 1)
    here = match(0.95, place=left)
    assert is_another_piece(here, match(0.6, place=right))
    assert not is_another_piece(here, match(0.6, place=left))
    assert not is_another_piece(here, match(0.9, "vector"))
    assert not is_another_piece(here, match(0.9, None))
    assert is_another_piece(match(0.2, "vector"), here)


@pytest.mark.parametrize(
    ("probability", "evidence", "whole"),
    [
        (0.95, Evidence(by="hash"), True),
        (0.95, Evidence(by="points", place=box(0.02, -0.02, 1.01, 0.99), shown=0.97, turn=90, mirrored=True), True),
        (0.8, Evidence(by="hash"), False),
        (0.95, Evidence(by="vector"), False),
        (0.95, Evidence(by="points", place=box(-1, 0, 3, 3), shown=0.1), False),
        (0.95, Evidence(by="points", place=box(0.5, 0, 1, 0.5)), False),
    ],
    ids=["copy", "turned", "unsure", "alike", "a part of it", "part of a larger one"],
)
def test_two_pictures_show_one_piece_if_each_is_the_whole_of_the_other(probability: float, evidence: Evidence, whole: bool) -> None:
    assert is_whole_piece(PrintComparison(probability, evidence)) is whole
