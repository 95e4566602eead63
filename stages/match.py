"""Match: one question's vector becomes a verdict and its nearest pieces. Replay-safe: it only reads; the first answer stands."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.events import By, Calibration, Fact, Filters, Match, SearchEmbedded, SearchMatched, Verdict
from contracts.ports import Catalogue, Document, Neighbour, VectorSearch
from contracts.stage import Stage
from stages.scores import score_of

AT_FIRST = 4
"""Neighbours looked at for each piece that is wanted. If they are posts of too few pieces, four times as many are, and so on."""

MOST_NEIGHBOURS = 2_560
"""Neighbours looked at in the end: filters that let hardly any image through must not make a search read a whole archive."""

MOST_POSTS = 200
"""Posts that are told of one piece."""


@dataclass(frozen=True, slots=True)
class Deps:
    """The archive's vectors, and the documents that filters are about."""

    vectors: VectorSearch
    catalogue: Catalogue


def verdict_of(score: float | None, calibration: Calibration, by: By = "image") -> Verdict:
    """What the best similarity means on this encoder; None when there was nothing to compare with. Words never prove a match."""
    if score is None or score < calibration.possible_at:
        return "none"
    return "match" if score >= calibration.match_at and by == "image" else "possible"


def matches_of(neighbours: Sequence[Neighbour], calibration: Calibration) -> tuple[Match, ...]:
    """The neighbours that are at least possible, in their order, with scores of at most 1."""
    scored = (Match(image_id=found.image_id, score=score_of(found.score)) for found in neighbours)
    return tuple(match for match in scored if match.score >= calibration.possible_at)


def passes(document: Document, filters: Filters) -> bool:
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


async def handle(event: SearchEmbedded, deps: Deps) -> Sequence[Fact]:
    """Compare within the guild, the generation and the channels that the asker may read."""
    pieces = await pieces_of(event, deps)
    return [
        SearchMatched(
            guild_id=event.guild_id,
            search_id=event.search_id,
            question=event.question,
            generation=event.generation,
            verdict=verdict_of(pieces[0].score if pieces else None, event.calibration, event.by),
            matches=tuple(pieces),
            trained=event.trained,
            by=event.by,
            calibration=event.calibration,
        )
    ]


async def pieces_of(event: SearchEmbedded, deps: Deps) -> list[Match]:
    """The nearest pieces, best first: each neighbour that is no post of an earlier piece is the best post of the next one."""
    question, pieces, seen = event.question, list[Match](), set[str]()
    wanted = AT_FIRST * question.top
    while True:
        neighbours = await deps.vectors.search(
            event.guild_id, event.generation, event.vector, top=wanted, channels=question.readable_channels
        )
        possible = matches_of(neighbours, event.calibration)
        unseen = [match for match in possible if match.image_id not in seen]
        allowed = await _allowed([match.image_id for match in unseen], question.filters, deps.catalogue)
        for match in unseen:
            if match.image_id in allowed and match.image_id not in seen:
                posts = [post for post in await _posts_like(match, event, deps) if post not in seen]
                pieces.append(match.model_copy(update={"posts": tuple(posts[:MOST_POSTS])}))
                seen.update(posts, [match.image_id])
                if len(pieces) == question.top:
                    return pieces
        if len(possible) < wanted or wanted == MOST_NEIGHBOURS:
            return pieces
        seen.update(match.image_id for match in unseen)
        wanted = min(4 * wanted, MOST_NEIGHBOURS)


async def _posts_like(match: Match, event: SearchEmbedded, deps: Deps) -> list[str]:
    """The other posts of a piece, also those that are less like the question."""
    question = event.question
    alike = await deps.vectors.like(
        event.guild_id,
        event.generation,
        match.image_id,
        at_least=event.calibration.match_at,
        top=MOST_NEIGHBOURS,
        channels=question.readable_channels,
    )
    posts = [found.image_id for found in alike]
    allowed = await _allowed(posts, question.filters, deps.catalogue)
    return [post for post in posts if post in allowed]


async def _allowed(image_ids: Sequence[str], filters: Filters | None, catalogue: Catalogue) -> Collection[str]:
    """Those that the filters let through: without filters all, and no document is read."""
    if filters is None or not image_ids:
        return frozenset(image_ids)
    entries = await catalogue.entries(image_ids)
    return {image_id for image_id, entry in entries.items() if passes(entry.document, filters)}


STAGE = Stage(name="match", consumes=(SearchEmbedded,), emits=(SearchMatched,), handle=handle, deps=Deps)
