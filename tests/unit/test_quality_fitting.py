"""Weights that are fitted tell right pairs from wrong ones, and leave alone those that are chosen."""

import numpy as np

from infra.vision.confidence import CHOSEN, WEIGHTS, Found
from tests.quality.fitting import Example, fitted, verdicts


def examples() -> list[Example]:
    random = np.random.default_rng(1)
    right = [Example(f"{n}", Found(int(random.integers(8, 90)), random.uniform(0.4, 0.9), 100), True) for n in range(80)]
    wrong = [
        Example(f"{n}", Found(int(random.integers(0, 12)), random.uniform(0, 0.4), 110, strain=random.uniform(0, 2)), False)
        for n in range(400)
    ]
    return right + wrong


def test_right_pairs_become_matches_and_wrong_ones_do_not() -> None:
    made = examples()
    weights = fitted(made)
    assert "0 match a wrong piece" in verdicts(made, weights)
    assert [weights[at] for at in CHOSEN] == [WEIGHTS[at] for at in CHOSEN]
    assert weights[1] > 0 > weights[6]
