"""The stage reply: the pages of an answer, and what each viewer may see of them."""

from datetime import timedelta

import pytest

from contracts.events import (
    Calibration,
    Evidence,
    SearchAnswered,
    Verdict,
)
from tests.support.desk import ASKED_AT, ReplyDesk, answered_outcome, browsed, matched, piece, presser, question


@pytest.fixture
def desk() -> ReplyDesk:
    return ReplyDesk()


class TestWhatIsLeft:
    async def test_a_removed_piece_is_left_out(self, desk: ReplyDesk) -> None:
        await desk.archive("a", "b", "c")
        await desk.catalogue.remove("b")
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99), piece("b", 0.95), piece("c", 0.7)))) == (
            "match",
            "sent",
        )
        assert (desk.answer.pieces, desk.large) == (2, "a")
        second = await desk.browse(piece=1)
        assert (second.number, desk.large, second.piece_verdict, second.verdict) == (1, "c", "possible", "match")

    async def test_a_hidden_post_is_left_out_until_it_is_shown_again(self, desk: ReplyDesk) -> None:
        await desk.archive("a", day=1)
        await desk.archive("b", day=2)
        assert answered_outcome(await desk.deliver(matched(piece("b", 0.99, "a")))) == ("match", "sent")
        for hidden, posts in ((("a",), ["b"]), (("b",), ["a"]), (("a", "b"), []), ((), ["a", "b"])):
            for image_id in ("a", "b"):
                visibility = {"turn": 1, "hidden": image_id in hidden, "spoiler": False}
                await desk.catalogue.merge(image_id, {"visibility": visibility})
            answer = await desk.browse()
            assert ([post.image_id for post in answer.piece.posts] if answer.piece else []) == posts
            assert (answer.verdict == "match") is ("b" in posts)

    async def test_the_verdict_follows_the_best_piece_that_is_left(self, desk: ReplyDesk) -> None:
        await desk.archive("b")
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99), piece("b", 0.6)))) == ("possible", "sent")
        await desk.catalogue.remove("b")
        assert (await desk.browse()).verdict == "none"

    @pytest.mark.parametrize(("left", "verdict"), [("ab", "match"), ("b", "possible")])
    async def test_without_a_calibration_only_the_best_piece_is_a_match(self, desk: ReplyDesk, left: str, verdict: Verdict) -> None:
        await desk.archive(*left)
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99), piece("b", 0.98), calibration=None))) == (
            verdict,
            "sent",
        )
        assert desk.answer.piece_verdict == verdict

    async def test_another_post_replaces_a_removed_one_without_its_score(self, desk: ReplyDesk) -> None:
        await desk.archive("c", day=2)
        await desk.archive("b", day=3)
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99, "b", "c")))) == ("possible", "sent")
        assert desk.answer.piece is not None
        assert (desk.large, desk.answer.piece.best.score, desk.answer.piece.best.thumbnail) == ("c", None, b"c")
        assert [post.image_id for post in desk.answer.piece.posts] == ["c", "b"]

    async def test_with_everything_removed_there_is_no_match(self, desk: ReplyDesk) -> None:
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99, "b"), verdict="possible"))) == ("none", "sent")
        assert (desk.answer.piece, desk.answer.pieces) == (None, 0)

    async def test_a_verified_piece_is_judged_by_its_probability(self, desk: ReplyDesk) -> None:
        await desk.archive("a", "b", "c")
        proofs = {"a": Evidence(by="points", points=40), "b": Evidence(by="vector")}
        pieces = [
            piece(image_id, score).model_copy(update={"evidence": proofs.get(image_id)})
            for image_id, score in (("a", 0.9), ("b", 0.93), ("c", 0.93))
        ]
        await desk.record(matched(*pieces, calibration=Calibration(match_at=0.95, possible_at=0.5)))
        assert [(await desk.browse(piece=number)).piece_verdict for number in range(3)] == ["match", "possible", "possible"]

    async def test_posts_in_unreadable_channels_are_left_out(self, desk: ReplyDesk) -> None:
        await desk.archive("secret", channel_id="3")
        await desk.archive("open", day=2)
        both = matched(piece("secret", 0.99, "open"), asked=question(readable_channels=("2",)))
        assert answered_outcome(await desk.deliver(both)) == ("possible", "sent")
        assert (desk.large, len(desk.answer.piece.posts if desk.answer.piece else ())) == ("open", 1)

    async def test_a_public_thread_is_readable_with_its_channel_and_a_private_one_is_not(self, desk: ReplyDesk) -> None:
        await desk.archive("public", channel_id="30", thread_of="2")
        await desk.archive("private", channel_id="31", thread_of=None)
        pieces = matched(piece("public", 0.99), piece("private", 0.98))
        for channels, shown in ((("2",), "public"), (("31",), "private"), (("30",), None), ((), None)):
            asked = presser().model_copy(update={"readable_channels": channels})
            await desk.record(pieces)
            answer = await desk.browse(asked=asked)
            assert (desk.large, answer.pieces) == (shown, 1 if shown else 0)

    async def test_another_guilds_image_is_never_shown(self, desk: ReplyDesk) -> None:
        await desk.archive("a", guild_id="666")
        await desk.catalogue.merge("b", {"message_link": "https://x/b"})
        assert answered_outcome(await desk.deliver(matched(piece("a", 0.99), piece("b", 0.99)))) == ("none", "sent")


