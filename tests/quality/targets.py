"""The targets: recall@1, recall@3 and recall at 99 % precision by category, in per cent, and targets for all queries."""

from collections.abc import Mapping

RECALL: Mapping[str, tuple[float, float, float]] = {
    "a": (99.9, 100, 99.5),
    "b": (98, 99, 97),
    "c": (98, 99.5, 97),
    "d": (98, 99, 96),
    "e": (99, 99.5, 98),
    "plain-b": (97, 99, 93),
    "plain-c": (97, 99, 93),
    "plain-d": (88, 93, 80),
    "plain-e": (97, 98, 92),
    "extreme-b": (92, 96, 88),
    "extreme-c": (92, 96, 88),
}
FALSE_MATCHES = 0.3
"""At most this many per cent of the no-matches may be called a match."""

MEDIAN_MS, P95_MS = 400.0, 700.0
"""The longest time from the query to its match, with 2,000 pieces on one core."""


def is_met(category: str, at: int, share: float) -> bool | None:
    """Whether a recall (0 to 1) reaches its target. None if there is no target."""
    wanted = RECALL.get(category)
    return None if wanted is None or share != share else round(100 * share, 1) >= wanted[at]
