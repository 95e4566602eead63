"""Finds what a picture shows: gather candidates, compare their fingerprints with the query, rank, judge and explain the matches.

The cost is bounded, whatever the query and the size of the archive: the numbers of candidates and of query vectors are limited, and
each fingerprint is read and compared once, however often its picture was posted.
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
"""Probability from which a result is called a match: nine of ten answers with this probability are right."""

VERIFIED_AT: Final = 0.5
"""Probability from which a result counts as verified, not only similar: it is right at least as often as it is wrong."""

POSSIBLE_AT: Final = 0.15
"""Probability from which a piece is shown as possible. The asker sees at a glance whether it is the right one.

About one in six results with this probability is right. They are rare: of 220 searches without a match, eight had a possible one.
"""

SURENESS_DECIMALS: Final = 3
"""Probabilities that are equal to this many decimals rank equally."""

SAME_PLACE_IOU: Final = 0.7
"""Intersection over union from which two outlines in the query are taken for the same thing."""

WHOLE_FRACTION: Final = 0.85
"""A match shows a whole picture if at least this fraction of it is inside the other, and if outline and frame have this IoU."""

FULL_FRAME: Final[Quad] = (0, 0, 1, 0, 1, 1, 0, 1)

Point = tuple[float, float]

SCORE_DECIMALS: Final = 6
"""Decimals of a score."""

MAX_BY_FEATURES = 16
"""Maximum number of different fingerprints compared because of common features or near hashes."""

MAX_BY_VECTOR = 6
"""Maximum number of different fingerprints compared in addition because a vector of the query is near."""

MAX_BY_COLOURS = 4
"""Maximum number of different fingerprints compared in addition because the query may be a part of them by its colours."""

CANDIDATES_PER_SOURCE = 64
"""Candidates requested from each index. Many, because several may be posts of one picture, or turn out to be different."""

MIN_NEAR_PROBABILITY = 0.1
"""Minimum probability for a near vector to count as possible. Below it, the comparison rather says that they differ."""

FILTERED_FACTOR = 8
"""With filters, which may exclude most candidates, this many times more candidates are requested."""

DrawExplanation = Callable[[bytes, bytes, bytes, bytes, Evidence, str], Awaitable[bytes]]
"""Draws a PNG from both pictures (PNG, the query first), both fingerprints, the evidence, and the locale of the captions.

