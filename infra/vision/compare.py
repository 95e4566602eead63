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
from contracts.ports import Compared
from infra.vision import overlay, panels
from infra.vision.alignment import Features, Matrix, aligned, can_be_seen, features, flipped, supported
from infra.vision.features import Spoken, mirrored, mirrored_words, shared, signatures_of, spoken
from infra.vision.overlay import Picture
from infra.vision.prints import Print, hash_distance, is_hash_near, unpacked
from infra.vision.proposals import Proposal, proposals, views_of, window

WEIGHTS: Final = (-8.4, 5.1, 3.2, 7.3, 2.0, -0.3, -1.4, 1.9, -6.7)
"""What each of `terms` is worth."""

ALWAYS: Final = 4
"""Through so many points there is always a homography: they say nothing."""

CHOSEN: Final = (4, 5)
"""Those of the terms whose weights are chosen."""

ENOUGH_POINTS: Final = 12
"""Points from which neither the mirror image nor other places are looked at any more, if the pictures agree too."""

ENOUGH_AGREEMENT: Final = 0.6

MOST_OVERLAYS: Final = 16
"""Proposals that are refined and compared, over all candidates."""

LEAST_SHARED: Final = 16
"""Features that must look the same, from which on a piece is compared though another one was found already."""

FEW_SHARED: Final = 4
"""Features that must look the same for points to be looked for at all: with fewer, hardly any picture was ever proved by them."""

LEAST_ALIKE: Final = 0.35
"""How alike small copies must be for a place to be looked at."""


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


