"""Compare a query with archived pictures by their prints, and estimate the probability that each is shown in the query.

First local features are matched; where that fails, the pictures are compared pixel by pixel in proposed frames. The work is bounded
by counts and not by a clock, so that the same query gets the same answer on a busy machine.

The probability is a logistic regression over the measures of a pair. `python -m tests.quality.fitting` fits its weights by maximum
likelihood with a small ridge, on pairs of the same piece and pairs of different pieces; they were rounded afterwards. The pairs
come from 1,002 queries in all categories of the benchmark (220 of them no-matches) to two archives of 600 pieces with other seeds
than those of the benchmark: 772 right pairs and 23,600 wrong ones, including wrong ones with near vectors. Three wrong pairs get
more than 0.6: twice a golden ring, and a full moon over a town.

Inliers count by how well the pictures agree, since different pieces may share a window, a letter or a texture. Agreement counts
little if no light turns the colours of one picture into those of the other, since many people draw flags, letters and stripes.

Two weights are chosen, not fitted: that of the margin, since vectors may only tip the balance, and that of the archive's size, so
that an archive a hundred times as large requires 1.4 more in logits.
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
"""The weight of each of `compute_terms`."""

MINIMAL_SAMPLE: Final = 4
"""Through this many pairs there is always a homography, so they are no evidence."""

CHOSEN_TERMS: Final = (4, 5)
"""The indices of the terms whose weights are chosen, not fitted."""

ENOUGH_INLIERS: Final = 12
"""With this many inliers and ENOUGH_AGREEMENT, neither the mirror image nor other frames are tried."""

ENOUGH_AGREEMENT: Final = 0.6

MAX_OVERLAYS: Final = 16
"""At most this many proposals are refined and compared, over all candidates."""

MIN_SHARED_AFTER_MATCH: Final = 16
"""Once a piece is found, another one is only compared if it shares at least this many features with the query."""

MIN_SHARED_FEATURES: Final = 4
"""Features are only matched with a piece that shares at least this many with the query. With fewer, hardly any match was verified.
"""

MIN_COPY_SIMILARITY: Final = 0.35
"""A proposed frame is only tried if the small copies have at least this correlation."""


class MatchMeasures(NamedTuple):
    """What was measured of a query and one archived picture.

    `inliers` counts local features that agree. `agreement` is the result of overlay.compute_agreement, and `strain` that of
    panels.compute_strain. `colour_correlation` and `colour_cast` are those of overlay.ColourFit. `hash_distance` (0 to 256) is that
    of the nearest hashes. `margin` is by how much the similarity of the vectors exceeds the median of the candidates.
    `archive_size` is the number of pictures in the archive.
    """

    inliers: int = 0
    agreement: float = 0.0
    hash_distance: int = 128
    margin: float = 0.0
    archive_size: int = 1
    strain: float = 0.0
    colour_correlation: float = 0.0
    colour_cast: float = 0.0


def compute_terms(measures: MatchMeasures) -> tuple[float, ...]:
    """Return the terms of the logistic regression.

    They are 1, the agreement, the inliers weighted by it, the nearness of the hash, the margin, the archive's size, the strain, and
    the correlation and the cast of the colours.
    """
    agreement = min(max(measures.agreement, 0.0), 1.0)
    return (
        1.0,
        agreement,
        agreement * log(max(measures.inliers, MINIMAL_SAMPLE) / MINIMAL_SAMPLE),
        max(0.0, 1 - measures.hash_distance / 96),
        min(max(measures.margin, 0.0), 0.2),
        log(max(measures.archive_size, 1) / 1_000),
        min(max(measures.strain, 0.0), 1.5),
        -log(1.02 - min(max(measures.colour_correlation, 0.0), 1.0)),
        min(max(measures.colour_cast, 0.0), 1.0),
    )


def estimate_probability(measures: MatchMeasures) -> float:
    """Return the probability that the query shows the archived picture, 0 to 1."""
    logit = sum(weight * term for weight, term in zip(TERM_WEIGHTS, compute_terms(measures), strict=True))
    return 1 / (1 + exp(-max(min(logit, 36.0), -36.0)))


class PreparedQuery(NamedTuple):
    """A query, ready to compare: its print, its picture, its features and words, and those of its mirror image."""

    print: Print
    picture: Rgb
    features: Features
    mirrored_features: Features
    words: tuple[SortedWords, SortedWords]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way in which the query may show an archived picture: a frame (None: none was found), what was measured, and the panel."""

    measures: MatchMeasures
    frame: Matrix | None = None
    panel: Panel | None = None


