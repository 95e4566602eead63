"""A similarity as it is told: what is told is also what is judged."""

from typing import Final

DIGITS: Final = 6
"""Decimals of a score."""


def score_of(similarity: float) -> float:
    """A cosine similarity as a score: at most 1, which float sums overstep by a little."""
    return round(min(similarity, 1.0), DIGITS)
