"""The figures of the quality benchmark, for outcomes made by hand."""

import numpy as np
import pytest

from tests.quality import targets
from tests.quality.localising import compute_iou
from tests.quality.scoring import Outcome, compute_figures, micro_average_precision, recall_at_precision


def found_pieces(*pieces: tuple[int, float]) -> list[tuple[frozenset[int], float]]:
    return [(frozenset([piece]), score) for piece, score in pieces]


def test_recall_counts_the_first_and_the_first_three_pieces() -> None:
    outcomes = [
        Outcome(1, found_pieces((1, 0.9)), "match"),
        Outcome(2, found_pieces((8, 0.7), (9, 0.6), (2, 0.5)), "possible"),
        Outcome(3, found_pieces((7, 0.95)), "match"),
        Outcome(4, []),
        Outcome(None, found_pieces((5, 0.8)), "match"),
        Outcome(None, []),
    ]
    found = compute_figures(outcomes)
    assert (found.positives, found.unmatched) == (4, 2)
    assert (found.recall_1, found.recall_3, found.called_match) == (0.25, 0.5, 0.25)
    assert (found.wrong_matches, found.false_matches) == (1, 1)


def test_a_piece_is_found_by_any_of_its_posts() -> None:
    assert Outcome(4, [(frozenset({3, 4}), 0.9)]).is_right


def test_recall_at_a_precision_stops_before_too_many_no_matches() -> None:
    right = [Outcome(number, found_pieces((number, 1 - number / 1000))) for number in range(200)]
    one_wrong = Outcome(None, found_pieces((5, 0.95)))
    assert recall_at_precision([*right, one_wrong]) == 1
    worst_first = Outcome(None, found_pieces((5, 2.0)))
    assert recall_at_precision([*right[:50], worst_first]) == 0
    assert recall_at_precision([*right, worst_first, worst_first]) == pytest.approx(0.99 * 200 / 200, abs=0.011)


def test_equal_scores_are_counted_together() -> None:
    same = [Outcome(1, found_pieces((1, 0.5))), Outcome(None, found_pieces((2, 0.5)))]
    assert recall_at_precision(same) == 0
    assert recall_at_precision(same, precision=0.5) == 1


def test_micro_average_precision_is_the_area_over_all_pieces_found() -> None:
    assert micro_average_precision([Outcome(1, found_pieces((1, 0.9))), Outcome(2, found_pieces((2, 0.8)))]) == 1
    assert micro_average_precision([Outcome(None, found_pieces((3, 0.9))), Outcome(2, found_pieces((2, 0.8)))]) == 0.5
    assert micro_average_precision([Outcome(1, []), Outcome(2, found_pieces((2, 0.8)))]) == 0.5


def test_without_positives_there_is_no_recall() -> None:
    assert np.isnan(compute_figures([Outcome(None, [])]).recall_1)


def test_a_target_is_met_at_its_last_digit() -> None:
    assert targets.is_met("b", 0, 0.98)
    assert not targets.is_met("b", 0, 0.979)
    assert targets.is_met("panel", 0, 0.1) is None
    assert targets.is_met("b", 0, float("nan")) is None


def test_overlap_of_outlines() -> None:
    square = (0.0, 0.0, 0.5, 0.0, 0.5, 0.5, 0.0, 0.5)
    half = (0.0, 0.0, 0.25, 0.0, 0.25, 0.5, 0.0, 0.5)
    crossed = (0.0, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.5)
    assert compute_iou(square, square) == pytest.approx(1, abs=1e-4)
    assert compute_iou(square, half) == pytest.approx(0.5, abs=1e-3)
    assert compute_iou(square, crossed) == 0
