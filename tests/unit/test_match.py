"""The stage match on the real embedded index, without fingerprints."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from contracts.events import By, Calibration, Evidence, Filters, LocalReply, Match, Person, Question, SearchEmbedded, SearchMatched
from contracts.ports import Neighbour, VectorSearch
from infra.vectors.index import EmbeddedIndex
from stages.match import MAX_POSTS, STAGE, Deps, handle, judge_similarity, select_possible
from stages.matching import passes_filters
from tests.support.fakes import MemoryCatalogue

CALIBRATION = Calibration(match_at=0.9, possible_at=0.6)


def at_cosine(cosine: float) -> bytes:
    return np.array([cosine, np.sqrt(1 - cosine**2), 0, 0], "<f4").tobytes()


def in_direction(degrees: float) -> bytes:
    """Build a unit vector. The query is at 0 degrees; by CALIBRATION, up to 25 degrees are a match, up to 53 a possible one."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0, 0], "<f4").tobytes()


def question(channels: tuple[str, ...] | None = None, top: int = 3, filters: Filters | None = None) -> Question:
    return Question(
        asker=Person(id="5", name="Ada"),
        requested_at=datetime(2026, 11, 21, tzinfo=UTC),
        reply=LocalReply(),
        readable_channels=channels,
        top=top,
        filters=filters,
    )


def embedded(
    channels: tuple[str, ...] | None = None,
    *,
    guild: str = "7",
    generation: str = "g1",
    top: int = 3,
    trained: bool = True,
    filters: Filters | None = None,
    by: By = "image",
) -> SearchEmbedded:
    return SearchEmbedded(
        guild_id=guild,
        search_id="99",
        question=question(channels, top, filters),
        generation=generation,
        vector=at_cosine(1),
        calibration=CALIBRATION,
        trained=trained,
        by=by,
    )


async def matched(event: SearchEmbedded, *images: tuple[str, str, float]) -> SearchMatched:
    """Match in guild 7 and generation g1 with these images (id, channel, cosine), all different pieces unless they are copies."""
    index = EmbeddedIndex()
    for axis, (image_id, channel_id, cosine) in enumerate(images, start=1):
        vector = np.zeros(4, "<f4")
        vector[0], vector[axis] = cosine, np.sqrt(1 - cosine**2)
        index.add("7", "g1", image_id, channel_id, vector.tobytes())
    return await matched_in(index, event)


async def matched_in(index: VectorSearch, event: SearchEmbedded, catalogue: MemoryCatalogue | None = None) -> SearchMatched:
    unread = MemoryCatalogue()
    unread.down = True
    (fact,) = await handle(event, Deps(vectors=index, catalogue=catalogue or unread))
    assert isinstance(fact, SearchMatched)
    return fact


def index_by_degrees(*images: tuple[str, float], channel: str = "1") -> EmbeddedIndex:
    """Build the index of guild 7 with images (id, degrees)."""
    index = EmbeddedIndex()
    for image_id, degrees in images:
        index.add("7", "g1", image_id, channel, in_direction(degrees))
    return index


def pieces(fact: SearchMatched) -> list[tuple[str, ...]]:
    """List the post ids of each piece, the best post first."""
    return [(match.image_id, *match.posts) for match in fact.matches]


