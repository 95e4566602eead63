"""The stage judge: what is kept of a vote."""

from typing import Any

import pytest

from contracts.envelope import Origin
from contracts.events import Fact, Match, SearchDescribed, SearchJudged, SearchMatched, SearchPreprocessed, SearchVoted
from stages.judge import STAGE, Deps, handle
from tests.support.facts import ALEX, BLOB, MOMENT, SEARCH
from tests.support.fakes import MemoryJournal

PREPROCESSED = SearchPreprocessed(**SEARCH, pixels=BLOB, width=128, height=128, preprocessing="p1")
MATCHED = SearchMatched(
    **SEARCH,
    generation="g1",
    verdict="match",
    matches=(Match(image_id="20", score=0.97, posts=("21", "22")), Match(image_id="30", score=0.8)),
    trained=True,
)


def voted(**changes: Any) -> SearchVoted:
    fields: dict[str, Any] = {"image_id": "20", "right": True, "voter": ALEX, "voted_at": MOMENT} | changes
    return SearchVoted(guild_id="7", search_id="11", interaction_id="12", **fields)


async def judged(event: SearchVoted, *log: Fact) -> list[Fact]:
    journal = MemoryJournal()
    for fact in log:
        await journal.record(fact, Origin("11"))
    return list(await handle(event, Deps(journal)))


@pytest.mark.parametrize("right", [True, False])
async def test_a_vote_is_kept_with_the_query_and_the_score(right: bool) -> None:
    assert await judged(voted(right=right), PREPROCESSED, MATCHED) == [
        SearchJudged(
            guild_id="7",
            search_id="11",
            interaction_id="12",
            image_id="20",
            right=right,
            voter_id="5",
            judged_at=MOMENT,
            generation="g1",
            score=0.97,
            pixels=BLOB,
        )
    ]


@pytest.mark.parametrize(("image_id", "score"), [("22", 0.97), ("30", 0.8)], ids=["another post", "another piece"])
async def test_a_vote_can_be_about_any_post_that_was_shown(image_id: str, score: float) -> None:
    (fact,) = await judged(voted(image_id=image_id), PREPROCESSED, MATCHED)
    assert isinstance(fact, SearchJudged)
    assert (fact.image_id, fact.score) == (image_id, score)


async def test_a_search_by_words_is_kept_with_its_words() -> None:
    described = SearchDescribed(**SEARCH, words="a dragon", excluded=("red", "fire"))
    (fact,) = await judged(voted(), described, MATCHED.model_copy(update={"by": "text"}))
    assert isinstance(fact, SearchJudged)
    assert (fact.words, fact.pixels) == ("a dragon -red -fire", None)


@pytest.mark.parametrize("log", [(), (PREPROCESSED,), (MATCHED,), (PREPROCESSED, MATCHED.model_copy(update={"by": "text"}))])
async def test_a_search_that_is_no_longer_in_the_log_is_not_judged(log: tuple[Fact, ...]) -> None:
    assert await judged(voted(), *log) == []


async def test_an_image_that_the_answer_did_not_show_is_not_judged() -> None:
    assert await judged(voted(image_id="99"), PREPROCESSED, MATCHED) == []


def test_the_declaration_of_the_stage() -> None:
    assert (STAGE.name, STAGE.consumes, STAGE.emits) == ("judge", (SearchVoted,), (SearchJudged,))
