"""Finding what a picture shows by its fingerprint: the likeliest archived images are compared with it, one by one.

What that costs is bounded whatever is asked and however much is archived: so many candidates, so many vectors of the question.

Comparing a picture with archived ones by their fingerprints. Each is read and compared once, however often it was posted.

Which archived posts a question may be answered with: those that its asker may read, and that its filters let through.

What a comparison means, and which posts show one piece: pure.

A similarity as it is told: what is told is also what is judged.

Gathering what the picture of an explanation is drawn from: the question and the archived image, as they were compared.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contracts.errors import BlobMissing
from contracts.events import (
    By,
    Calibration,
    Evidence,
    Filters,
    ImageFingerprinted,
    Match,
    Quad,
    SearchEmbedded,
    SearchFingerprinted,
    SearchMatched,
    Verdict,
)
from contracts.ports import (
    BlobStore,
    Candidate,
    Catalogue,
    Document,
    FeatureSearch,
    Journal,
    Neighbour,
    PrintComparer,
    PrintComparison,
    VectorSearch,
)

MATCH_AT: Final = 0.9
"""How sure it is, from which on something is called a match: of ten answers that are as sure as this, nine are right."""

VERIFIED_AT: Final = 0.5
"""How sure it is, from which on more than likeness speaks for a piece: it is right at least as often as it is wrong."""

POSSIBLE_AT: Final = 0.15
"""How sure it is, from which on a piece is shown as possible: whoever asked sees at a glance whether it is the one.

Of what is as sure as this about one in six is right, but hardly anything is: of 220 no-matches eight had something possible.
"""

SURENESS_DECIMALS: Final = 3
"""Decimals to which matches are told apart by how sure they are."""

SAME_PLACE_IOU: Final = 0.7
"""How much two outlines overlap (intersection over union), from which on they are of one thing in the question."""

WHOLE_FRACTION: Final = 0.85
"""The same of an outline and the picture's frame, and how much of a picture is inside, from which on it is the whole of it."""

FULL_FRAME: Final[Quad] = (0, 0, 1, 0, 1, 1, 0, 1)

Point = tuple[float, float]

SCORE_DECIMALS: Final = 6
"""Decimals of a score."""

MAX_BY_FEATURES = 16
"""Different fingerprints that are compared because they have features in common with the question's, or their hashes are near."""

MAX_BY_VECTOR = 6
"""Different fingerprints that are compared besides, because a vector of the question is near."""

MAX_BY_COLOURS = 4
"""Different fingerprints that are compared besides, because the question may be a part of them by its colours."""

CANDIDATES_PER_SOURCE = 64
"""Candidates looked at for each way of finding them: many may be posts of one picture, or unlike in the end."""

MIN_NEAR_PROBABILITY = 0.1
"""How sure a comparison must be at least for a near vector to make something possible: below it rather says that it is not."""

FILTERED_FACTOR = 8
"""Times as many where filters may leave out most of them."""

DrawExplanation = Callable[[bytes, bytes, bytes, bytes, Evidence, str], Awaitable[bytes]]
"""Draws a PNG from both pictures (PNG), the question's first, both fingerprints, the evidence, and the locale of its captions.

ValueError: one of them is unreadable.
"""


@dataclass(frozen=True, slots=True)
class ArchiveFingerprints:
    """Where archived fingerprints are looked up, where they lie, and how they are compared."""

    features: FeatureSearch
    comparing: PrintComparer
    archive: BlobStore


async def compare_with_archive(
    asked: bytes, archived: Mapping[str, str], similarities: Mapping[str, float], prints: ArchiveFingerprints, *, among: int
) -> dict[str, PrintComparison]:
    """Each archived image, given with the blob of its fingerprint, compared with what was asked.

    Images whose fingerprint is lost or unreadable are left out. `similarities` are cosines, where they are known.
    """
    posts: dict[str, list[str]] = {}
    for image_id, blob in archived.items():
        posts.setdefault(blob, []).append(image_id)
    read = await asyncio.gather(*(_read(blob, prints.archive) for blob in posts))
    data = {blob: found for blob, found in zip(posts, read, strict=True) if found is not None}
    if not data:
        return {}
    cosines = {blob: max(known) for blob in data if (known := [similarities[each] for each in posts[blob] if each in similarities])}
    compared = await prints.comparing.compare(asked, data, cosines, among=among)
    return {image_id: compared[blob] for blob in compared for image_id in posts[blob]}