Raises ValueError if one of them cannot be read.
"""


@dataclass(frozen=True, slots=True)
class ArchiveFingerprints:
    """Access to archived fingerprints: the feature index, the comparer, and the blob store."""

    features: FeatureSearch
    comparer: PrintComparer
    archive: BlobStore


async def compare_with_archive(
    query: bytes, archived: Mapping[str, str], similarities: Mapping[str, float], prints: ArchiveFingerprints, *, among: int
) -> dict[str, PrintComparison]:
    """Compare a query's fingerprint with archived images.

    `archived` has the blob of each image's fingerprint, by image id.
    Images whose fingerprint is lost or unreadable are left out. `similarities` are the cosines by image id, where known.
    """
    posts: dict[str, list[str]] = {}
    for image_id, blob in archived.items():
        posts.setdefault(blob, []).append(image_id)
    read = await asyncio.gather(*(_get_blob(blob, prints.archive) for blob in posts))
    data = {blob: found for blob, found in zip(posts, read, strict=True) if found is not None}
    if not data:
        return {}
    cosines = {blob: max(known) for blob in data if (known := [similarities[each] for each in posts[blob] if each in similarities])}
    compared = await prints.comparer.compare(query, data, cosines, among=among)
    return {image_id: compared[blob] for blob in compared for image_id in posts[blob]}


async def _get_blob(blob: str, archive: BlobStore) -> bytes | None:
    try:
        return await archive.get(blob)
    except BlobMissing:
        return None


def parse_post_time(document: Document) -> datetime:
    """Return when the image of a catalogue document was posted."""
    return datetime.fromisoformat(document["metadata"]["upload_timestamp"])


def passes_filters(document: Document, filters: Filters) -> bool:
    """Whether a post has the author and time that the filters ask for."""
    metadata = document.get("metadata")
    if metadata is None:
        return False
    posted_at = parse_post_time(document)
    return (
        filters.author_id in (None, metadata["user_id"])
        and (filters.after is None or posted_at >= filters.after)
        and (filters.before is None or posted_at < filters.before)
    )


def may_be_seen(document: Document, guild_id: str, readable: Collection[str] | None) -> bool:
    """Whether the post is in this guild, and in a readable channel or a public thread of one. `readable`: None means all."""
    metadata = document.get("metadata")
    if metadata is None or metadata["guild_id"] != guild_id:
        return False
    return readable is None or (metadata.get("thread_of") or metadata["channel_id"]) in readable


async def select_allowed(image_ids: Collection[str], filters: Filters | None, catalogue: Catalogue) -> Collection[str]:
    """Select the images that pass the filters. Without filters all pass, and no document is read."""
    if filters is None or not image_ids:
        return frozenset(image_ids)
    entries = await catalogue.entries(image_ids)
    return {image_id for image_id, entry in entries.items() if passes_filters(entry.document, filters)}


def judge_match(match: Match, calibration: Calibration, by: By = "image") -> Verdict:
    """Return the verdict on a match. Words never prove a match, nor do vectors of pictures whose fingerprints could be compared."""
    if match.evidence is None:
        if match.score < calibration.possible_at:
            return "none"
        return "match" if match.score >= calibration.match_at and by == "image" else "possible"
    if match.evidence.by == "vector":
        return "possible"
    return "match" if match.score >= MATCH_AT else "possible" if match.score >= POSSIBLE_AT else "none"


def rank_matches(matches: Sequence[Match], calibration: Calibration, cosines: Mapping[str, float]) -> list[Match]:
    """Sort matches: matches before possible ones, verified before only similar, then by probability, then by agreement.

    Posts of one piece with equal probability differ in agreement only by chance, so the most similar comes first, then the
    earliest.
    """

    def agreement(match: Match) -> float:
        return match.evidence.agreement if match.evidence and match.evidence.agreement is not None else -1.0

    def rank(match: Match) -> tuple[bool, bool, float, float, str]:
        unsure, unverified = judge_match(match, calibration) != "match", not is_verified(match)
        return unsure, unverified, -_round_probability(match), -agreement(match), match.image_id

    def alike(match: Match) -> tuple[float, float, int, str]:
        return -cosines.get(match.image_id, -1.0), -agreement(match), len(match.image_id), match.image_id

    left, in_order = sorted(matches, key=rank), list[Match]()
    while left:
        best, *others = left
        posts = [other for other in others if _round_probability(other) == _round_probability(best) and is_same_piece(best, other)]
        in_order += sorted([best, *posts], key=alike)
        left = [other for other in others if other not in posts]
    return in_order


def _round_probability(match: Match) -> float:
    return round(match.score, SURENESS_DECIMALS)


def is_verified(match: Match) -> bool:
    """Whether there is more evidence than the vectors."""
    return match.evidence is not None and match.evidence.by != "vector" and match.score >= VERIFIED_AT


def is_same_piece(one: Match, other: Match) -> bool:
    """Whether two archived images are posts of one piece: both are sure matches in the same place of the query."""
    return is_verified(one) and is_verified(other) and min(one.score, other.score) >= MATCH_AT and _in_same_place(one, other)


def is_another_piece(one: Match, other: Match) -> bool:
    """Whether `other` is verified in another place of the query than `one`. Then they are separate pieces."""
    return is_verified(other) and not (is_verified(one) and _in_same_place(one, other))


def _in_same_place(one: Match, other: Match) -> bool:
    if one.evidence is None or other.evidence is None:
        return False
    return quad_iou(locate_match(one.evidence), locate_match(other.evidence)) >= SAME_PLACE_IOU


def is_whole_piece(compared: PrintComparison) -> bool:
    """Whether two archived pictures surely show the same whole piece, and neither is a part of the other."""
    evidence = compared.evidence
    sure = compared.probability >= MATCH_AT and evidence.by != "vector"
    return sure and evidence.shown >= WHOLE_FRACTION and quad_iou(locate_match(evidence), FULL_FRAME) >= WHOLE_FRACTION


def locate_match(evidence: Evidence) -> Quad:
    """Return where in the query the archived picture lies: the whole frame if nothing else was found."""
    return FULL_FRAME if evidence.place is None else evidence.place


def quad_iou(one: Quad, other: Quad) -> float:
    """Return the intersection over union of two convex outlines, in either direction of rotation; 0 if one has no area."""
    first, second = _clockwise(one), _clockwise(other)
    common = abs(_area(_clip(first, second)))
    union = _area(first) + _area(second) - common
    return common / union if min(_area(first), _area(second)) > 0 else 0.0


def _clockwise(quad: Quad) -> list[Point]:
    points = list(zip(quad[::2], quad[1::2], strict=True))
    return points if _area(points) >= 0 else points[::-1]


def _area(points: Sequence[Point]) -> float:
    """Return the area of a polygon; negative if it goes counter-clockwise."""
    return sum(x * v - u * y for (x, y), (u, v) in zip(points, [*points[1:], *points[:1]], strict=True)) / 2


def _clip(polygon: Sequence[Point], by: Sequence[Point]) -> list[Point]:
    """Clip a polygon by a convex one, edge by edge (Sutherland and Hodgman)."""
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
    """Round a similarity to a score, so that verdict and display agree. At most 1: float sums exceed it by a little."""
    return round(min(similarity, 1.0), SCORE_DECIMALS)


async def find_matches(
    event: SearchEmbedded, query: bytes, vectors: VectorSearch, catalogue: Catalogue, prints: ArchiveFingerprints
) -> list[Match]:
    """Find all images that are at least possible matches, best first. `query` is the query's fingerprint.

    An image without a fingerprint, or whose fingerprint is lost, is judged by its vector, as in a generation without fingerprints.
    """
    guild, generation, question = event.guild_id, event.generation, event.question
    top = CANDIDATES_PER_SOURCE * (1 if question.filters is None else FILTERED_FACTOR)
    channels = question.readable_channels
    shared, near = await asyncio.gather(
        prints.features.candidates(guild, generation, query, top=top, channels=channels),
        _find_neighbours(event, vectors, top),
    )
    coloured = await prints.features.find_by_colour(guild, generation, query, top=top, channels=channels)
    cosines = fuse_neighbours(near)
    found = {*cosines, *(each.image_id for each in (*shared, *coloured))}
    allowed = await select_allowed(found, question.filters, catalogue)
    cosines = {image_id: cosine for image_id, cosine in cosines.items() if image_id in allowed}
    shared, coloured = ([each for each in some if each.image_id in allowed] for some in (shared, coloured))
    known = await prints.features.fingerprints(guild, generation, cosines)
    chosen = choose_candidates(shared, MAX_BY_FEATURES)
    chosen |= choose_candidates([each for each in coloured if each.image_id not in chosen], MAX_BY_COLOURS)
    chosen |= choose_candidates([known[each] for each in cosines if each in known and each not in chosen], MAX_BY_VECTOR)
    among = await prints.features.size(guild, generation)
    compared = await compare_with_archive(query, chosen, cosines, prints, among=among)
    cosines_only = {each: cosine for each, cosine in cosines.items() if each not in known or each in chosen}
    return rank_matches(build_matches(compared, cosines_only, event.calibration), event.calibration, cosines)


async def _find_neighbours(event: SearchEmbedded, vectors: VectorSearch, top: int) -> Sequence[Sequence[Neighbour]]:
    """Find the neighbours of the whole query and of each of its regions."""
    channels = event.question.readable_channels
    views = (event.vector, *event.views)
    return await asyncio.gather(
        *(vectors.search(event.guild_id, event.generation, view, top=top, channels=channels) for view in views)
    )


def fuse_neighbours(lists: Sequence[Sequence[Neighbour]]) -> dict[str, float]:
    """Merge the neighbours of several vectors by best rank: those ranked first by any vector, then second, and so on.

    Return the best cosine of each, in that order.
    """
    ranks: dict[str, int] = {}
    cosines: dict[str, float] = {}
    for neighbours in lists:
        for rank, found in enumerate(neighbours):
            ranks[found.image_id] = min(rank, ranks.get(found.image_id, rank))
            cosines[found.image_id] = max(round_score(found.score), cosines.get(found.image_id, -1.0))
    return {image_id: cosines[image_id] for image_id in sorted(ranks, key=lambda each: (ranks[each], -cosines[each], each))}


def choose_candidates(candidates: Sequence[Candidate], most: int) -> dict[str, str]:
    """Choose the first candidates that have at most `most` different fingerprints. Return fingerprint by image id.

    Further posts of a chosen picture are included, since they cost nothing.
    """
    chosen: dict[str, str] = {}
    fingerprints: set[str] = set()
    for candidate in candidates:
        if candidate.fingerprint in fingerprints or len(fingerprints) < most:
            fingerprints.add(candidate.fingerprint)
            chosen[candidate.image_id] = candidate.fingerprint
    return chosen


def build_matches(compared: Mapping[str, PrintComparison], cosines: Mapping[str, float], calibration: Calibration) -> list[Match]:
    """Build the matches that are at least possible: with the probability if the image was compared, else with its cosine."""
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
    """Draws why an image was found. `questions` is the blob store of queries, `archive` that of archived images."""

    journal: Journal
    questions: BlobStore
    archive: BlobStore
    draw: DrawExplanation

    async def __call__(self, found: SearchMatched, match: Match, document: Document, locale: str) -> bytes | None:
        """Draw why an archived image was found, as PNG. None if there is no evidence, or if what was compared is gone."""
        query = await self.journal.fetch(SearchFingerprinted, found.guild_id, found.search_id)
        archived = await self.journal.fetch(ImageFingerprinted, found.guild_id, match.image_id, found.generation)
        media = document.get("media")
        if match.evidence is None or query is None or archived is None or media is None:
            return None
        try:
            return await self.draw(
                await self.questions.get(query.pixels),
                await self.archive.get(media["pixels"]),
                await self.questions.get(query.fingerprint),
                await self.archive.get(archived.fingerprint),
                match.evidence,
                locale,
            )
        except (BlobMissing, ValueError):
            return None