class Comparer:
    """Implements the PrintComparer port on the CPU."""

    async def compare(
        self, asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
    ) -> Mapping[str, PrintComparison]:
        return await asyncio.to_thread(compare_prints, asked, archived, similarities, archive_size=among)


def compare_prints(
    query_data: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, archive_size: int
) -> dict[str, PrintComparison]:
    """Return for each archived image the probability that the query shows it, with the evidence. Unreadable prints are left out."""
    prints = {image_id: candidate for image_id, data in archived.items() if (candidate := _try_unpack(data)) is not None}
    if (query_print := _try_unpack(query_data)) is None:
        return {}
    query = prepare_query(query_print)
    hypotheses = find_hypotheses(query, prints, similarities, archive_size)
    return {image_id: _to_comparison(query, prints[image_id], hypothesis) for image_id, hypothesis in hypotheses.items()}


def find_hypotheses(
    query: PreparedQuery, prints: Mapping[str, Print], similarities: Mapping[str, float], archive_size: int
) -> dict[str, Hypothesis]:
    """Return the best hypothesis for each archived picture."""
    usual = median(similarities.values()) if similarities else 0.0
    best: dict[str, Hypothesis] = {}
    ways: tuple[bool, ...] = (False, True)
    for image_id, archived in prints.items():
        margin = similarities[image_id] - usual if image_id in similarities else 0.0
        start = MatchMeasures(hash_distance=compute_hash_distance(query.print, archived), margin=margin, archive_size=archive_size)
        least = MIN_SHARED_AFTER_MATCH if len(ways) == 1 else MIN_SHARED_FEATURES
        worth = [way for way in ways if count_shared_features(query.words[way], archived.words, archived.signatures) >= least]
        best[image_id] = hypothesis = _match_features(query, archived, Hypothesis(start), worth)
        if hypothesis.frame is not None and _is_sure(hypothesis):
            ways = (_is_mirrored(hypothesis.frame),)  # other pieces in the query are mirrored if this one is
    if any(_is_sure(hypothesis) for hypothesis in best.values()):
        return best
    for image_id, proposal in _list_proposals(query, prints):
        nothing = best[image_id].measures._replace(inliers=0, agreement=0.0, strain=0.0, colour_correlation=0.0, colour_cast=0.0)
        best[image_id] = _choose_better(best[image_id], _try_frame(query, prints[image_id], proposal.frame, nothing))
    return best


def _match_features(query: PreparedQuery, archived: Print, start: Hypothesis, ways: Sequence[bool]) -> Hypothesis:
    """Return the best hypothesis from matching features, or `start`. `ways`: as it is (False), mirrored (True)."""
    best, theirs = start, normalise_features(archived.keypoints, archived.descriptors)
    for is_mirrored in ways:
        ours = query.mirrored_features if is_mirrored else query.features
        alignment = align_features(ours, query.print.size, theirs, archived.size, mirrored=is_mirrored)
        if alignment is not None:
            measures = start.measures._replace(inliers=alignment.inliers)
            best = _choose_better(best, _measure_refined(query, archived, alignment.frame, measures))
        if best.measures.inliers >= ENOUGH_INLIERS:
            break
    return best


def _measure_refined(query: PreparedQuery, archived: Print, frame: Matrix, measures: MatchMeasures) -> Hypothesis:
    """Measure the agreement in this frame. With fewer than ENOUGH_INLIERS, try a refined frame too and return the better one."""
    hypothesis = _measure_frame(query, archived, frame, measures)
    if measures.inliers < ENOUGH_INLIERS:
        finer = overlay.refine_frame(query.picture, archived.thumb, frame)
        refined = _measure_frame(query, archived, finer, measures)
        if refined.measures.agreement > hypothesis.measures.agreement:
            return refined
    return hypothesis


def _measure_frame(query: PreparedQuery, archived: Print, frame: Matrix, measures: MatchMeasures) -> Hypothesis:
    """Measure the agreement in exactly this frame: within the panel, if the query shows one of a larger piece."""
    if not can_be_seen(frame):
        return Hypothesis(measures)
    within = overlay.mask_inside(frame)
    warped = overlay.warp_through(query.picture, frame)
    values, weights = overlay.correlate_blocks(warped, archived.thumb, within)
    panel = panels.find_panel(archived.size, within, values, weights)
    agreement = overlay.compute_agreement(values, weights if panel is None else panels.mask_panel_blocks(panel, weights))
    colours = overlay.compare_colours(warped, archived.thumb, within if panel is None else panels.mask_panel_pixels(panel, within))
    strain = panels.compute_strain(frame, panels.compute_seen_box(within), query.print.size, archived.size)
    return Hypothesis(
        measures._replace(agreement=agreement, strain=strain, colour_correlation=colours.correlation, colour_cast=colours.cast),
        frame,
        panel,
    )


