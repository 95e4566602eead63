"""The stage reply: each search is answered once, while its interaction is valid; and the steps that a waiting asker sees."""

from datetime import timedelta

import pytest

from contracts.errors import Retry, Unavailable
from contracts.events import (
    DiscordReply,
    LocalReply,
    SearchAnswered,
    SearchDownloaded,
    SearchMatched,
    SearchRejected,
)
from contracts.ports import AnswerPage
from stages.reply import STAGE, handle
from tests.support.desk import (
    ASKED_AT,
    GONE_REJECT,
    ReplyDesk,
    answered_outcome,
    browsed,
    described,
    matched,
    piece,
    preprocessed,
    question,
    rejected,
    requested,
)


@pytest.fixture
def desk() -> ReplyDesk:
    return ReplyDesk()


class TestAnswering:
    async def test_the_best_piece_is_sent_with_its_thumbnail(self, desk: ReplyDesk) -> None:
        await desk.archive("a", day=2)
        await desk.archive("a1", "b")
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99, "a1"), piece("b", 0.8), trained=False))) == (
            "match",
            "sent",
        )
        ((application_id, token, answer),) = desk.answers.shown
        assert (application_id, token) == ("42", "secret")
        assert (answer.search_id, answer.asker_id, answer.locale) == ("9", "7", "en-US")
        assert (answer.verdict, answer.piece_verdict, answer.trained, answer.problem) == ("match", "match", False, None)
        assert (answer.number, answer.pieces, answer.view, answer.by) == (0, 2, "piece", "image")
        assert answer.piece is not None
        best = answer.piece.best
        assert (best.image_id, best.score, best.document["message_link"], best.thumbnail) == ("a", 0.99, "https://x/a", b"a")
        assert [(post.image_id, post.thumbnail) for post in answer.piece.posts] == [("a1", None), ("a", None)]

    async def test_the_first_post_is_first_by_post_time(self, desk: ReplyDesk) -> None:
        for image_id, moment in (("a", "10:00:00.500000+00:00"), ("b", "12:00:00+02:00"), ("c", "10:00:00.200000+00:00")):
            await desk.archive(image_id, upload_timestamp=f"2024-03-01T{moment}")
        await desk.deliver(matched(piece("a", 0.99, "b", "c")))
        assert desk.answer.piece is not None
        assert [post.image_id for post in desk.answer.piece.posts] == ["b", "c", "a"]
        assert desk.answer.piece.first.image_id == "b"
        assert [post.score for post in desk.answer.piece.posts] == [None, None, 0.99]

    async def test_the_language_and_the_kind_of_query_are_passed_on(self, desk: ReplyDesk) -> None:
        await desk.archive("a")
        await desk.deliver(matched(piece("a", 0.99), by="text", verdict="possible", asked=question(locale="de")))
        assert (desk.answer.by, desk.answer.locale, desk.answer.piece_verdict) == ("text", "de", "possible")

    async def test_a_redelivered_verdict_is_not_answered_twice(self, desk: ReplyDesk) -> None:
        await desk.archive("a")
        await desk.deliver(matched(piece("a", 0.99)))
        assert await desk.deliver(matched(piece("a", 0.99))) == []
        assert await desk.deliver(rejected()) == []
        assert len(desk.answers.shown) == 1

    @pytest.mark.parametrize(
        ("late", "expected"), [(timedelta(minutes=14, seconds=59), "sent"), (timedelta(minutes=15), "expired")]
    )
    async def test_nothing_is_sent_after_fifteen_minutes(self, desk: ReplyDesk, late: timedelta, expected: str) -> None:
        await desk.archive("a")
        desk.now = ASKED_AT + late
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99)))) == ("match", expected)
        assert len(desk.answers.shown) == (expected == "sent")

    async def test_a_local_search_is_answered_only_in_the_log(self, desk: ReplyDesk) -> None:
        local = question(LocalReply())
        desk.now = ASKED_AT + timedelta(days=2)
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99), verdict="possible", asked=local))) == (
            "possible",
            "local",
        )
        assert answered_outcome(await desk.deliver(rejected(local))) == ("error", "local")
        for event in (requested(local), preprocessed(local), browsed(local)):
            assert await desk.deliver(event) == []
        assert (desk.answers.shown, desk.answers.steps) == ([], [])

    async def test_no_match_shows_no_piece(self, desk: ReplyDesk) -> None:
        await desk.archive("a")
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.2), verdict="none"))) == ("none", "sent")
        assert (desk.answer.piece, desk.answer.pieces) == (None, 0)

    async def test_there_are_at_most_top_pieces(self, desk: ReplyDesk) -> None:
        await desk.archive("b", "c", "d")
        await desk.deliver(matched(*(piece(image_id, 0.9) for image_id in "abcd"), asked=question(top=2)))
        assert (desk.large, desk.answer.pieces) == ("b", 2)

    async def test_an_answer_is_sent_without_a_lost_thumbnail(self, desk: ReplyDesk) -> None:
        await desk.archive("a", thumbnail=False)
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.9)))) == ("match", "sent")
        del desk.catalogue.documents["a"]["media"]
        await desk.browse()
        assert [answer.piece and answer.piece.best.thumbnail for _, _, answer in desk.answers.shown] == [None, None]

    async def test_a_rejected_search_is_answered_with_its_problem(self, desk: ReplyDesk) -> None:
        event = rejected()
        assert answered_outcome(await desk.deliver(event)) == ("error", "sent")
        assert (desk.answer.verdict, desk.answer.problem, desk.answer.piece) == ("error", event, None)

    async def test_the_answer_to_a_gone_interaction_is_expired(self, desk: ReplyDesk) -> None:
        desk.answers.failure = GONE_REJECT
        assert answered_outcome(await desk.deliver(rejected())) == ("error", "expired")
        assert await desk.deliver(browsed()) == []

    async def test_retryable_errors_are_left_to_the_runner(self, desk: ReplyDesk) -> None:
        desk.answers.failure = Retry("busy", after=3)
        for event in (rejected(), browsed()):
            with pytest.raises(Retry):
                await handle(event, desk.deps)
        desk.catalogue.down = True
        with pytest.raises(Unavailable):
            await handle(matched(piece("a", 0.9)), desk.deps)
        desk.journal.down = True
        for event in (rejected(), browsed(), requested()):
            with pytest.raises(Unavailable):
                await handle(event, desk.deps)
        assert desk.journal.recorded == {}

    @pytest.mark.parametrize("message_id", [None, "5"])
    async def test_the_answer_goes_into_the_waiting_message(
        self, desk: ReplyDesk, monkeypatch: pytest.MonkeyPatch, message_id: str | None
    ) -> None:
        edited: list[str | None] = []

        async def edit(_application_id: str, _token: str, _answer: AnswerPage, *, message_id: str | None = None) -> None:
            edited.append(message_id)

        monkeypatch.setattr(desk.answers, "edit", edit)
        reply = DiscordReply(application_id="42", token="secret", message_id=message_id)
        for event in (matched(asked=question(reply)), browsed(question(reply))):
            await desk.deliver(event)
        assert edited == [message_id, message_id]


