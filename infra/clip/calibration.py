"""How to read a cosine similarity: each family of encoders has its own scale."""

from contracts.events import Calibration

UNTRAINED_MODEL = "mapseek-untrained"
"""The default until a trained one exists: a small tower with seeded random weights."""

SMALL_UNTRAINED = Calibration(match_at=0.88, possible_at=0.72)
"""Measured on art that no demo shows: of 600 pictures never posted, none reached 0.88 and 5 % reached 0.72 against 60 archived
ones; re-encoded, halved, or 30 % brighter or darker ones stay above 0.96, and nine in ten of those cropped by 10 % above 0.72."""

OTHER_UNTRAINED = Calibration(match_at=0.975, possible_at=0.97)
"""Measured on ViT-B-32 with random weights, which puts all pictures close together: 48 never posted reached 0.969 at most."""

TRAINED = Calibration(match_at=0.92, possible_at=0.85)
"""CLIP's image towers: copies of a picture lie above 0.92 as a rule, pictures of the same kind between 0.6 and 0.85."""


def calibration_of(model: str, *, trained: bool) -> Calibration:
    """The thresholds for an encoder's similarities."""
    if trained:
        return TRAINED
    return SMALL_UNTRAINED if model == UNTRAINED_MODEL else OTHER_UNTRAINED
