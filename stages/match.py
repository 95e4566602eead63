"""The stage match: finds the pieces that a query shows, and the verdict. Replay-safe: it only reads; the first result counts.

The very same file comes first: a picture with nothing to see in it is found by the SHA-256 of its file alone. A picture is compared
with likely archived pictures by their fingerprints (stages/matching.py). Words, and pictures in a generation without fingerprints,
are compared by vectors alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import BlobMissing
from contracts.events import By, Calibration, Evidence, Fact, Match, SearchEmbedded, SearchMatched, Verdict
from contracts.ports import BlobStore, Catalogue, Neighbour, VectorSearch
from contracts.stage import Stage
from stages.matching import (
    ArchiveFingerprints,
    find_matches,
    is_another_piece,
    is_same_piece,
    is_verified,
    judge_match,
    may_be_seen,
    parse_post_time,
    passes_filters,
    round_score,
    select_allowed,
)

NEIGHBOURS_PER_PIECE = 4
"""Neighbours requested at first for each wanted piece. If they are posts of too few pieces, four times as many are requested."""

MAX_NEIGHBOURS = 2_560
"""Maximum number of neighbours: a filter that few images pass must not make a search read the whole archive."""

MAX_POSTS = 200
"""Maximum number of other posts listed for one piece."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`questions` is the blob store of query fingerprints; if it is None, only vectors are compared."""

    vectors: VectorSearch
    catalogue: Catalogue
    questions: BlobStore | None = None
    prints: ArchiveFingerprints | None = None


def judge_similarity(score: float | None, calibration: Calibration, by: By = "image") -> Verdict:
    """Return the verdict for the best similarity with this encoder; None: there was nothing to compare.

    Words never prove a match.
    """
    return "none" if score is None else judge_match(Match(image_id="best", score=score), calibration, by)


def select_possible(neighbours: Sequence[Neighbour], calibration: Calibration) -> tuple[Match, ...]:
    """Select the neighbours that are at least possible matches, in the same order."""
    scored = (Match(image_id=found.image_id, score=round_score(found.score)) for found in neighbours)
    return tuple(match for match in scored if match.score >= calibration.possible_at)


async def handle(event: SearchEmbedded, deps: Deps) -> Sequence[Fact]:
    """Find pieces within the guild, the generation and the channels that the asker may read."""
    pieces = await find_pieces(event, deps)
    return [
        SearchMatched(
            guild_id=event.guild_id,
            search_id=event.search_id,
            question=event.question,
            generation=event.generation,
            verdict=judge_match(pieces[0], event.calibration, event.by) if pieces else "none",
            matches=tuple(pieces),
            trained=event.trained,
            by=event.by,
            calibration=event.calibration,
            spoiler=event.spoiler,
        )
    ]


async def find_pieces(event: SearchEmbedded, deps: Deps) -> list[Match]:
    """Find the pieces that the query may show, best first: by its file, then by fingerprints if there are some, else by vectors."""
    same_file = await find_same_file(event, deps)
    asked = await _get_query_fingerprint(event, deps)
    if asked is None or deps.prints is None or not await deps.prints.features.size(event.guild_id, event.generation):
        return await _find_pieces_by_vector(event, deps, same_file)
    matches = await find_matches(event, asked, deps.vectors, deps.catalogue, deps.prints)
    return await _group_into_pieces(matches, event, deps, same_file)


async def find_same_file(event: SearchEmbedded, deps: Deps) -> Match | None:
    """Find the images whose file is the query's, byte for byte: one piece, the earliest post first. None if there is none."""
    if event.file is None:
        return None
    question, found = event.question, await deps.catalogue.find_file(event.guild_id, event.file)
    documents = {image_id: entry.document for image_id, entry in found.items()}
    shown = [
        image_id
        for image_id, document in documents.items()
        if may_be_seen(document, event.guild_id, question.readable_channels)
        and (question.filters is None or passes_filters(document, question.filters))
    ]
    if not shown:
        return None
    first, *posts = sorted(shown, key=lambda image_id: (parse_post_time(documents[image_id]), len(image_id), image_id))
    return Match(image_id=first, score=1.0, posts=tuple(posts), evidence=Evidence(by="file"))


async def _get_query_fingerprint(event: SearchEmbedded, deps: Deps) -> bytes | None:
    if event.fingerprint is None or deps.questions is None:
        return None
    try:
        return await deps.questions.get(event.fingerprint)
    except BlobMissing:
        return None


async def _group_into_pieces(matches: Sequence[Match], event: SearchEmbedded, deps: Deps, same_file: Match | None) -> list[Match]:
    """Group matches into pieces, best first. A match that is verified in another place of the query is a piece of its own."""
    pieces, seen = _begin_pieces(None if same_file is None else await _add_verified_posts(same_file, matches, event, deps))
    for match in matches:
        if len(pieces) == event.question.top:
            break
        if match.image_id in seen:
            continue
        posts = await _find_posts(match, matches, event, deps)
        kept = [post for post in posts if post not in seen][:MAX_POSTS]
        pieces.append(match.model_copy(update={"posts": tuple(kept)}))
        seen.update(posts, [match.image_id])
    return pieces


