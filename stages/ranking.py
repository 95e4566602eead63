"""What a comparison means, and which posts show one piece: pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from contracts.events import By, Calibration, Evidence, Match, Quad, Verdict
from contracts.ports import Compared

MATCH_AT: Final = 0.9
"""How sure it is, from which on something is called a match: of ten answers that are as sure as this, nine are right."""

VERIFIED_AT: Final = 0.5
"""How sure it is, from which on more than likeness speaks for a piece: it is right at least as often as it is wrong."""

POSSIBLE_AT: Final = 0.15
"""How sure it is, from which on a piece is shown as possible: whoever asked sees at a glance whether it is the one.

Of what is as sure as this about one in six is right, but hardly anything is: of 220 no-matches eight had something possible.
"""

EQUALLY_SURE: Final = 3
"""Decimals to which matches are told apart by how sure they are."""

SAME_PLACE: Final = 0.7
"""How much two outlines overlap (intersection over union), from which on they are of one thing in the question."""

WHOLE: Final = 0.85
"""The same of an outline and the picture's frame, and how much of a picture is inside, from which on it is the whole of it."""

FRAME: Final[Quad] = (0, 0, 1, 0, 1, 1, 0, 1)

Point = tuple[float, float]


def verdict_on(match: Match, calibration: Calibration, by: By = "image") -> Verdict:
    """What a match is called. Words never prove one, and nor do vectors of pictures that could be compared more closely."""
    if match.evidence is None:
        if match.score < calibration.possible_at:
            return "none"
        return "match" if match.score >= calibration.match_at and by == "image" else "possible"
    if match.evidence.by == "vector":
        return "possible"
    return "match" if match.score >= MATCH_AT else "possible" if match.score >= POSSIBLE_AT else "none"


def ranked(matches: Sequence[Match], calibration: Calibration, cosines: Mapping[str, float]) -> list[Match]:
    """Matches before possible ones, what was verified before what is only alike, then the surest, then what agrees best.

    Equally sure posts of one piece agree better or worse by chance: the most alike comes first, and then the earliest.
    """

    def agreement(match: Match) -> float:
        return match.evidence.agreement if match.evidence and match.evidence.agreement is not None else -1.0

    def rank(match: Match) -> tuple[bool, bool, float, float, str]:
        unsure, unverified = verdict_on(match, calibration) != "match", not is_verified(match)
        return unsure, unverified, -_sure(match), -agreement(match), match.image_id

    def alike(match: Match) -> tuple[float, float, int, str]:
        return -cosines.get(match.image_id, -1.0), -agreement(match), len(match.image_id), match.image_id

    left, in_order = sorted(matches, key=rank), list[Match]()
    while left:
        best, *others = left
        posts = [other for other in others if _sure(other) == _sure(best) and is_same_piece(best, other)]
        in_order += sorted([best, *posts], key=alike)
        left = [other for other in others if other not in posts]
    return in_order


def _sure(match: Match) -> float:
    return round(match.score, EQUALLY_SURE)


def is_verified(match: Match) -> bool:
    """Whether more than vectors speaks for it."""
    return match.evidence is not None and match.evidence.by != "vector" and match.score >= VERIFIED_AT


def is_same_piece(one: Match, other: Match) -> bool:
    """Whether two archived images are found in the same place of a question, both for sure: they are posts of one piece."""
    return is_verified(one) and is_verified(other) and min(one.score, other.score) >= MATCH_AT and _in_one_place(one, other)


def is_another_piece(one: Match, other: Match) -> bool:
    """Whether the other is verified in another place of the question than the one: then they are pieces of their own."""
    return is_verified(other) and not (is_verified(one) and _in_one_place(one, other))


def _in_one_place(one: Match, other: Match) -> bool:
    if one.evidence is None or other.evidence is None:
        return False
    return overlap(place_of(one.evidence), place_of(other.evidence)) >= SAME_PLACE


def shows_the_whole(compared: Compared) -> bool:
    """Whether two archived pictures are one for sure, each the whole of the other, and not one a part of the other."""
    evidence = compared.evidence
    sure = compared.probability >= MATCH_AT and evidence.by != "vector"
    return sure and evidence.shown >= WHOLE and overlap(place_of(evidence), FRAME) >= WHOLE


def place_of(evidence: Evidence) -> Quad:
    """Where in the question the archived picture lies: everywhere, where nothing else was found."""
    return FRAME if evidence.place is None else evidence.place


def overlap(one: Quad, other: Quad) -> float:
    """Intersection over union of two convex outlines, whichever way round they go; 0 for one without an area."""
    first, second = _clockwise(one), _clockwise(other)
    common = abs(_area(_clipped(first, second)))
    union = _area(first) + _area(second) - common
    return common / union if min(_area(first), _area(second)) > 0 else 0.0


def _clockwise(quad: Quad) -> list[Point]:
    points = list(zip(quad[::2], quad[1::2], strict=True))
    return points if _area(points) >= 0 else points[::-1]


def _area(points: Sequence[Point]) -> float:
    """Of a polygon; negative where it goes the other way round."""
    return sum(x * v - u * y for (x, y), (u, v) in zip(points, [*points[1:], *points[:1]], strict=True)) / 2


def _clipped(polygon: Sequence[Point], by: Sequence[Point]) -> list[Point]:
    """What of a polygon lies inside a convex one, edge by edge (Sutherland and Hodgman)."""
    kept = list(polygon)
    for start, end in zip(by, [*by[1:], *by[:1]], strict=True):
        inside = [(end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0]) for x, y in kept]
        points, kept = kept, []
        for number, (point, depth) in enumerate(zip(points, inside, strict=True)):
            before, depth_before = points[number - 1], inside[number - 1]
            if (depth >= 0) != (depth_before >= 0):
                share = depth_before / (depth_before - depth)
                kept.append((before[0] + share * (point[0] - before[0]), before[1] + share * (point[1] - before[1])))
            if depth >= 0:
                kept.append(point)
    return kept