class Question(NamedTuple):
    """A question's print, its features and those of its mirror image, and its words, straight and not."""

    print: Print
    picture: Picture
    straight: Features
    flipped: Features
    spoken: tuple[Spoken, Spoken]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to see an archived picture in the question: the frame (None: none was found) and what speaks for it."""

    found: Found
    frame: Matrix | None = None
    panel: Panel | None = None


class Comparer:
    """Comparing of contracts.ports, on the processor."""

    async def compare(
        self, asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
    ) -> Mapping[str, Compared]:
        return await asyncio.to_thread(compared, asked, archived, similarities, among=among)


def compared(asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int) -> dict[str, Compared]:
    """Each archived image with how sure it is that the question shows it; prints that cannot be read are left out."""
    prints = {image_id: made for image_id, data in archived.items() if (made := _readable(data)) is not None}
    if (asking := _readable(asked)) is None:
        return {}
    question = question_of(asking)
    readings = readings_of(question, prints, similarities, among)
    return {image_id: _told(question, prints[image_id], reading) for image_id, reading in readings.items()}


def readings_of(
    question: Question, prints: Mapping[str, Print], similarities: Mapping[str, float], among: int
) -> dict[str, Reading]:
    """The best way to see each archived picture in the question."""
    usual = median(similarities.values()) if similarities else 0.0
    best: dict[str, Reading] = {}
    ways: tuple[bool, ...] = (False, True)
    for image_id, made in prints.items():
        margin = similarities[image_id] - usual if image_id in similarities else 0.0
        start = Found(distance=hash_distance(question.print, made), margin=margin, among=among)
        least = LEAST_SHARED if len(ways) == 1 else FEW_SHARED
        worth = [way for way in ways if shared(question.spoken[way], made.words, made.signatures) >= least]
        best[image_id] = reading = _by_points(question, made, Reading(start), worth)
        if reading.frame is not None and _sure(reading):
            ways = (_is_mirrored(reading.frame),)  # other pieces in the picture are seen as this one is
    if any(_sure(reading) for reading in best.values()):
        return best
    for image_id, proposal in _proposed(question, prints):
        nothing = best[image_id].found._replace(points=0, agreement=0.0, strain=0.0, colours=0.0, cast=0.0)
        best[image_id] = _better(best[image_id], _supported(question, prints[image_id], proposal.frame, nothing))
    return best


def _by_points(question: Question, archived: Print, start: Reading, ways: Sequence[bool]) -> Reading:
    """The best reading that points give. `ways` says whether the question is looked at as it is (False), or mirrored (True)."""
    best, theirs = start, features(archived.points, archived.descriptors)
    for is_mirrored in ways:
        asked = question.flipped if is_mirrored else question.straight
        alignment = aligned(asked, question.print.size, theirs, archived.size, mirrored=is_mirrored)
        if alignment is not None:
            found = start.found._replace(points=alignment.points)
            best = _better(best, _laid_over(question, archived, alignment.frame, found))
        if best.found.points >= ENOUGH_POINTS:
            break
    return best


def _laid_over(question: Question, archived: Print, frame: Matrix, found: Found) -> Reading:
    """The agreement through that frame; one that few points or none speak for is refined first, and its points count no more."""
    reading = _through(question, archived, frame, found)
    if found.points < ENOUGH_POINTS:
        finer = overlay.refined(question.picture, archived.thumb, frame)
        again = _through(question, archived, finer, found)
        if again.found.agreement > reading.found.agreement:
            return again
    return reading


def _through(question: Question, archived: Print, frame: Matrix, found: Found) -> Reading:
    """The agreement through exactly that frame: over the maps that are seen, if they are some of a larger piece."""
    if not can_be_seen(frame):
        return Reading(found)
    within = overlay.inside(frame)
    warped = overlay.seen_through(question.picture, frame)
    values, weights = overlay.blocks(warped, archived.thumb, within)
    panel = panels.panel_of(archived.size, within, values, weights)
    at = overlay.agreement(values, weights if panel is None else panels.seen(panel, weights))
    alike, cast = overlay.colours(warped, archived.thumb, within if panel is None else panels.seen_of(panel, within))
    slanting = panels.strain(frame, panels.box_of(within), question.print.size, archived.size)
    return Reading(found._replace(agreement=at, strain=slanting, colours=alike, cast=cast), frame, panel)


def _supported(question: Question, archived: Print, frame: Matrix, nothing: Found) -> Reading:
    """The agreement through a proposed frame, and the points that lie as it says."""
    reading = _laid_over(question, archived, frame, nothing)
    if reading.frame is None or reading.found.agreement < LEAST_ALIKE:
        return reading
    theirs, size = features(archived.points, archived.descriptors), question.print.size
    is_mirrored = _is_mirrored(reading.frame)
    ours = question.flipped if is_mirrored else question.straight
    seen = supported(reading.frame, ours, size, theirs, archived.size, mirrored=is_mirrored)
    return replace(reading, found=reading.found._replace(points=seen.points))


def _proposed(question: Question, prints: Mapping[str, Print]) -> list[tuple[str, Proposal]]:
    """The likeliest proposals over all candidates: first the best of each, then the second, so that none crowds out the others."""
    views = views_of(question.print)
    found: list[tuple[int, str, Proposal]] = []
    for image_id, made in prints.items():
        own = [each for each in (*proposals(views, made), window(question.print, made)) if each is not None]
        own.sort(key=lambda proposal: -proposal.alike)
        found += [(rank, image_id, proposal) for rank, proposal in enumerate(own) if proposal.alike >= LEAST_ALIKE]
    found.sort(key=lambda each: (each[0], -each[2].alike))
    return [(image_id, proposal) for _, image_id, proposal in found[:MOST_OVERLAYS]]


def _better(one: Reading, other: Reading) -> Reading:
    return other if probability(other.found) > probability(one.found) else one


def _is_mirrored(frame: Matrix) -> bool:
    return bool(np.linalg.det(frame) < 0)


def _sure(reading: Reading) -> bool:
    return reading.found.points >= ENOUGH_POINTS and reading.found.agreement >= ENOUGH_AGREEMENT


def _told(question: Question, archived: Print, reading: Reading) -> Compared:
    """The reading as the log tells it."""
    found, frame = reading.found, reading.frame
    sure = probability(found)
    if frame is None:
        return Compared(sure, Evidence(by="vector"))
    within = overlay.inside(frame)
    asked = question.print
    turn, is_mirrored = panels.turn_of(frame, asked.size, archived.size)
    whole = is_hash_near(question.print, archived)
    return Compared(
        sure,
        Evidence(
            by="hash" if whole and found.agreement >= ENOUGH_AGREEMENT else "points" if found.points else "overlay",
            points=found.points,
            agreement=round(found.agreement, 4),
            turn=turn,
            mirrored=is_mirrored,
            angle=panels.angled(frame, within, asked.size),
            place=panels.place_of(frame, mirrored=is_mirrored),
            shown=round(float(within.mean()), 4),
            panel=reading.panel,
        ),
    )


def question_of(asked: Print) -> Question:
    """What is asked with; an archived picture has its thumb alone to lay over another, and the hash of one turn."""
    picture = asked.thumb if asked.picture is None else asked.picture
    if asked.picture is None:
        asked = replace(asked, picture=picture, place_hashes=np.frombuffer(asked.hash, np.uint8).reshape(1, 1, -1))
    straight = features(asked.points, asked.descriptors)
    turned = mirrored(asked.descriptors)
    other = flipped(features(asked.points, turned), asked.size[0])
    words = mirrored_words(asked.words)
    both = spoken(asked.words, asked.signatures), spoken(words, signatures_of(turned, words))
    return Question(asked, picture, straight, other, both)


def _readable(data: bytes) -> Print | None:
    try:
        return unpacked(data)
    except ValueError:
        return None
