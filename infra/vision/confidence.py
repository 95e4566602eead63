"""How sure it is that a question shows an archived piece: a logistic over what was found.

All weights but those that are CHOSEN were fitted as `python -m tests.quality.fitting` does it, by maximum likelihood with a small
ridge, on pairs that are one piece and pairs that are not, each of the latter counted three times, to be rather too careful, and
then rounded. The pairs are of 249 questions in all categories of the benchmark, a third of them no-matches, to two archives of 300
pieces with other seeds than the benchmark's: 167 right pairs and 5,809 wrong ones. What is fitted on one archive gives the wrong
pairs of the other 0.70 at most. Points count by how well the pictures agree: pieces may share a window, a letter or a texture.

The weights of the margin and of the archive's size are chosen: vectors may tip a balance, and a hundred times as many pictures call
for 1.4 more in logits.
"""

from math import exp, log, log1p
from typing import Final, NamedTuple

MATCH_AT: Final = 0.9
"""From here on a question practically never shows another piece."""

POSSIBLE_AT: Final = 0.5

WEIGHTS: Final = (-9.5, 10.5, 4.4, 6.0, 2.0, -0.3, -4.0)
"""What each of `terms` is worth."""

CHOSEN: Final = (4, 5)
"""Those of the terms whose weights are chosen."""


class Found(NamedTuple):
    """What speaks for one archived picture.

    `points` local features agree, `agreement` is that of the pictures laid over each other, `distance` (0 to 256) that of the
    nearest hashes, and `strain` is how unusually slanting the picture is seen. `margin` is by how much the vectors are more alike
    than other candidates' are, and `among` how many pictures the archive has.
    """

    points: int = 0
    agreement: float = 0.0
    distance: int = 128
    margin: float = 0.0
    among: int = 1
    strain: float = 0.0


def terms(found: Found) -> tuple[float, ...]:
    """What is weighed: 1, the agreement, the points by it, a near hash, the margin, how many pictures there are, and the strain."""
    agreement = min(max(found.agreement, 0.0), 1.0)
    return (
        1.0,
        agreement,
        agreement * log1p(max(found.points, 0)),
        max(0.0, 1 - found.distance / 96),
        min(max(found.margin, 0.0), 0.2),
        log(max(found.among, 1) / 1_000),
        min(max(found.strain, 0.0), 1.5),
    )


def probability(found: Found) -> float:
    """How sure it is, 0 to 1."""
    told = sum(weight * term for weight, term in zip(WEIGHTS, terms(found), strict=True))
    return 1 / (1 + exp(-max(min(told, 36.0), -36.0)))