class TestTurningPages:
    async def test_the_presser_sees_only_readable_posts(self, desk: ReplyDesk) -> None:
        await desk.archive("a", channel_id="3")
        await desk.archive("b")
        await desk.record(matched(piece("a", 0.99), piece("b", 0.95)))
        answer = await desk.browse(asked=presser("2", locale="de"), piece=1)
        assert desk.answers.shown == [("42", "pressed", answer)]
        assert (desk.large, answer.number, answer.pieces, answer.asker_id, answer.locale) == ("b", 0, 1, "8", "de")

    async def test_the_posts_of_a_piece(self, desk: ReplyDesk) -> None:
        await desk.archive("a", "b", "c")
        await desk.record(matched(piece("a", 0.99), piece("b", 0.95, "c")))
        answer = await desk.browse(piece=1, view="posts", page=3)
        assert (answer.view, answer.page, answer.number, answer.piece_verdict) == ("posts", 3, 1, "match")

    async def test_beyond_the_last_piece_is_the_last_piece(self, desk: ReplyDesk) -> None:
        await desk.archive("a", "b")
        await desk.record(matched(piece("a", 0.99), piece("b", 0.95)))
        assert (await desk.browse(piece=9)).number == 1
        assert desk.large == "b"

    async def test_a_page_shown_again_is_the_same_and_nothing_is_recorded(self, desk: ReplyDesk) -> None:
        await desk.archive("a")
        await desk.record(matched(piece("a", 0.99)))
        first, second = await desk.browse(), await desk.browse()
        assert first == second
        assert not await desk.journal.holds(SearchAnswered, "1", "9")

    async def test_a_search_that_the_log_no_longer_has_is_too_old(self, desk: ReplyDesk) -> None:
        answer = await desk.browse()
        assert (answer.verdict, answer.problem, answer.piece) == ("error", None, None)

    async def test_a_search_of_another_guild_is_not_found(self, desk: ReplyDesk) -> None:
        await desk.archive("a")
        await desk.record(matched(piece("a", 0.99)).model_copy(update={"guild_id": "2"}))
        assert (await desk.browse()).verdict == "error"

    async def test_a_press_of_fifteen_minutes_ago_is_skipped(self, desk: ReplyDesk) -> None:
        desk.now = ASKED_AT + timedelta(minutes=15)
        assert await desk.deliver(browsed()) == []
        assert desk.answers.shown == []


class TestWhy:
    @pytest.fixture
    async def desk(self) -> ReplyDesk:
        """Two pieces were found for Steve: one by its points, and one without evidence."""
        desk = ReplyDesk()
        await desk.archive("a", "b")
        proven = piece("a", 0.99).model_copy(update={"evidence": Evidence(by="points", points=9)})
        await desk.record(matched(proven, piece("b", 0.95)))
        return desk

    async def test_the_asker_is_shown_the_picture_of_the_piece_on_the_page(self, desk: ReplyDesk) -> None:
        answer = await desk.browse(asked=question(), view="why")
        assert (answer.view, desk.large, answer.explanation, answer.piece_verdict) == ("why", "a", b"drawn", "match")
        assert answer.piece is not None
        assert answer.piece.best.evidence == Evidence(by="points", points=9)
        assert desk.drawn == ["a at https://x/a in en-US"]

    @pytest.mark.parametrize("spoiler", [True, False])
    async def test_the_page_knows_whether_the_query_was_a_spoiler(self, spoiler: bool) -> None:
        desk = ReplyDesk()
        await desk.archive("a")
        await desk.record(matched(piece("a", 0.99), spoiler=spoiler))
        assert (await desk.browse(asked=question(), view="why")).spoiler == spoiler

    async def test_others_see_the_reason_but_not_the_query_picture(self, desk: ReplyDesk) -> None:
        answer = await desk.browse(asked=presser(), view="why")
        assert (desk.large, answer.explanation, desk.drawn) == ("a", None, [])

    async def test_there_may_be_no_picture(self, desk: ReplyDesk) -> None:
        assert (await desk.browse(asked=question(), view="why", piece=1)).explanation is None
        assert desk.drawn == ["b at https://x/b in en-US"]

    async def test_posts_that_the_asker_may_no_longer_read_are_left_out(self, desk: ReplyDesk) -> None:
        answer = await desk.browse(asked=question(readable_channels=("3",)), view="why")
        assert (answer.piece, answer.explanation, desk.drawn) == (None, None, [])

    async def test_other_pages_are_not_drawn(self, desk: ReplyDesk) -> None:
        await desk.browse(asked=question())
        assert desk.drawn == []