class TestProgress:
    async def test_a_waiting_asker_sees_at_most_two_steps(self, desk: ReplyDesk) -> None:
        for event in (requested(), preprocessed()):
            assert await desk.deliver(event) == []
        assert (desk.answers.steps, desk.answers.shown) == (["fetching", "comparing"], [])

    async def test_words_go_straight_to_the_comparing_step(self, desk: ReplyDesk) -> None:
        await desk.deliver(described())
        assert desk.answers.steps == ["comparing"]

    @pytest.mark.parametrize("result", [matched(piece("a", 0.99)), rejected()])
    async def test_a_step_is_not_shown_after_the_result(self, desk: ReplyDesk, result: SearchMatched | SearchRejected) -> None:
        await desk.record(result)
        await desk.deliver(preprocessed())
        assert (desk.answers.steps, desk.answers.shown) == ([], [])

    @pytest.mark.parametrize("late", [timedelta(minutes=15), timedelta(days=3)])
    async def test_no_step_is_shown_after_fifteen_minutes(self, desk: ReplyDesk, late: timedelta) -> None:
        desk.now = ASKED_AT + late
        await desk.deliver(requested())
        assert desk.answers.steps == []

    async def test_a_follow_up_message_shows_no_steps(self, desk: ReplyDesk) -> None:
        await desk.deliver(requested(question(DiscordReply(application_id="42", token="secret", message_id="5"))))
        assert desk.answers.steps == []

    @pytest.mark.parametrize("failure", [GONE_REJECT, Retry("busy", after=3)])
    async def test_a_step_that_cannot_be_shown_is_no_error(self, desk: ReplyDesk, failure: Exception) -> None:
        desk.answers.failure = failure
        assert await desk.deliver(requested()) == []

    @pytest.mark.parametrize("result", [matched(piece("a", 0.99)), rejected()])
    async def test_a_step_that_overwrites_the_answer_is_followed_by_the_answer(
        self, desk: ReplyDesk, monkeypatch: pytest.MonkeyPatch, result: SearchMatched | SearchRejected
    ) -> None:
        await desk.archive("a")

        async def overtaken(*_: object) -> None:
            await desk.deliver(result)
            desk.answers.steps.append("comparing")

        monkeypatch.setattr(desk.answers, "show_progress", overtaken)
        assert await desk.deliver(preprocessed()) == []
        first, second = (answer for _, _, answer in desk.answers.shown)
        assert first == second

    async def test_a_redelivery_after_an_interrupted_edit_shows_the_answer(self, desk: ReplyDesk) -> None:
        await desk.archive("a")
        await desk.deliver(matched(piece("a", 0.99)))
        await desk.deliver(preprocessed())
        assert (desk.answers.steps, len(desk.answers.shown)) == ([], 2)


def test_the_declaration_of_the_stage() -> None:
    assert STAGE.families == ("search",)
    assert STAGE.emits == (SearchAnswered,)
    assert SearchDownloaded not in STAGE.consumes
