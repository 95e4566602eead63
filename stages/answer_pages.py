"""Builds the pages of an answer from the matches of a search. Pure.

A page is built for each viewer and at each view: images removed since the search, and posts that the viewer may not read, are left
out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from contracts.events import Match, Question, SearchMatched, SearchRejected, Verdict
from contracts.ports import AnswerPage, Document, FoundPost, Piece
from stages.matching import judge_match, may_be_seen, parse_post_time

PageView = Literal["piece", "posts", "why"]


@dataclass(frozen=True, slots=True)
class VisiblePiece:
    """A piece with at least one post that the viewer may see, and its verdict."""

    piece: Piece
    verdict: Verdict


def build_empty_page(search_id: str, viewer: Question, verdict: Verdict, problem: SearchRejected | None = None) -> AnswerPage:
    """Build a page without a piece. An error without `problem` means that the log no longer has the search."""
    return AnswerPage(
        search_id=search_id, asker_id=viewer.asker.id, verdict=verdict, trained=True, locale=viewer.locale, problem=problem
    )


def build_page(
    event: SearchMatched,
    documents: Mapping[str, Document],
    viewer: Question,
    *,
    number: int = 0,
    view: PageView = "piece",
    page: int = 0,
) -> AnswerPage:
    """Build the page of piece `number` as the viewer may see it, without thumbnail. If there are fewer pieces, show the last one.

    The verdict on the whole search is that of the best piece that is left.
    """
    answer = replace(build_empty_page(event.search_id, viewer, "none"), trained=event.trained, by=event.by, spoiler=event.spoiler)
    shown = list_visible_pieces(event, documents, viewer.readable_channels)
    if not shown:
        return answer
    number = min(number, len(shown) - 1)
    return replace(
        answer,
        verdict=shown[0].verdict,
        piece=shown[number].piece,
        piece_verdict=shown[number].verdict,
        number=number,
        pieces=len(shown),
        view=view,
        page=page,
    )


def list_visible_pieces(
    event: SearchMatched, documents: Mapping[str, Document], readable: Collection[str] | None
) -> Sequence[VisiblePiece]:
    """List the pieces that are left, best first, at most `top` of the search. `readable` are channels (None: all).

    The best post of a piece is the matched one. If the viewer may not see that, it is the first post. That one has no score, since
    it was never compared with the query.
    """
    if event.verdict not in ("match", "possible"):
        return ()
    pieces = []
    for rank, match in enumerate(event.matches):
        posts = [
            _build_post(image_id, match, documents[image_id])
            for image_id in {match.image_id, *match.posts}
            if image_id in documents and may_be_seen(documents[image_id], event.guild_id, readable)
        ]
        posts.sort(key=lambda post: (parse_post_time(post.document), post.image_id))
        matched = next((post for post in posts if post.image_id == match.image_id), None)
        if posts:
            pieces.append(
                VisiblePiece(Piece(matched or posts[0], posts), _judge_piece(event, match, rank) if matched else "possible")
            )
    return pieces[: event.question.top]


def _build_post(image_id: str, match: Match, document: Document) -> FoundPost:
    compared = image_id == match.image_id
    return FoundPost(image_id, match.score if compared else None, document, None, match.evidence if compared else None)


def _judge_piece(event: SearchMatched, match: Match, rank: int) -> Verdict:
    """Judge a piece. An older fact has no calibration; its verdict is about the best piece only."""
    if event.calibration is None:
        return event.verdict if rank == 0 else "possible"
    return "match" if judge_match(match, event.calibration, event.by) == "match" else "possible"