def _try_frame(query: PreparedQuery, archived: Print, frame: Matrix, nothing: MatchMeasures) -> Hypothesis:
    """Measure the agreement in a proposed frame, and count the inliers of this frame. `nothing` has no measures of a frame."""
    hypothesis = _measure_refined(query, archived, frame, nothing)
    if hypothesis.frame is None or hypothesis.measures.agreement < MIN_COPY_SIMILARITY:
        return hypothesis
    theirs, size = normalise_features(archived.keypoints, archived.descriptors), query.print.size
    is_mirrored = _is_mirrored(hypothesis.frame)
    ours = query.mirrored_features if is_mirrored else query.features
    alignment = verify_frame(hypothesis.frame, ours, size, theirs, archived.size, mirrored=is_mirrored)
    return replace(hypothesis, measures=hypothesis.measures._replace(inliers=alignment.inliers))


def _list_proposals(query: PreparedQuery, prints: Mapping[str, Print]) -> list[tuple[str, Proposal]]:
    """Return the best proposals over all candidates: first the best of each, then the second, so that each gets its share."""
    views = build_views(query.print)
    found: list[tuple[int, str, Proposal]] = []
    for image_id, archived in prints.items():
        own = [each for each in (*propose_frames(views, archived), propose_window(query.print, archived)) if each is not None]
        own.sort(key=lambda proposal: -proposal.correlation)
        found += [(rank, image_id, proposal) for rank, proposal in enumerate(own) if proposal.correlation >= MIN_COPY_SIMILARITY]
    found.sort(key=lambda each: (each[0], -each[2].correlation))
    return [(image_id, proposal) for _, image_id, proposal in found[:MAX_OVERLAYS]]


def _choose_better(one: Hypothesis, other: Hypothesis) -> Hypothesis:
    return other if estimate_probability(other.measures) > estimate_probability(one.measures) else one


def _is_mirrored(frame: Matrix) -> bool:
    return bool(np.linalg.det(frame) < 0)


def _is_sure(hypothesis: Hypothesis) -> bool:
    return hypothesis.measures.inliers >= ENOUGH_INLIERS and hypothesis.measures.agreement >= ENOUGH_AGREEMENT


def _to_comparison(query: PreparedQuery, archived: Print, hypothesis: Hypothesis) -> PrintComparison:
    """Return the hypothesis as probability and evidence."""
    measures, frame = hypothesis.measures, hypothesis.frame
    probability = estimate_probability(measures)
    if frame is None:
        return PrintComparison(probability, Evidence(by="vector"))
    within = overlay.mask_inside(frame)
    size = query.print.size
    turn, is_mirrored = panels.compute_turn(frame, size, archived.size)
    is_same_file = is_hash_near(query.print, archived) and measures.agreement >= ENOUGH_AGREEMENT
    return PrintComparison(
        probability,
        Evidence(
            by="hash" if is_same_file else "points" if measures.inliers else "overlay",
            points=measures.inliers,
            agreement=round(measures.agreement, 4),
            turn=turn,
            mirrored=is_mirrored,
            angle=panels.is_angled(frame, within, size),
            place=panels.place_from_frame(frame, mirrored=is_mirrored),
            shown=round(float(within.mean()), 4),
            panel=hypothesis.panel,
        ),
    )


def prepare_query(query: Print) -> PreparedQuery:
    """Prepare the print of a query for comparison. The print of an archived picture works too: its thumb stands in for the picture,
    and it has the hash of one turn only.
    """
    picture = query.thumb if query.picture is None else query.picture
    if query.picture is None:
        query = replace(query, picture=picture, place_hashes=np.frombuffer(query.hash, np.uint8).reshape(1, 1, -1))
    features = normalise_features(query.keypoints, query.descriptors)
    mirrored_descriptors = mirror_descriptors(query.descriptors)
    mirrored_features = mirror_points(normalise_features(query.keypoints, mirrored_descriptors), query.size[0])
    mirrored = mirror_words(query.words)
    words = sort_words(query.words, query.signatures), sort_words(mirrored, compute_signatures(mirrored_descriptors, mirrored))
    return PreparedQuery(query, picture, features, mirrored_features, words)


def _try_unpack(data: bytes) -> Print | None:
    try:
        return unpack_print(data)
    except ValueError:
        return None
