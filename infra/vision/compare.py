"""Comparing a question with archived pictures by their prints: points first, then the pictures laid over each other.

The work is bounded by counts and not by a clock, so that the same question gets the same answer on a busy machine.

How sure it is that a question shows an archived piece: a logistic over what was found.

All weights but those that are CHOSEN were fitted as `python -m tests.quality.fitting` does it, by maximum likelihood with a small
ridge, on pairs that are one piece and pairs that are not, and then rounded. The pairs are of 1,002 questions in all categories of
the benchmark, 220 of them no-matches, to two archives of 600 pieces with other seeds than the benchmark's: 772 right pairs and
23,600 wrong ones, those with near vectors among them. Three of the wrong ones are given more than 0.6: twice a golden ring, and
a full moon over a town. Points count by how well the pictures agree: pieces may share a window, a letter or a texture. That two
drawings agree is little if no light makes one's colours the other's: flags, letters and stripes are drawn by many.

The weights of the margin and of the archive's size are chosen: vectors may tip a balance, and a hundred times as many pictures call
for 1.4 more in logits.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median
from typing import Final, NamedTuple

import numpy as np

from contracts.events import Evidence, Panel
from contracts.ports import PrintComparison
from infra.vision import overlay, panels
from infra.vision.alignment import Features, Matrix, align_features, can_be_seen, mirror_points, normalise_features, verify_frame
from infra.vision.features import (
    SortedWords,
    compute_signatures,
    count_shared_features,
    mirror_descriptors,
    mirror_words,
    sort_words,
)
from infra.vision.overlay import Rgb
from infra.vision.prints import Print, compute_hash_distance, is_hash_near, unpack_print
from infra.vision.proposals import Proposal, build_views, propose_frames, propose_window

TERM_WEIGHTS: Final = (-8.4, 5.1, 3.2, 7.3, 2.0, -0.3, -1.4, 1.9, -6.7)
"""What each of `terms` is worth."""

MINIMAL_SAMPLE: Final = 4
"""Through so many points there is always a homography: they say nothing."""

CHOSEN_TERMS: Final = (4, 5)
"""Those of the terms whose weights are chosen."""

ENOUGH_INLIERS: Final = 12
"""Points from which neither the mirror image nor other places are looked at any more, if the pictures agree too."""

ENOUGH_AGREEMENT: Final = 0.6

MAX_OVERLAYS: Final = 16
"""Proposals that are refined and compared, over all candidates."""

MIN_SHARED_AFTER_MATCH: Final = 16
"""Features that must look the same, from which on a piece is compared though another one was found already."""

MIN_SHARED_FEATURES: Final = 4
"""Features that must look the same for points to be looked for at all: with fewer, hardly any picture was ever proved by them."""

MIN_COPY_SIMILARITY: Final = 0.35
"""How alike small copies must be for a place to be looked at."""


class MatchMeasures(NamedTuple):
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


def compute_terms(found: MatchMeasures) -> tuple[float, ...]:
    """What is weighed: 1, the agreement, the points by it, a near hash, the margin, how many pictures there are, and the strain."""
    agreement = min(max(found.agreement, 0.0), 1.0)
    return (
        1.0,
        agreement,
        agreement * log(max(found.points, MINIMAL_SAMPLE) / MINIMAL_SAMPLE),
        max(0.0, 1 - found.distance / 96),
        min(max(found.margin, 0.0), 0.2),
        log(max(found.among, 1) / 1_000),
        min(max(found.strain, 0.0), 1.5),
        -log(1.02 - min(max(found.colours, 0.0), 1.0)),
        min(max(found.cast, 0.0), 1.0),
    )


def estimate_probability(found: MatchMeasures) -> float:
    """How sure it is, 0 to 1."""
    told = sum(weight * term for weight, term in zip(TERM_WEIGHTS, compute_terms(found), strict=True))
    return 1 / (1 + exp(-max(min(told, 36.0), -36.0)))


class PreparedQuery(NamedTuple):
    """A question's print, its features and those of its mirror image, and its words, straight and not."""

    print: Print
    picture: Rgb
    straight: Features
    flipped: Features
    spoken: tuple[SortedWords, SortedWords]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to see an archived picture in the question: the frame (None: none was found) and what speaks for it."""

    found: MatchMeasures
    frame: Matrix | None = None
    panel: Panel | None = None


class Comparer:
    """Comparing of contracts.ports, on the processor."""

    async def compare(
        self, asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
    ) -> Mapping[str, PrintComparison]:
        return await asyncio.to_thread(compare_prints, asked, archived, similarities, among=among)


def compare_prints(
    asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
) -> dict[str, PrintComparison]:
    """Each archived image with how sure it is that the question shows it; prints that cannot be read are left out."""
    prints = {image_id: made for image_id, data in archived.items() if (made := _readable(data)) is not None}
    if (asking := _readable(asked)) is None:
        return {}
    question = prepare_query(asking)
    readings = find_hypotheses(question, prints, similarities, among)
    return {image_id: _told(question, prints[image_id], reading) for image_id, reading in readings.items()}


def find_hypotheses(
    question: PreparedQuery, prints: Mapping[str, Print], similarities: Mapping[str, float], among: int
) -> dict[str, Hypothesis]:
    """The best way to see each archived picture in the question."""
    usual = median(similarities.values()) if similarities else 0.0
    best: dict[str, Hypothesis] = {}
    ways: tuple[bool, ...] = (False, True)
    for image_id, made in prints.items():
        margin = similarities[image_id] - usual if image_id in similarities else 0.0
        start = MatchMeasures(distance=compute_hash_distance(question.print, made), margin=margin, among=among)
        least = MIN_SHARED_AFTER_MATCH if len(ways) == 1 else MIN_SHARED_FEATURES
        worth = [way for way in ways if count_shared_features(question.spoken[way], made.words, made.signatures) >= least]
        best[image_id] = reading = _by_points(question, made, Hypothesis(start), worth)
        if reading.frame is not None and _sure(reading):
            ways = (_is_mirrored(reading.frame),)  # other pieces in the picture are seen as this one is
    if any(_sure(reading) for reading in best.values()):
        return best
    for image_id, proposal in _proposed(question, prints):
        nothing = best[image_id].found._replace(points=0, agreement=0.0, strain=0.0, colours=0.0, cast=0.0)
        best[image_id] = _better(best[image_id], _supported(question, prints[image_id], proposal.frame, nothing))
    return best


def _by_points(question: PreparedQuery, archived: Print, start: Hypothesis, ways: Sequence[bool]) -> Hypothesis:
    """The best reading that points give. `ways` says whether the question is looked at as it is (False), or mirrored (True)."""
    best, theirs = start, normalise_features(archived.points, archived.descriptors)
    for is_mirrored in ways:
        asked = question.flipped if is_mirrored else question.straight
        alignment = align_features(asked, question.print.size, theirs, archived.size, mirrored=is_mirrored)
        if alignment is not None:
            found = start.found._replace(points=alignment.points)
            best = _better(best, _laid_over(question, archived, alignment.frame, found))
        if best.found.points >= ENOUGH_INLIERS:
            break
    return best


def _laid_over(question: PreparedQuery, archived: Print, frame: Matrix, found: MatchMeasures) -> Hypothesis:
    """The agreement through that frame; one that few points or none speak for is refined first, and its points count no more."""
    reading = _through(question, archived, frame, found)
    if found.points < ENOUGH_INLIERS:
        finer = overlay.refine_frame(question.picture, archived.thumb, frame)
        again = _through(question, archived, finer, found)
        if again.found.agreement > reading.found.agreement:
            return again
    return reading


def _through(question: PreparedQuery, archived: Print, frame: Matrix, found: MatchMeasures) -> Hypothesis:
    """The agreement through exactly that frame: over the maps that are seen, if they are some of a larger piece."""
    if not can_be_seen(frame):
        return Hypothesis(found)
    within = overlay.mask_inside(frame)
    warped = overlay.warp_through(question.picture, frame)
    values, weights = overlay.correlate_blocks(warped, archived.thumb, within)
    panel = panels.find_panel(archived.size, within, values, weights)
    at = overlay.compute_agreement(values, weights if panel is None else panels.mask_panel_blocks(panel, weights))
    alike, cast = overlay.compare_colours(
        warped, archived.thumb, within if panel is None else panels.mask_panel_pixels(panel, within)
    )
    slanting = panels.compute_strain(frame, panels.compute_seen_box(within), question.print.size, archived.size)
    return Hypothesis(found._replace(agreement=at, strain=slanting, colours=alike, cast=cast), frame, panel)


def _supported(question: PreparedQuery, archived: Print, frame: Matrix, nothing: MatchMeasures) -> Hypothesis:
    """The agreement through a proposed frame, and the points that lie as it says."""
    reading = _laid_over(question, archived, frame, nothing)
    if reading.frame is None or reading.found.agreement < MIN_COPY_SIMILARITY:
        return reading
    theirs, size = normalise_features(archived.points, archived.descriptors), question.print.size
    is_mirrored = _is_mirrored(reading.frame)
    ours = question.flipped if is_mirrored else question.straight
    seen = verify_frame(reading.frame, ours, size, theirs, archived.size, mirrored=is_mirrored)
    return replace(reading, found=reading.found._replace(points=seen.points))


def _proposed(question: PreparedQuery, prints: Mapping[str, Print]) -> list[tuple[str, Proposal]]:
    """The likeliest proposals over all candidates: first the best of each, then the second, so that none crowds out the others."""
    views = build_views(question.print)
    found: list[tuple[int, str, Proposal]] = []
    for image_id, made in prints.items():
        own = [each for each in (*propose_frames(views, made), propose_window(question.print, made)) if each is not None]
        own.sort(key=lambda proposal: -proposal.alike)
        found += [(rank, image_id, proposal) for rank, proposal in enumerate(own) if proposal.alike >= MIN_COPY_SIMILARITY]
    found.sort(key=lambda each: (each[0], -each[2].alike))
    return [(image_id, proposal) for _, image_id, proposal in found[:MAX_OVERLAYS]]


def _better(one: Hypothesis, other: Hypothesis) -> Hypothesis:
    return other if estimate_probability(other.found) > estimate_probability(one.found) else one


def _is_mirrored(frame: Matrix) -> bool:
    return bool(np.linalg.det(frame) < 0)


def _sure(reading: Hypothesis) -> bool:
    return reading.found.points >= ENOUGH_INLIERS and reading.found.agreement >= ENOUGH_AGREEMENT


def _told(question: PreparedQuery, archived: Print, reading: Hypothesis) -> PrintComparison:
    """The reading as the log tells it."""
    found, frame = reading.found, reading.frame
    sure = estimate_probability(found)
    if frame is None:
        return PrintComparison(sure, Evidence(by="vector"))
    within = overlay.mask_inside(frame)
    asked = question.print
    turn, is_mirrored = panels.compute_turn(frame, asked.size, archived.size)
    whole = is_hash_near(question.print, archived)
    return PrintComparison(
        sure,
        Evidence(
            by="hash" if whole and found.agreement >= ENOUGH_AGREEMENT else "points" if found.points else "overlay",
            points=found.points,
            agreement=round(found.agreement, 4),
            turn=turn,
            mirrored=is_mirrored,
            angle=panels.is_angled(frame, within, asked.size),
            place=panels.place_from_frame(frame, mirrored=is_mirrored),
            shown=round(float(within.mean()), 4),
            panel=reading.panel,
        ),
    )


def prepare_query(asked: Print) -> PreparedQuery:
    """What is asked with; an archived picture has its thumb alone to lay over another, and the hash of one turn."""
    picture = asked.thumb if asked.picture is None else asked.picture
    if asked.picture is None:
        asked = replace(asked, picture=picture, place_hashes=np.frombuffer(asked.hash, np.uint8).reshape(1, 1, -1))
    straight = normalise_features(asked.points, asked.descriptors)
    turned = mirror_descriptors(asked.descriptors)
    other = mirror_points(normalise_features(asked.points, turned), asked.size[0])
    words = mirror_words(asked.words)
    both = sort_words(asked.words, asked.signatures), sort_words(words, compute_signatures(turned, words))
    return PreparedQuery(asked, picture, straight, other, both)


def _readable(data: bytes) -> Print | None:
    try:
        return unpack_print(data)
    except ValueError:
        return None
