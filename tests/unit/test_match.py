"""The match stage on the real embedded index."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from contracts.events import Calibration, LocalReply, Match, Person, Question, SearchEmbedded, SearchMatched
from contracts.ports import Neighbour
from infra.vectors.index import EmbeddedIndex
from stages.match import STAGE, Deps, handle, matches_of, verdict_of

CALIBRATION = Calibration(match_at=0.9, possible_at=0.6)


def at_cosine(cosine: float) -> bytes:
    return np.array([cosine, np.sqrt(1 - cosine**2), 0, 0], "<f4").tobytes()


def question(channels: tuple[str, ...] | None = None, top: int = 3) -> Question:
    return Question(
        asker=Person(id="5", name="Ada"),
        requested_at=datetime(2026, 11, 21, tzinfo=UTC),
        reply=LocalReply(),
        readable_channels=channels,
        top=top,
    )


def embedded(
    channels: tuple[str, ...] | None = None, *, guild: str = "7", generation: str = "g1", top: int = 3, trained: bool = True
) -> SearchEmbedded:
    return SearchEmbedded(
        guild_id=guild,
        search_id="99",
        question=question(channels, top),
        generation=generation,
        vector=at_cosine(1),
        calibration=CALIBRATION,
        trained=trained,
    )


async def matched(event: SearchEmbedded, *images: tuple[str, str, float]) -> SearchMatched:
    """What is matched when guild 7 holds these (id, channel, cosine) in generation g1."""
    index = EmbeddedIndex()
    for image_id, channel_id, cosine in images:
        index.add("7", "g1", image_id, channel_id, at_cosine(cosine))
    (fact,) = await handle(event, Deps(vectors=index))
    assert isinstance(fact, SearchMatched)
    return fact


class Returns:
    """A VectorSearch of another make, which gives scores as they are."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        return [Neighbour(str(number), score) for number, score in enumerate(self.scores)]


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(1.0, "match"), (0.9, "match"), (0.899999, "possible"), (0.6, "possible"), (0.599999, "none"), (-1.0, "none"), (None, "none")],
)
def test_the_best_score_is_read_by_the_encoders_calibration(score: float | None, verdict: str) -> None:
    assert verdict_of(score, CALIBRATION) == verdict


def test_scores_are_clipped_rounded_and_kept_in_order() -> None:
    found = [Neighbour("1", 1.00001), Neighbour("2", 0.87654321), Neighbour("3", 0.6), Neighbour("4", 0.59)]
    assert matches_of(found, CALIBRATION) == (
        Match(image_id="1", score=1.0),
        Match(image_id="2", score=0.876543),
        Match(image_id="3", score=0.6),
    )


async def test_a_match_shows_what_is_at_least_possible_best_first() -> None:
    fact = await matched(embedded(), ("10", "1", 0.7), ("11", "1", 0.95), ("12", "1", 0.3))
    assert (fact.verdict, [match.image_id for match in fact.matches]) == ("match", ["11", "10"])
    assert fact.matches[0].score == pytest.approx(0.95, abs=1e-3)


async def test_a_possible_match_shows_what_it_found() -> None:
    fact = await matched(embedded(), ("10", "1", 0.7), ("12", "1", 0.3))
    assert (fact.verdict, [match.image_id for match in fact.matches]) == ("possible", ["10"])


@pytest.mark.parametrize("images", [(), (("10", "1", 0.5),)], ids=["nothing archived", "nothing near"])
async def test_an_honest_no_match_shows_nothing(images: tuple[tuple[str, str, float], ...]) -> None:
    fact = await matched(embedded(), *images)
    assert (fact.verdict, fact.matches) == ("none", ())


async def test_a_score_that_is_told_as_a_match_is_judged_as_one() -> None:
    (fact,) = await handle(embedded(), Deps(vectors=Returns(0.8999999)))
    assert isinstance(fact, SearchMatched)
    assert (fact.verdict, fact.matches[0].score) == ("match", 0.9)


@pytest.mark.parametrize(
    ("channels", "shown"),
    [(None, ["10", "11"]), (("1",), ["10"]), (("2", "3"), ["11"]), ((), [])],
    ids=["all", "one", "another", "none"],
)
async def test_only_what_the_asker_may_read_is_matched(channels: tuple[str, ...] | None, shown: list[str]) -> None:
    fact = await matched(embedded(channels), ("10", "1", 0.99), ("11", "2", 0.95))
    assert [match.image_id for match in fact.matches] == shown
    assert fact.verdict == ("match" if shown else "none")


async def test_the_question_s_top_bounds_the_matches() -> None:
    fact = await matched(embedded(top=2), ("10", "1", 0.99), ("11", "1", 0.98), ("12", "1", 0.97))
    assert [match.image_id for match in fact.matches] == ["10", "11"]


@pytest.mark.parametrize("event", [embedded(guild="8"), embedded(generation="g2")], ids=["another guild", "another generation"])
async def test_nothing_is_matched_across_guilds_or_generations(event: SearchEmbedded) -> None:
    fact = await matched(event, ("10", "1", 0.99))
    assert (fact.verdict, fact.matches) == ("none", ())


@pytest.mark.parametrize("trained", [True, False])
async def test_what_belongs_to_the_question_travels_on(trained: bool) -> None:
    event = embedded(("1",), trained=trained)
    fact = await matched(event, ("10", "1", 0.99))
    assert (fact.guild_id, fact.search_id, fact.question, fact.generation) == ("7", "99", event.question, "g1")
    assert fact.trained is trained


def test_the_stage_is_declared() -> None:
    assert (STAGE.name, STAGE.consumes, STAGE.emits) == ("match", (SearchEmbedded,), (SearchMatched,))