def _begin_pieces(first: Match | None) -> tuple[list[Match], set[str]]:
    """Begin the list of pieces, and the set of the images that are in one of them."""
    if first is None:
        return [], set()
    return [first.model_copy(update={"posts": first.posts[:MAX_POSTS]})], {first.image_id, *first.posts}


async def _add_verified_posts(same_file: Match, matches: Sequence[Match], event: SearchEmbedded, deps: Deps) -> Match:
    """Add the posts of the piece whose file is another one, if the comparison verified one of its posts, too.

    That may be another post, since the one with the same file may be so new that it has no fingerprint yet. The comparison does not
    verify blank pictures: they all look alike, and are not one piece.
    """
    known = [same_file.image_id, *same_file.posts]
    own = [match for match in matches if match.image_id in known and is_verified(match)]
    verified = next(iter([*own, *(match for match in matches if is_same_piece(same_file, match))]), None)
    if verified is None:
        return same_file
    posts = dict.fromkeys([*known[1:], verified.image_id, *await _find_posts(verified, matches, event, deps)])
    return same_file.model_copy(update={"posts": tuple(post for post in posts if post != same_file.image_id)})


async def _find_posts(match: Match, matches: Sequence[Match], event: SearchEmbedded, deps: Deps) -> list[str]:
    """Find the other posts of a match's piece: among the matches, by its link to the first post, and by its vector."""
    same = [other.image_id for other in matches if other is not match and is_same_piece(match, other)]
    others = {match.image_id, *(other.image_id for other in matches if is_another_piece(match, other))} - {*same}
    alike = [*await _find_first_post(match, event, deps), *await _find_similar_posts(match, event, deps)]
    return list(dict.fromkeys([*same, *(post for post in alike if post not in others)]))


async def _find_pieces_by_vector(event: SearchEmbedded, deps: Deps, same_file: Match | None) -> list[Match]:
    """Find the nearest pieces, best first, behind the piece with the query's file.

    Each neighbour that is not a post of an earlier piece is the best post of a new piece.
    """
    question, (pieces, seen) = event.question, _begin_pieces(same_file)
    wanted = NEIGHBOURS_PER_PIECE * question.top
    while len(pieces) < question.top:
        neighbours = await deps.vectors.search(
            event.guild_id, event.generation, event.vector, top=wanted, channels=question.readable_channels
        )
        possible = select_possible(neighbours, event.calibration)
        unseen = [match for match in possible if match.image_id not in seen]
        allowed = await select_allowed([match.image_id for match in unseen], question.filters, deps.catalogue)
        for match in unseen:
            if match.image_id in allowed and match.image_id not in seen:
                posts = [post for post in await _find_similar_posts(match, event, deps) if post not in seen]
                pieces.append(match.model_copy(update={"posts": tuple(posts[:MAX_POSTS])}))
                seen.update(posts, [match.image_id])
                if len(pieces) == question.top:
                    return pieces
        if len(possible) < wanted or wanted == MAX_NEIGHBOURS:
            return pieces
        seen.update(match.image_id for match in unseen)
        wanted = min(4 * wanted, MAX_NEIGHBOURS)
    return pieces


async def _find_similar_posts(match: Match, event: SearchEmbedded, deps: Deps) -> list[str]:
    """Find the other posts of a piece by their vectors, including those that are less like the query."""
    question = event.question
    alike = await deps.vectors.find_similar(
        event.guild_id,
        event.generation,
        match.image_id,
        at_least=event.calibration.match_at,
        top=MAX_NEIGHBOURS,
        channels=question.readable_channels,
    )
    posts = [found.image_id for found in alike]
    allowed = await select_allowed(posts, question.filters, deps.catalogue)
    return [post for post in posts if post in allowed]


async def _find_first_post(match: Match, event: SearchEmbedded, deps: Deps) -> list[str]:
    """Return the first post that the image was linked to as a repost, if the asker may read it."""
    if not is_verified(match):
        return []
    entry = (await deps.catalogue.entries([match.image_id])).get(match.image_id)
    origin = entry.document.get("repost_of", {}).get("image_id") if entry else None
    if origin is None:
        return []
    first = (await deps.catalogue.entries([origin])).get(origin)
    if first is None or not may_be_seen(first.document, event.guild_id, event.question.readable_channels):
        return []
    return list(await select_allowed([origin], event.question.filters, deps.catalogue))


STAGE = Stage(name="match", consumes=(SearchEmbedded,), emits=(SearchMatched,), handle=handle, deps=Deps)