async def _read(blob: str, archive: BlobStore) -> bytes | None:
    try:
        return await archive.get(blob)
    except BlobMissing:
        return None


def passes_filters(document: Document, filters: Filters) -> bool:
    """Whether a post is by the author and of the time that the question is limited to."""
    metadata = document.get("metadata")
    if metadata is None:
        return False
    posted_at = datetime.fromisoformat(metadata["upload_timestamp"])
    return (
        filters.author_id in (None, metadata["user_id"])
        and (filters.after is None or posted_at >= filters.after)
        and (filters.before is None or posted_at < filters.before)
    )


def may_be_seen(document: Document, guild_id: str, readable: Collection[str] | None) -> bool:
    """Whether the post is of this guild and in a channel, or in a public thread of a channel, that may be read (None: all)."""
    metadata = document.get("metadata")
    if metadata is None or metadata["guild_id"] != guild_id:
        return False
    return readable is None or (metadata.get("thread_of") or metadata["channel_id"]) in readable


async def select_allowed(image_ids: Collection[str], filters: Filters | None, catalogue: Catalogue) -> Collection[str]:
    """Those that the filters let through: without filters all, and no document is read."""
    if filters is None or not image_ids:
        return frozenset(image_ids)
    entries = await catalogue.entries(image_ids)
    return {image_id for image_id, entry in entries.items() if passes_filters(entry.document, filters)}


def judge_match(match: Match, calibration: Calibration, by: By = "image") -> Verdict:
    """What a match is called. Words never prove one, and nor do vectors of pictures that could be compared more closely."""
    if match.evidence is None:
        if match.score < calibration.possible_at:
            return "none"
        return "match" if match.score >= calibration.match_at and by == "image" else "possible"
    if match.evidence.by == "vector":
        return "possible"
    return "match" if match.score >= MATCH_AT else "possible" if match.score >= POSSIBLE_AT else "none"


def rank_matches(matches: Sequence[Match], calibration: Calibration, cosines: Mapping[str, float]) -> list[Match]:
    """Matches before possible ones, what was verified before what is only alike, then the surest, then what agrees best.

    Equally sure posts of one piece agree better or worse by chance: the most alike comes first, and then the earliest.
    """

    def agreement(match: Match) -> float:
        return match.evidence.agreement if match.evidence and match.evidence.agreement is not None else -1.0

    def rank(match: Match) -> tuple[bool, bool, float, float, str]:
        unsure, unverified = judge_match(match, calibration) != "match", not is_verified(match)
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
    return round(match.score, SURENESS_DECIMALS)


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
    return quad_iou(locate_match(one.evidence), locate_match(other.evidence)) >= SAME_PLACE_IOU


def is_whole_piece(compared: PrintComparison) -> bool:
    """Whether two archived pictures are one for sure, each the whole of the other, and not one a part of the other."""
    evidence = compared.evidence
    sure = compared.probability >= MATCH_AT and evidence.by != "vector"
    return sure and evidence.shown >= WHOLE_FRACTION and quad_iou(locate_match(evidence), FULL_FRAME) >= WHOLE_FRACTION


def locate_match(evidence: Evidence) -> Quad:
    """Where in the question the archived picture lies: everywhere, where nothing else was found."""
    return FULL_FRAME if evidence.place is None else evidence.place


def quad_iou(one: Quad, other: Quad) -> float:
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


def round_score(similarity: float) -> float:
    """A cosine similarity as a score: at most 1, which float sums overstep by a little."""
    return round(min(similarity, 1.0), SCORE_DECIMALS)


