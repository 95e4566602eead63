"""What generations are compared by: questions of which something is known about the right answer."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from contracts.events import Match, SearchJudged, Verdict


@dataclass(frozen=True, slots=True)
class Answer:
    """What a generation answers: `sure` are the pieces that it calls a match. The verdict is `error` for words it cannot read."""

    verdict: Verdict
    pieces: Sequence[Match]
    sure: Sequence[Match]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Query:
    """A question: a `picture` in the store of questions, or `words`.

    `expected` are the images that are right answers, `wrong` those that are known to be none. With neither of them it is known that
    no picture in the archive is right.
    """

    name: str
    kind: str
    guild_id: str
    picture: str | None = None
    words: str | None = None
    expected: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()

    @property
    def unmatched(self) -> bool:
        """Whether it is known that nothing is to be found."""
        return not self.expected and not self.wrong


def judged_queries(judgements: Sequence[SearchJudged], archived: Collection[str]) -> list[Query]:
    """The searches that people judged, in the order in which they were. Pure.

    The last vote of a person on an image counts; where people differ the majority does, and where that is a tie none. Images that
    are not `archived` any more, and searches that are left without any, are left out.
    """
    last = {
        (vote.guild_id, vote.search_id, vote.image_id, vote.voter_id): vote
        for vote in sorted(judgements, key=lambda vote: (vote.judged_at, vote.interaction_id))
    }
    searches: dict[tuple[str, str], list[SearchJudged]] = {}
    for vote in last.values():
        if vote.image_id in archived and (vote.pixels or vote.words):
            searches.setdefault((vote.guild_id, vote.search_id), []).append(vote)
    queries = []
    for (guild_id, search_id), votes in searches.items():
        balance = dict.fromkeys((vote.image_id for vote in votes), 0)
        for vote in votes:
            balance[vote.image_id] += 1 if vote.right else -1
        query = Query(
            name=f"“{votes[0].words}”" if votes[0].words else f"search {search_id}",
            kind="judged searches",
            guild_id=guild_id,
            picture=votes[0].pixels,
            words=votes[0].words,
            expected=frozenset(image for image, votes_for in balance.items() if votes_for > 0),
            wrong=frozenset(image for image, votes_for in balance.items() if votes_for < 0),
        )
        if not query.unmatched:
            queries.append(query)
    return queries
