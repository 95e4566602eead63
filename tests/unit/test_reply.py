from datetime import UTC, datetime, timedelta

import pytest

from contracts.envelope import Origin
from contracts.errors import Reject, RejectCode, Retry, Unavailable
from contracts.events import (
    DiscordReply,
    Fact,
    LocalReply,
    Match,
    Person,
    Question,
    SearchAnswered,
    SearchMatched,
    SearchRejected,
    Verdict,
)
from stages.reply import STAGE, Deps, handle
from tests.suites.fakes import MemoryAnswers, MemoryBlobs, MemoryCatalogue, MemoryJournal

ASKED = datetime(2026, 11, 21, 12, tzinfo=UTC)
THUMBNAIL = b"a small picture"


class Desk:
    """The stage with everything around it in memory, and the runner's part: what is returned is recorded."""

    def __init__(self) -> None:
        self.answers, self.catalogue = MemoryAnswers(), MemoryCatalogue()
        self.blobs, self.journal = MemoryBlobs(), MemoryJournal()
        self.now = ASKED + timedelta(seconds=2)
        self.deps = Deps(
            answering=self.answers, catalogue=self.catalogue, blobs=self.blobs, journal=self.journal, now=lambda: self.now
        )

    async def archive(self, *image_ids: str, thumbnail: bytes | None = THUMBNAIL) -> None:
        for image_id in image_ids:
            name = await self.blobs.put(thumbnail) if thumbnail else "0" * 64
            await self.catalogue.merge(image_id, {"message_link": f"https://x/{image_id}", "media": {"thumbnail": name}})

    async def deliver(self, event: Fact) -> list[Fact]:
        facts = list(await handle(event, self.deps))
        for fact in facts:
            await self.journal.record(fact, Origin("interaction-9"))
        return facts


@pytest.fixture
def desk() -> Desk:
    return Desk()


def question(reply: DiscordReply | LocalReply | None = None, top: int = 3) -> Question:
    reply = reply or DiscordReply(application_id="42", token="secret")
    return Question(asker=Person(id="7", name="Steve"), requested_at=ASKED, reply=reply, top=top)


def matched(
    *matches: tuple[str, float], verdict: Verdict = "match", trained: bool = True, asked: Question | None = None
) -> SearchMatched:
    return SearchMatched(
        guild_id="1",
        search_id="9",
        question=asked or question(),
        generation="g1",
        verdict=verdict,
        matches=tuple(Match(image_id=image_id, score=score) for image_id, score in matches),
        trained=trained,
    )


def rejected(asked: Question | None = None) -> SearchRejected:
    return SearchRejected(
        guild_id="1",
        search_id="9",
        question=asked or question(),
        stage="preprocess",
        code=RejectCode.DAMAGED,
        reason="The picture is cut short.",
    )


def outcome(facts: list[Fact]) -> tuple[Verdict, str]:
    (fact,) = facts
    assert isinstance(fact, SearchAnswered)
    assert fact.key == ("1", "9")
    return fact.verdict, fact.outcome


async def test_a_match_is_sent_with_documents_and_thumbnails(desk: Desk) -> None:
    await desk.archive("a", "b")
    assert outcome(await desk.deliver(matched(("a", 0.99), ("b", 0.9), trained=False))) == ("match", "sent")
    ((application_id, token, answer),) = desk.answers.shown
    assert (application_id, token) == ("42", "secret")
    assert (answer.verdict, answer.trained, answer.problem) == ("match", False, None)
    assert [(each.image_id, each.score, each.document["message_link"], each.thumbnail) for each in answer.found] == [
        ("a", 0.99, "https://x/a", THUMBNAIL),
        ("b", 0.9, "https://x/b", THUMBNAIL),
    ]


async def test_a_redelivered_verdict_is_not_answered_twice(desk: Desk) -> None:
    await desk.archive("a")
    await desk.deliver(matched(("a", 0.99)))
    assert await desk.deliver(matched(("a", 0.99))) == []
    assert await desk.deliver(rejected()) == []
    assert len(desk.answers.shown) == 1


