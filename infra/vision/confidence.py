"""How sure it is that a question shows an archived piece: a logistic over what was found.

All weights but those that are CHOSEN were fitted as `python -m tests.quality.fitting` does it, by maximum likelihood with a small
ridge, on pairs that are one piece and pairs that are not, and then rounded. The pairs are of 1,002 questions in all categories of
the benchmark, 220 of them no-matches, to two archives of 600 pieces with other seeds than the benchmark's: 772 right pairs and
23,600 wrong ones, those with near vectors among them. Three of the wrong ones are given more than 0.6: twice a golden ring, and
a full moon over a town. Points count by how well the pictures agree: pieces may share a window, a letter or a texture. That two
drawings agree is little if no light makes one's colours the other's: flags, letters and stripes are drawn by many.

The weights of the margin and of the archive's size are chosen: vectors may tip a balance, and a hundred times as many pictures call
for 1.4 more in logits.
"""

from math import exp, log
from typing import Final, NamedTuple

WEIGHTS: Final = (-8.4, 5.1, 3.2, 7.3, 2.0, -0.3, -1.4, 1.9, -6.7)
"""What each of `terms` is worth."""

ALWAYS: Final = 4
"""Through so many points there is always a homography: they say nothing."""

CHOSEN: Final = (4, 5)
"""Those of the terms whose weights are chosen."""


class Found(NamedTuple):
    """What speaks for one archived picture.

    `points` local features agree, `agreement` is that of the pictures laid over each other, `distance` (0 to 256) that of the
    nearest hashes, and `strain` is how unusually slanting the picture is seen. `colours` and `cast` are those of overlay.Colours.
    `margin` is by how much the vectors are more alike than other candidates' are, and `among` how many pictures the archive has.
    """

    points: int = 0
    agreement: float = 0.0
    distance: int = 128
    margin: float = 0.0
    among: int = 1
    strain: float = 0.0
    colours: float = 0.0
    cast: float = 0.0


def terms(found: Found) -> tuple[float, ...]:
    """What is weighed: 1, the agreement, the points by it, a near hash, the margin, how many pictures there are, and the strain."""
    agreement = min(max(found.agreement, 0.0), 1.0)
    return (
        1.0,
        agreement,
        agreement * log(max(found.points, ALWAYS) / ALWAYS),
        max(0.0, 1 - found.distance / 96),
        min(max(found.margin, 0.0), 0.2),
        log(max(found.among, 1) / 1_000),
        min(max(found.strain, 0.0), 1.5),
        -log(1.02 - min(max(found.colours, 0.0), 1.0)),
        min(max(found.cast, 0.0), 1.0),
    )


def probability(found: Found) -> float:
    """How sure it is, 0 to 1."""
    told = sum(weight * term for weight, term in zip(WEIGHTS, terms(found), strict=True))
    return 1 / (1 + exp(-max(min(told, 36.0), -36.0)))
