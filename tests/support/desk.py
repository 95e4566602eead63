"""The reply stage with everything around it in memory, and builders of the facts that it handles."""

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.envelope import Origin
from contracts.errors import Reject, RejectCode
from contracts.events import (
    Calibration,
    DiscordReply,
    Fact,
    LocalReply,
    Match,
    Person,
    Question,
    SearchAnswered,
    SearchBrowsed,
    SearchDescribed,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
    SearchRequested,
    StoredFile,
    Verdict,
)
from contracts.ports import AnswerPage, Document
from stages.reply import Deps, handle
from tests.support.fakes import MemoryAnswers, MemoryBlobs, MemoryCatalogue, MemoryJournal

ASKED_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
CALIBRATION = Calibration(match_at=0.9, possible_at=0.5)
GONE_REJECT = Reject(RejectCode.GONE, "gone")


class ReplyDesk:
    """The reply stage with in-memory ports. Like the runner, it records the facts that the stage consumes and returns."""

    def __init__(self) -> None:
        self.answers, self.catalogue = MemoryAnswers(), MemoryCatalogue()
        self.blobs, self.journal = MemoryBlobs(), MemoryJournal()
        self.now = ASKED_AT + timedelta(seconds=2)
        self.deps = Deps(
            answers=self.answers,
            catalogue=self.catalogue,
            blobs=self.blobs,
            journal=self.journal,
            explain=self._explain,
            now=lambda: self.now,
        )
        self.drawn: list[str] = []

    async def _explain(self, _: SearchMatched, match: Match, document: Document, locale: str) -> bytes | None:
        self.drawn.append(f"{match.image_id} at {document['message_link']} in {locale}")
        return b"drawn" if match.evidence else None

    async def archive(self, *image_ids: str, thumbnail: bool = True, day: int = 1, **metadata: Any) -> None:
        """Catalogue images of the guild, in channel 2 by default, posted on a day of March 2024."""
        known = {"guild_id": "1", "channel_id": "2", "upload_timestamp": f"2024-03-{day:02}T12:30:00+00:00"}
        for image_id in image_ids:
            name = await self.blobs.put(image_id.encode()) if thumbnail else "0" * 64
            document = {"message_link": f"https://x/{image_id}", "media": {"thumbnail": name}, "metadata": known | metadata}
            await self.catalogue.merge(image_id, document)

    async def record(self, fact: Fact) -> None:
        await self.journal.record(fact, Origin("interaction-9"))

    async def deliver(self, event: Fact) -> list[Fact]:
        await self.record(event)
        facts = list(await handle(event, self.deps))
        for fact in facts:
            await self.record(fact)
        return facts

    async def browse(self, **what: Any) -> AnswerPage:
        """Return the page that a button press shows."""
        assert await self.deliver(browsed(**what)) == []
        return self.answer

    @property
    def answer(self) -> AnswerPage:
        """The answer that was shown last."""
        return self.answers.shown[-1][2]

    @property
    def large(self) -> str | None:
        """The image id of the post that is shown large."""
        return self.answer.piece.best.image_id if self.answer.piece else None


def question(reply: DiscordReply | LocalReply | None = None, **more: Any) -> Question:
    reply = reply or DiscordReply(application_id="42", token="secret")
    return Question(asker=Person(id="7", name="Steve"), requested_at=ASKED_AT, reply=reply, **more)


def presser(*channels: str, **more: Any) -> Question:
    """Build the query of another member, who pressed a button and may read these channels (none given: all)."""
    reply = DiscordReply(application_id="42", token="pressed")
    asker = Person(id="8", name="Alex")
    return Question(asker=asker, requested_at=ASKED_AT, reply=reply, readable_channels=channels or None, **more)


def piece(image_id: str, score: float, *posts: str) -> Match:
    return Match(image_id=image_id, score=score, posts=posts)


def matched(*matches: Match, verdict: Verdict = "match", asked: Question | None = None, **more: Any) -> SearchMatched:
    known = {"generation": "g1", "trained": True, "calibration": CALIBRATION}
    return SearchMatched(
        guild_id="1", search_id="9", question=asked or question(), verdict=verdict, matches=matches, **(known | more)
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


def requested(asked: Question | None = None) -> SearchRequested:
    return SearchRequested(
        guild_id="1", search_id="9", question=asked or question(), filename="a.png", source=StoredFile(blob="0" * 64)
    )


def described(asked: Question | None = None) -> SearchDescribed:
    return SearchDescribed(guild_id="1", search_id="9", question=asked or question(), words="a fox")


def preprocessed(asked: Question | None = None) -> SearchPreprocessed:
    return SearchPreprocessed(
        guild_id="1", search_id="9", question=asked or question(), pixels="0" * 64, width=1, height=1, preprocessing="p1"
    )


def browsed(asked: Question | None = None, **what: Any) -> SearchBrowsed:
    return SearchBrowsed(guild_id="1", search_id="9", interaction_id="55", question=asked or presser(), **what)


def answered_outcome(facts: list[Fact]) -> tuple[Verdict, str]:
    (fact,) = facts
    assert isinstance(fact, SearchAnswered)
    assert fact.key == ("1", "9")
    return fact.verdict, fact.outcome
