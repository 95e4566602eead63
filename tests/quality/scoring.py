"""How good answers are: recall, recall at a precision, micro-average precision, and what was claimed wrongly. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRECISION = 0.99


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question's answer: the pieces that were told with their scores, best first, and the right one (None: there is none)."""

    expected: int | None
    told: Sequence[tuple[frozenset[int], float]]
    verdict: str = "none"

    @property
    def right(self) -> bool:
        """Whether the first piece is the right one."""
        return self.within(1)

    def within(self, top: int) -> bool:
        """Whether the right piece is among the first."""
        return self.expected is not None and any(self.expected in pieces for pieces, _ in self.told[:top])

    @property
    def false_match(self) -> bool:
        """Whether a no-match was called a match."""
        return self.expected is None and self.verdict == "match"

    @property
    def wrong_match(self) -> bool:
        """Whether another piece than the right one was called a match."""
        return self.expected is not None and self.verdict == "match" and not self.right


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of some questions: shares are 0 to 1, nan where there is nothing that they are shares of."""

    positives: int
    unmatched: int
    recall_1: float
    recall_3: float
    recall_99: float
    average_precision: float
    called_match: float
    false_matches: int
    wrong_matches: int


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """The figures of these questions, those without a right answer among them."""
    positives = [each for each in outcomes if each.expected is not None]

    def share(found: Sequence[bool]) -> float:
        return float(np.mean(found)) if found else float("nan")

    return Figures(
        positives=len(positives),
        unmatched=len(outcomes) - len(positives),
        recall_1=share([each.right for each in positives]),
        recall_3=share([each.within(3) for each in positives]),
        recall_99=recall_at_precision(outcomes),
        average_precision=micro_average_precision(outcomes),
        called_match=share([each.right and each.verdict == "match" for each in positives]),
        false_matches=sum(each.false_match for each in outcomes),
        wrong_matches=sum(each.wrong_match for each in outcomes),
    )


def recall_at_precision(outcomes: Sequence[Outcome], precision: float = PRECISION) -> float:
    """The most right first answers above a bar on their scores where at least that share is right; no-matches never are."""
    positives = sum(each.expected is not None for each in outcomes)
    if not positives:
        return float("nan")
    answered = [(each.told[0][1], each.right) for each in outcomes if each.told]
    right, told, best = 0, 0, 0
    for score in sorted({score for score, _ in answered}, reverse=True):
        at_score = [correct for each, correct in answered if each == score]
        right, told = right + sum(at_score), told + len(at_score)
        if right >= precision * told:
            best = right
    return best / positives


def micro_average_precision(outcomes: Sequence[Outcome]) -> float:
    """The area under precision over recall of all pieces told, in the order of their scores, whatever question they answer."""
    positives = sum(each.expected is not None for each in outcomes)
    if not positives:
        return float("nan")
    told = sorted(
        ((score, each.expected in pieces) for each in outcomes for pieces, score in each.told), key=lambda one: (-one[0], one[1])
    )
    right, area = 0, 0.0
    for place, (_, correct) in enumerate(told, 1):
        if correct:
            right += 1
            area += right / place
    return area / positives
