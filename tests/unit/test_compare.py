"""Which queries generations are compared with, and how their answers are scored."""

from datetime import timedelta
from typing import Any

import pytest

from contracts.events import Match, SearchJudged, Verdict
from contracts.generations import Generation
from pipeline.compare.queries import CompareQuery, GenerationAnswer, select_judged_queries
from pipeline.compare.report import ReportPictures, ShownImage, render_compare_report
from pipeline.compare.score import (
    Change,
    GenerationResult,
    build_table_rows,
    find_changes,
    is_false_match,
    is_found_within,
    is_right,
)
from tests.support.facts import BLOB, MOMENT

G1 = Generation("g1", "open_clip/a/untrained/fp32", "d1", "p1", 512, 1, "a", None, "fp32", "f1")
G2 = Generation("g2", "open_clip/b/untrained/fp32", "d2", "p1", 384, 9, "b", None, "fp32", "f1")


def query(*expected: str, wrong: tuple[str, ...] = (), kind: str = "judged searches") -> CompareQuery:
    return CompareQuery("search 1", kind, "7", picture=BLOB, expected=frozenset(expected), wrong=frozenset(wrong))


def answer(verdict: Verdict, *pieces: str | tuple[str, ...], sure: int | None = None, ms: float = 1) -> GenerationAnswer:
    """Build an answer from the ids of its pieces, each with the best post first. In a match the first piece is sure."""
    matches = [Match(image_id=piece, score=0.9) if isinstance(piece, str) else piece_of(*piece) for piece in pieces]
    return GenerationAnswer(verdict, matches, matches[: (verdict == "match") if sure is None else sure], ms)


def piece_of(best: str, *posts: str) -> Match:
    return Match(image_id=best, score=0.9, posts=posts)


def vote(image_id: str, right: bool, voter_id: str = "5", minute: int = 0, **changed: Any) -> SearchJudged:
    values: dict[str, Any] = {
        "guild_id": "7",
        "search_id": "11",
        "interaction_id": f"i{minute}",
        "generation": "g1",
        "score": 0.9,
        "pixels": BLOB,
        "judged_at": MOMENT + timedelta(minutes=minute),
    }
    return SearchJudged(**{**values, "image_id": image_id, "right": right, "voter_id": voter_id, **changed})


@pytest.mark.parametrize(
    ("votes", "expected", "wrong"),
    [
        ([vote("1", True), vote("2", False, minute=1)], {"1"}, {"2"}),
        ([vote("1", True, minute=2), vote("1", False, minute=1)], {"1"}, set()),
        ([vote("1", True), vote("1", False, "6"), vote("1", False, "8")], set(), {"1"}),
        ([vote("1", True), vote("gone", False, minute=1)], {"1"}, set()),
    ],
    ids=["right and wrong", "the last vote", "the majority", "what is not archived any more"],
)
def test_votes_become_expected_and_wrong_images(votes: list[SearchJudged], expected: set[str], wrong: set[str]) -> None:
    [found] = select_judged_queries(votes, {"1", "2"})
    assert (found.expected, found.wrong, found.picture, found.guild_id) == (expected, wrong, BLOB, "7")
    assert not found.unmatched


@pytest.mark.parametrize(
    "votes",
    [[vote("1", True), vote("1", False, "6")], [vote("gone", True)], [vote("1", True, pixels=None)]],
    ids=["a tie", "only what is not archived any more", "no picture and no words"],
)
def test_a_search_without_a_known_answer_is_no_query(votes: list[SearchJudged]) -> None:
    assert select_judged_queries(votes, {"1"}) == []


def test_the_same_search_id_in_another_guild_is_another_search() -> None:
    queries = select_judged_queries([vote("1", True), vote("2", True, guild_id="8", words="a dragon", pixels=None)], {"1", "2"})
    assert [(each.guild_id, each.name) for each in queries] == [("7", "search 11"), ("8", "“a dragon”")]


def test_a_piece_is_right_if_the_right_image_is_its_best_or_one_of_its_posts() -> None:
    shown = answer("match", "3", ("4", "1", "5"), "6")
    assert [is_found_within(query("1"), shown, top) for top in (1, 3)] == [False, True]
    assert is_found_within(query("6", "3"), shown, 1)
    assert not is_found_within(query("9"), shown, 3)


