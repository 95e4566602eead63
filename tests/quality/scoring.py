"""Score answers: recall, recall at a precision, micro-average precision, and wrong matches. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRECISION = 0.99


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a query: the pieces found with their scores, best first, and the right one (None: there is none)."""

    expected: int | None
    found: Sequence[tuple[frozenset[int], float]]
    verdict: str = "none"

    @property
    def is_right(self) -> bool:
        """Whether the first piece is the right one."""
        return self.is_within(1)

    def is_within(self, top: int) -> bool:
        """Whether the right piece is among the first `top`."""
        return self.expected is not None and any(self.expected in pieces for pieces, _ in self.found[:top])

    @property
    def is_false_match(self) -> bool:
        """Whether a no-match was called a match."""
        return self.expected is None and self.verdict == "match"

    @property
    def is_wrong_match(self) -> bool:
        """Whether another piece than the right one was called a match."""
        return self.expected is not None and self.verdict == "match" and not self.is_right


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of some queries. Shares are 0 to 1, or nan if there are no queries to count."""

    positives: int
    unmatched: int
    recall_1: float
    recall_3: float
    recall_99: float
    average_precision: float
    called_match: float
    false_matches: int
    wrong_matches: int


def compute_figures(outcomes: Sequence[Outcome]) -> Figures:
    """Compute the figures of these outcomes, including those of no-matches."""
    positives = [each for each in outcomes if each.expected is not None]

    def share(found: Sequence[bool]) -> float:
        return float(np.mean(found)) if found else float("nan")

    return Figures(
        positives=len(positives),
        unmatched=len(outcomes) - len(positives),
        recall_1=share([each.is_right for each in positives]),
        recall_3=share([each.is_within(3) for each in positives]),
        recall_99=recall_at_precision(outcomes),
        average_precision=micro_average_precision(outcomes),
        called_match=share([each.is_right and each.verdict == "match" for each in positives]),
        false_matches=sum(each.is_false_match for each in outcomes),
        wrong_matches=sum(each.is_wrong_match for each in outcomes),
    )


def recall_at_precision(outcomes: Sequence[Outcome], precision: float = PRECISION) -> float:
    """Return the greatest recall of first answers above a score threshold at which at least `precision` of them are right.

    The first answers to no-matches are never right.
    """
    positives = sum(each.expected is not None for each in outcomes)
    if not positives:
        return float("nan")
    answered = [(each.found[0][1], each.is_right) for each in outcomes if each.found]
    right, counted, best = 0, 0, 0
    for score in sorted({score for score, _ in answered}, reverse=True):
        at_score = [correct for each, correct in answered if each == score]
        right, counted = right + sum(at_score), counted + len(at_score)
        if right >= precision * counted:
            best = right
    return best / positives


def micro_average_precision(outcomes: Sequence[Outcome]) -> float:
    """Return the area under the precision-recall curve of all pieces found for all queries, ordered by their scores."""
    positives = sum(each.expected is not None for each in outcomes)
    if not positives:
        return float("nan")
    found = sorted(
        ((score, each.expected in pieces) for each in outcomes for pieces, score in each.found), key=lambda one: (-one[0], one[1])
    )
    right, area = 0, 0.0
    for place, (_, correct) in enumerate(found, 1):
        if correct:
            right += 1
            area += right / place
    return area / positives