@pytest.mark.parametrize(("late", "expected"), [(timedelta(minutes=14, seconds=59), "sent"), (timedelta(minutes=15), "expired")])
async def test_nothing_is_sent_after_fifteen_minutes(desk: Desk, late: timedelta, expected: str) -> None:
    await desk.archive("a")
    desk.now = ASKED + late
    assert outcome(await desk.deliver(matched(("a", 0.99)))) == ("match", expected)
    assert len(desk.answers.shown) == (expected == "sent")


async def test_a_local_question_is_answered_in_the_log_alone(desk: Desk) -> None:
    local = question(LocalReply())
    desk.now = ASKED + timedelta(days=2)
    assert outcome(await desk.deliver(matched(("a", 0.99), verdict="possible", asked=local))) == ("possible", "local")
    assert outcome(await desk.deliver(rejected(local))) == ("error", "local")
    assert desk.answers.shown == []


async def test_an_image_removed_meanwhile_is_left_out(desk: Desk) -> None:
    await desk.archive("a", "b", "c", "d")
    await desk.catalogue.remove("b")
    assert outcome(await desk.deliver(matched(("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6)))) == ("match", "sent")
    assert [each.image_id for each in desk.answers.shown[0][2].found] == ["a", "c", "d"]


async def test_without_the_best_one_only_a_possible_match_is_claimed(desk: Desk) -> None:
    await desk.archive("b")
    assert outcome(await desk.deliver(matched(("a", 0.99), ("b", 0.4)))) == ("possible", "sent")
    assert desk.answers.shown[0][2].verdict == "possible"


async def test_with_every_match_removed_there_is_no_match(desk: Desk) -> None:
    assert outcome(await desk.deliver(matched(("a", 0.99), verdict="possible"))) == ("none", "sent")
    assert desk.answers.shown[0][2].found == []


async def test_no_match_shows_no_picture(desk: Desk) -> None:
    await desk.archive("a")
    assert outcome(await desk.deliver(matched(("a", 0.2), verdict="none"))) == ("none", "sent")
    assert len(desk.answers.shown[0][2].found) == 0


async def test_no_more_matches_than_were_asked_for(desk: Desk) -> None:
    await desk.archive("a", "b", "c")
    await desk.deliver(matched(("a", 0.9), ("b", 0.8), ("c", 0.7), asked=question(top=2)))
    assert [each.image_id for each in desk.answers.shown[0][2].found] == ["a", "b"]


async def test_a_lost_thumbnail_is_no_obstacle(desk: Desk) -> None:
    await desk.archive("a", thumbnail=None)
    await desk.catalogue.merge("b", {"message_link": "https://x/b"})
    assert outcome(await desk.deliver(matched(("a", 0.9), ("b", 0.8)))) == ("match", "sent")
    assert [each.thumbnail for each in desk.answers.shown[0][2].found] == [None, None]


async def test_a_rejected_question_is_answered_with_its_reason(desk: Desk) -> None:
    event = rejected()
    assert outcome(await desk.deliver(event)) == ("error", "sent")
    answer = desk.answers.shown[0][2]
    assert (answer.verdict, answer.problem, list(answer.found)) == ("error", event, [])


async def test_a_gone_interaction_has_expired(desk: Desk) -> None:
    desk.answers.failure = Reject(RejectCode.GONE, "gone")
    assert outcome(await desk.deliver(rejected())) == ("error", "expired")


async def test_what_may_work_later_is_left_to_the_runner(desk: Desk) -> None:
    desk.answers.failure = Retry("busy", after=3)
    with pytest.raises(Retry):
        await desk.deliver(rejected())
    desk.catalogue.down = True
    with pytest.raises(Unavailable):
        await desk.deliver(matched(("a", 0.9)))
    desk.journal.down = True
    with pytest.raises(Unavailable):
        await desk.deliver(rejected())
    assert desk.journal.recorded == {}


def test_the_stage_ends_the_search_lane_alone() -> None:
    assert STAGE.families == ("search",)
    assert STAGE.emits == (SearchAnswered,)
