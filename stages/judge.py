"""Judge: a vote becomes an entry of the evaluation set, with all that is needed to ask again. Replay-safe: it only reads.

The question's picture lies under its digest in the store of blobs, where it stays when the search's own facts have expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.events import Fact, Match, SearchDescribed, SearchJudged, SearchMatched, SearchPreprocessed, SearchVoted
from contracts.ports import Journal
from contracts.stage import Stage


@dataclass(frozen=True, slots=True)
class Deps:
    """The log, which holds the search for a week."""

    journal: Journal


async def handle(event: SearchVoted, deps: Deps) -> Sequence[Fact]:
    """Put question and vote together; nothing when the log holds the search no more, or its answer did not show the image."""
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
    """The piece by which the answer showed the image: as the best post of it, or as another one."""
    return next((match for match in matches if image_id == match.image_id or image_id in match.posts), None)


def format_words(described: SearchDescribed) -> str:
    """The words as they were typed, with those that were excluded: `dragon -red`."""
    return " ".join([described.words, *(f"-{word}" for word in described.excluded)])


STAGE = Stage(name="judge", consumes=(SearchVoted,), emits=(SearchJudged,), handle=handle, deps=Deps)