class UnroundedSearch:
    """Another VectorSearch, which returns scores that are not rounded."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        return [Neighbour(str(number), score) for number, score in enumerate(self.scores)]

    async def find_similar(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        return []


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(1.0, "match"), (0.9, "match"), (0.899999, "possible"), (0.6, "possible"), (0.599999, "none"), (-1.0, "none"), (None, "none")],
)
def test_the_best_score_is_read_by_the_encoders_calibration(score: float | None, verdict: str) -> None:
    assert judge_similarity(score, CALIBRATION) == verdict


def test_scores_are_clipped_rounded_and_kept_in_order() -> None:
    found = [Neighbour("1", 1.00001), Neighbour("2", 0.87654321), Neighbour("3", 0.6), Neighbour("4", 0.59)]
    assert select_possible(found, CALIBRATION) == (
        Match(image_id="1", score=1.0),
        Match(image_id="2", score=0.876543),
        Match(image_id="3", score=0.6),
    )


async def test_a_match_has_all_possible_results_best_first() -> None:
    fact = await matched(embedded(), ("10", "1", 0.7), ("11", "1", 0.95), ("12", "1", 0.3))
    assert (fact.verdict, [match.image_id for match in fact.matches]) == ("match", ["11", "10"])
    assert fact.matches[0].score == pytest.approx(0.95, abs=1e-3)


async def test_a_possible_match_has_its_results() -> None:
    fact = await matched(embedded(), ("10", "1", 0.7), ("12", "1", 0.3))
    assert (fact.verdict, [match.image_id for match in fact.matches]) == ("possible", ["10"])


@pytest.mark.parametrize("images", [(), (("10", "1", 0.5),)], ids=["nothing archived", "nothing near"])
async def test_no_match_has_no_results(images: tuple[tuple[str, str, float], ...]) -> None:
    fact = await matched(embedded(), *images)
    assert (fact.verdict, fact.matches) == ("none", ())


async def test_the_rounded_score_is_judged() -> None:
    fact = await matched_in(UnroundedSearch(0.8999999), embedded())
    assert (fact.verdict, fact.matches[0].score) == ("match", 0.9)


@pytest.mark.parametrize(
    ("channels", "shown"),
    [(None, ["10", "11"]), (("1",), ["10"]), (("2", "3"), ["11"]), ((), [])],
    ids=["all", "one", "another", "none"],
)
async def test_only_readable_channels_are_matched(channels: tuple[str, ...] | None, shown: list[str]) -> None:
    fact = await matched(embedded(channels), ("10", "1", 0.94), ("11", "2", 0.92))
    assert [match.image_id for match in fact.matches] == shown
    assert fact.verdict == ("match" if shown else "none")


async def test_top_limits_the_number_of_matches() -> None:
    fact = await matched(embedded(top=2), ("10", "1", 0.94), ("11", "1", 0.93), ("12", "1", 0.92))
    assert [match.image_id for match in fact.matches] == ["10", "11"]


@pytest.mark.parametrize("event", [embedded(guild="8"), embedded(generation="g2")], ids=["another guild", "another generation"])
async def test_nothing_is_matched_across_guilds_or_generations(event: SearchEmbedded) -> None:
    fact = await matched(event, ("10", "1", 0.99))
    assert (fact.verdict, fact.matches) == ("none", ())


@pytest.mark.parametrize("trained", [True, False])
async def test_the_question_and_the_calibration_are_passed_on(trained: bool) -> None:
    event = embedded(("1",), trained=trained)
    fact = await matched(event, ("10", "1", 0.99))
    assert (fact.guild_id, fact.search_id, fact.question, fact.generation) == ("7", "99", event.question, "g1")
    assert (fact.trained, fact.calibration, fact.by) == (trained, CALIBRATION, "image")


async def test_copies_are_one_piece_and_the_most_similar_post_comes_first() -> None:
    fact = await matched_in(index_by_degrees(("10", 5), ("11", 2), ("12", -45), ("13", -50), ("14", 45)), embedded())
    assert pieces(fact) == [("11", "10"), ("12", "13"), ("14",)]
    assert [match.score for match in fact.matches] == pytest.approx([0.9994, 0.7071, 0.7071], abs=1e-3)


async def test_a_piece_has_all_its_posts_even_dissimilar_ones() -> None:
    fact = await matched_in(index_by_degrees(("10", 45), ("11", 65)), embedded())
    assert pieces(fact) == [("10", "11")]
    assert fact.verdict == "possible"


async def test_a_post_belongs_to_the_first_piece_that_it_resembles() -> None:
    fact = await matched_in(index_by_degrees(("10", 0), ("11", 20), ("12", 40), ("13", 50)), embedded())
    assert pieces(fact) == [("10", "11"), ("12", "13")]


async def test_a_piece_posted_hundreds_of_times_hides_no_other() -> None:
    copies = [(f"a{number:03}", 1.0) for number in range(300)]
    fact = await matched_in(index_by_degrees(*copies, ("b", 40), ("c", -40)), embedded())
    assert [match.image_id for match in fact.matches] == ["a000", "b", "c"]
    assert fact.matches[0].posts == tuple(f"a{number:03}" for number in range(1, MAX_POSTS + 1))


async def test_posts_in_unreadable_channels_are_left_out() -> None:
    index = index_by_degrees(("10", 1), ("12", 3))
    index.add("7", "g1", "11", "2", in_direction(0))
    assert pieces(await matched_in(index, embedded(("1",)))) == [("10", "12")]
    assert pieces(await matched_in(index, embedded(("2",)))) == [("11",)]


def document(author: str, day: int) -> dict[str, object]:
    return {"metadata": {"user_id": author, "upload_timestamp": f"2026-01-{day:02}T12:00:00+00:00"}}


def moment(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("filters", "let_through"),
    [
        (Filters(), True),
        (Filters(author_id="5"), True),
        (Filters(author_id="6"), False),
        (Filters(after=moment(3)), True),
        (Filters(after=moment(3, 13)), False),
        (Filters(before=moment(3)), False),
        (Filters(before=moment(3, 13)), True),
        (Filters(after=moment(3), before=moment(4), author_id="5"), True),
        (Filters(after=moment(3), before=moment(4), author_id="6"), False),
    ],
)
def test_filters_are_about_the_author_and_the_time_of_the_post(filters: Filters, let_through: bool) -> None:
    assert passes_filters(document("5", 3), filters) is let_through
    assert not passes_filters({"media": {}}, filters)


async def test_an_answer_has_only_posts_that_pass_the_filters() -> None:
    catalogue = MemoryCatalogue()
    catalogue.documents = {"10": document("5", 1), "11": document("6", 2), "12": document("6", 3), "13": document("5", 4)}
    index = index_by_degrees(("10", 0), ("11", 4), ("12", 8), ("13", 40), ("14", 1))
    by_author = await matched_in(index, embedded(filters=Filters(author_id="6")), catalogue)
    assert (pieces(by_author), by_author.verdict) == ([("11", "12")], "match")
    later = await matched_in(index, embedded(filters=Filters(after=moment(3))), catalogue)
    assert pieces(later) == [("12",), ("13",)]
    assert pieces(await matched_in(index, embedded(filters=Filters(author_id="7")), catalogue)) == []


async def test_a_post_that_passes_the_filters_is_found_behind_many_that_do_not() -> None:
    catalogue = MemoryCatalogue()
    nearer = {f"a{number:03}": number / 100 for number in range(900)}
    catalogue.documents = {image_id: document("5", 1) for image_id in nearer} | {"b": document("6", 1)}
    fact = await matched_in(index_by_degrees(*nearer.items(), ("b", 30)), embedded(filters=Filters(author_id="6")), catalogue)
    assert pieces(fact) == [("b",)]


async def test_words_find_pieces_but_never_prove_a_match() -> None:
    fact = await matched_in(index_by_degrees(("10", 0), ("11", 3), ("12", 40)), embedded(by="text"))
    assert (fact.verdict, fact.by, pieces(fact)) == ("possible", "text", [("10", "11"), ("12",)])


def test_the_declaration_of_the_stage() -> None:
    assert (STAGE.name, STAGE.consumes, STAGE.emits) == ("match", (SearchEmbedded,), (SearchMatched,))


@pytest.mark.parametrize("top", [1, 3])
async def test_the_very_same_file_comes_first_in_a_generation_without_fingerprints(top: int) -> None:
    catalogue, file = MemoryCatalogue(), "f" * 64
    for image_id, moment in (
        ("10", "2026-01-02T12:00:00+00:00"),
        ("9", "2026-01-02T12:00:00+00:00"),
        ("30", "2026-01-01T12:00:00Z"),
    ):
        metadata = {"guild_id": "7", "channel_id": "1", "user_id": "5", "upload_timestamp": moment}
        await catalogue.merge(image_id, {"metadata": metadata, "original": {"blob": file, "size": 9}})
    index = index_by_degrees(("10", 0), ("40", 0), ("41", 1), ("50", 60))
    fact = await matched_in(index, embedded(top=top).model_copy(update={"file": file, "spoiler": True}), catalogue)
    assert pieces(fact) == [("30", "9", "10"), ("40", "41")][:top]
    assert (fact.verdict, fact.matches[0].score, fact.matches[0].evidence, fact.spoiler) == (
        "match",
        1.0,
        Evidence(by="file"),
        True,
    )
