"""The stage judge: turns a vote into an entry of the evaluation set. Replay-safe: it only reads.

The entry has all that is needed to repeat the search. The query picture stays in the blob store after the facts of the search have
expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.events import Fact, Match, SearchDescribed, SearchJudged, SearchMatched, SearchPreprocessed, SearchVoted
from contracts.ports import Journal
from contracts.stage import Stage


@dataclass(frozen=True, slots=True)
class Deps:
    """`journal` has the facts of a search for a week."""

    journal: Journal


async def handle(event: SearchVoted, deps: Deps) -> Sequence[Fact]:
    """Join search and vote. Nothing happens if the log no longer has the search, or if the answer did not show the image."""
    search = (event.guild_id, event.search_id)
    matched = await deps.journal.fetch(SearchMatched, *search)
    shown = None if matched is None else find_match(matched.matches, event.image_id)
    if matched is None or shown is None:
        return ()
    preprocessed = await deps.journal.fetch(SearchPreprocessed, *search) if matched.by == "image" else None
    described = await deps.journal.fetch(SearchDescribed, *search) if matched.by == "text" else None
    if preprocessed is None and described is None:
        return ()
    return (
        SearchJudged(
            guild_id=event.guild_id,
            search_id=event.search_id,
            interaction_id=event.interaction_id,
            image_id=event.image_id,
            right=event.right,
            voter_id=event.voter.id,
            judged_at=event.voted_at,
            generation=matched.generation,
            score=shown.score,
            pixels=None if preprocessed is None else preprocessed.pixels,
            words=None if described is None else format_words(described),
        ),
    )


def find_match(matches: Sequence[Match], image_id: str) -> Match | None:
    """Find the match whose best post, or other post, is this image."""
    return next((match for match in matches if image_id == match.image_id or image_id in match.posts), None)


def format_words(described: SearchDescribed) -> str:
    """Format the query as it was typed, excluded words included: `dragon -red`."""
    return " ".join([described.words, *(f"-{word}" for word in described.excluded)])


STAGE = Stage(name="judge", consumes=(SearchVoted,), emits=(SearchJudged,), handle=handle, deps=Deps)