async def find_matches(
    event: SearchEmbedded, asked: bytes, vectors: VectorSearch, catalogue: Catalogue, prints: ArchiveFingerprints
) -> list[Match]:
    """All that is at least possible, best first; `asked` is the question's fingerprint.

    An image that has no fingerprint, or whose fingerprint is lost, is told by its vector as in a generation without any.
    """
    guild, generation, question = event.guild_id, event.generation, event.question
    top = CANDIDATES_PER_SOURCE * (1 if question.filters is None else FILTERED_FACTOR)
    channels = question.readable_channels
    shared, near = await asyncio.gather(
        prints.features.candidates(guild, generation, asked, top=top, channels=channels),
        _near(event, vectors, top),
    )
    coloured = await prints.features.find_by_colour(guild, generation, asked, top=top, channels=channels)
    cosines = fuse_neighbours(near)
    found = {*cosines, *(each.image_id for each in (*shared, *coloured))}
    let_through = await select_allowed(found, question.filters, catalogue)
    cosines = {image_id: cosine for image_id, cosine in cosines.items() if image_id in let_through}
    shared, coloured = ([each for each in some if each.image_id in let_through] for some in (shared, coloured))
    known = await prints.features.fingerprints(guild, generation, cosines)
    chosen = choose_candidates(shared, MAX_BY_FEATURES)
    chosen |= choose_candidates([each for each in coloured if each.image_id not in chosen], MAX_BY_COLOURS)
    chosen |= choose_candidates([known[each] for each in cosines if each in known and each not in chosen], MAX_BY_VECTOR)
    among = await prints.features.size(guild, generation)
    compared = await compare_with_archive(asked, chosen, cosines, prints, among=among)
    by_vector_alone = {each: cosine for each, cosine in cosines.items() if each not in known or each in chosen}
    return rank_matches(build_matches(compared, by_vector_alone, event.calibration), event.calibration, cosines)


async def _near(event: SearchEmbedded, vectors: VectorSearch, top: int) -> Sequence[Sequence[Neighbour]]:
    """The neighbours of the whole question, and of each place in it."""
    channels = event.question.readable_channels
    views = (event.vector, *event.views)
    return await asyncio.gather(
        *(vectors.search(event.guild_id, event.generation, view, top=top, channels=channels) for view in views)
    )


def fuse_neighbours(lists: Sequence[Sequence[Neighbour]]) -> dict[str, float]:
    """The neighbours of several vectors with their best cosines: those that any of them ranks first, then second, and so on."""
    ranks: dict[str, int] = {}
    cosines: dict[str, float] = {}
    for neighbours in lists:
        for rank, found in enumerate(neighbours):
            ranks[found.image_id] = min(rank, ranks.get(found.image_id, rank))
            cosines[found.image_id] = max(round_score(found.score), cosines.get(found.image_id, -1.0))
    return {image_id: cosines[image_id] for image_id in sorted(ranks, key=lambda each: (ranks[each], -cosines[each], each))}


def choose_candidates(candidates: Sequence[Candidate], most: int) -> dict[str, str]:
    """The first candidates with so many different fingerprints, by image id: another post of the same picture costs nothing."""
    chosen: dict[str, str] = {}
    fingerprints: set[str] = set()
    for candidate in candidates:
        if candidate.fingerprint in fingerprints or len(fingerprints) < most:
            fingerprints.add(candidate.fingerprint)
            chosen[candidate.image_id] = candidate.fingerprint
    return chosen


def build_matches(compared: Mapping[str, PrintComparison], cosines: Mapping[str, float], calibration: Calibration) -> list[Match]:
    """What was compared with how sure that is, and what was not with its cosine, as far as either makes it at least possible."""
    matches = []
    for image_id in {**compared, **cosines}:
        near = cosines.get(image_id, -1.0) >= calibration.possible_at
        result = compared.get(image_id)
        if result is not None and result.probability >= (MIN_NEAR_PROBABILITY if near else POSSIBLE_AT):
            evidence = result.evidence if result.probability >= POSSIBLE_AT else Evidence(by="vector")
            matches.append(Match(image_id=image_id, score=round_score(result.probability), evidence=evidence))
        elif result is None and near:
            matches.append(Match(image_id=image_id, score=cosines[image_id]))
    return matches


@dataclass(frozen=True, slots=True)
class MatchExplainer:
    """The log, where pictures and fingerprints of questions and of the archive lie, and who draws."""

    journal: Journal
    questions: BlobStore
    archive: BlobStore
    drawing: DrawExplanation

    async def __call__(self, found: SearchMatched, match: Match, document: Document, locale: str) -> bytes | None:
        """The picture of why an archived image was found; None where there is no evidence, or what was compared is gone."""
        asked = await self.journal.fetch(SearchFingerprinted, found.guild_id, found.search_id)
        archived = await self.journal.fetch(ImageFingerprinted, found.guild_id, match.image_id, found.generation)
        media = document.get("media")
        if match.evidence is None or asked is None or archived is None or media is None:
            return None
        try:
            return await self.drawing(
                await self.questions.get(asked.pixels),
                await self.archive.get(media["pixels"]),
                await self.questions.get(asked.fingerprint),
                await self.archive.get(archived.fingerprint),
                match.evidence,
                locale,
            )
        except (BlobMissing, ValueError):
            return None