@pytest.mark.parametrize(
    ("query_", "given", "false"),
    [
        (query("1"), answer("match", "2"), True),
        (query("1"), answer("match", "2", "1", sure=2), False),
        (query("1"), answer("match", "2", "1", sure=1), True),
        (query("1"), answer("possible", "2"), False),
        (query(), answer("match", "2"), True),
        (query(), answer("possible", "2"), False),
        (query(wrong=("2",)), answer("match", "2"), True),
        (query(wrong=("2",)), answer("match", "3"), False),
    ],
)
def test_a_match_is_false_if_no_sure_piece_is_right(query_: CompareQuery, given: GenerationAnswer, false: bool) -> None:
    assert is_false_match(query_, given) is false


@pytest.mark.parametrize(
    ("query_", "given", "right"),
    [
        (query("1"), answer("possible", "1"), True),
        (query("1"), answer("none"), False),
        (query(), answer("none"), True),
        (query(), answer("match", "1"), False),
        (query(wrong=("1",)), answer("possible", "1"), False),
        (query(wrong=("1",)), answer("none"), None),
        (query("1"), answer("error"), False),
    ],
)
def test_an_answer_is_right_wrong_or_not_judged(query_: CompareQuery, given: GenerationAnswer, right: bool | None) -> None:
    assert is_right(query_, given) is right


def build_results() -> tuple[list[CompareQuery], GenerationResult, GenerationResult]:
    queries = [query("1"), query("2"), query("3"), query(kind="your pictures"), query("4", kind="your pictures")]
    before = [answer("match", "1"), answer("none"), answer("match", "3"), answer("match", "9"), answer("possible", "8", "4", ms=9)]
    after = [answer("none"), answer("match", "2"), answer("possible", "3"), answer("none"), answer("possible", "8", "4")]
    return queries, GenerationResult(G1, 1000, before), GenerationResult(G2, 1000, after)


def test_changes_are_listed_with_the_worst_first() -> None:
    queries, first, second = build_results()
    found = find_changes(queries, first, second)
    assert [(each.query.expected, each.gain) for each in found] == [({"1"}, -2), ({"2"}, 2), (set(), 2), ({"3"}, 0)]


def test_the_numbers_of_both_generations_are_side_by_side() -> None:
    table = {name: values for name, *values in build_table_rows(*build_results())}
    assert table["encoder"] == ["a (untrained)", "b (untrained)"]
    assert table["right piece first (recall@1)"] == ["2 of 4 (50%)", "2 of 4 (50%)"]
    assert table["right piece in first 3 (recall@3)"] == ["3 of 4 (75%)", "3 of 4 (75%)"]
    assert table["false matches"] == ["1 of 5 (20%)", "0 of 5 (0%)"]
    assert table["first: your pictures"] == ["0 of 1 (0%)", "0 of 1 (0%)"]
    assert table["time to the answer, p50"] == ["1.0 ms", "1.0 ms"]
    assert table["time to the answer, p95"] == ["7.4 ms", "1.0 ms"]
    assert table["vectors"] == ["1,000 with 512 dimensions", "1,000 with 384 dimensions"]
    assert table["storage"] == ["2.0 MB", "1.5 MB"]


def test_without_a_known_answer_there_is_no_recall() -> None:
    table = {name: values for name, *values in build_table_rows([query()], GenerationResult(G1, 1, [answer("none")]))}
    assert table["right piece first (recall@1)"] == ["-"]


def test_text_of_members_is_escaped_in_the_report() -> None:
    hostile = '<script>alert("1")</script>'
    asked = CompareQuery(hostile, "judged searches", "7", words=hostile, expected=frozenset({"1"}))
    change = Change(asked, answer("none"), answer("match", "1"))
    page = render_compare_report(
        ("g1", "g2"), [("", "g1", "g2")], 1, [change], ReportPictures({"1": ShownImage(hostile, hostile, "")}, {}), hostile
    )
    assert "<script" not in page
    assert "&lt;script&gt;" in page
