"""Fitted weights separate right pairs from wrong ones, and the chosen weights stay as they are."""

import numpy as np

from infra.vision.compare import CHOSEN_TERMS, TERM_WEIGHTS, MatchMeasures
from tests.quality.fitting import Example, describe_verdicts, fit_weights


def make_examples() -> list[Example]:
    random = np.random.default_rng(1)
    right = [
        MatchMeasures(
            int(random.integers(8, 90)),
            random.uniform(0.4, 0.9),
            100,
            colour_correlation=random.uniform(0.9, 1),
            colour_cast=random.uniform(0, 0.2),
        )
        for _ in range(80)
    ]
    wrong = [
        MatchMeasures(
            int(random.integers(0, 12)),
            random.uniform(0, 0.4),
            110,
            strain=random.uniform(0, 2),
            colour_correlation=random.uniform(0.3, 1),
            colour_cast=random.uniform(0, 0.9),
        )
        for _ in range(400)
    ]
    return [Example(f"{n}", found, n < len(right)) for n, found in enumerate([*right, *wrong])]


def test_right_pairs_become_matches_and_wrong_ones_do_not() -> None:
    examples = make_examples()
    weights = fit_weights(examples)
    assert "0 match a wrong piece" in describe_verdicts(examples, weights)
    assert [weights[at] for at in CHOSEN_TERMS] == [TERM_WEIGHTS[at] for at in CHOSEN_TERMS]
    assert weights[7] > 0 > weights[8]
