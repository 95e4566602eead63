"""MatchExplainer: what an explanation is drawn from, and what happens if some of it is gone."""

from datetime import UTC, datetime

import pytest

from contracts.envelope import Origin
from contracts.events import (
    Evidence,
    ImageFingerprinted,
    LocalReply,
    Match,
    Person,
    Question,
    SearchFingerprinted,
    SearchMatched,
)
from stages.matching import MatchExplainer
from tests.support.fakes import MemoryBlobs, MemoryJournal

PROVEN = Match(image_id="3", score=0.97, evidence=Evidence(by="points", points=9))
QUESTION = Question(asker=Person(id="5", name="Ada"), requested_at=datetime(2026, 11, 21, tzinfo=UTC), reply=LocalReply())


class Bench:
    """A query and an archived image, with all that was compared."""

    def __init__(self) -> None:
        self.journal, self.questions, self.archive = MemoryJournal(), MemoryBlobs(), MemoryBlobs()
        self.readable = True

    async def fill(self) -> "Bench":
        query, query_print = await self.questions.put(b"asked"), await self.questions.put(b"asked print")
        self.pixels, archived_print = await self.archive.put(b"archived"), await self.archive.put(b"archived print")
        search = {"guild_id": "7", "search_id": "9", "question": QUESTION, "preprocessing": "p1", "method": "f1"}
        image = {"guild_id": "7", "channel_id": "8", "image_id": "3", "generation": "g1", "method": "f1"}
        fingerprinted = SearchFingerprinted(**search, pixels=query, width=1, height=1, fingerprint=query_print)
        await self.journal.record(fingerprinted, Origin("9"))
        archived = ImageFingerprinted(**image, fingerprint=archived_print, hash="0" * 64, quality=1, features=1)
        await self.journal.record(archived, Origin("3"))
        return self

    async def draw(self, *sources: object) -> bytes:
        if not self.readable:
            raise ValueError("these bytes are no print")
        return repr((*sources[:4], sources[5])).encode()

    async def explain(self, match: Match = PROVEN, generation: str = "g1") -> bytes | None:
        found = SearchMatched(
            guild_id="7", search_id="9", question=QUESTION, generation=generation, verdict="match", matches=(match,), trained=True
        )
        explainer = MatchExplainer(self.journal, self.questions, self.archive, self.draw)
        return await explainer(found, match, {"media": {"pixels": self.pixels}}, "de")


@pytest.fixture
async def bench() -> Bench:
    return await Bench().fill()


async def test_the_explanation_is_drawn_from_both_pictures_and_both_fingerprints(bench: Bench) -> None:
    assert await bench.explain() == b"(b'asked', b'archived', b'asked print', b'archived print', 'de')"


async def test_nothing_is_drawn_without_evidence_or_in_another_generation(bench: Bench) -> None:
    assert await bench.explain(Match(image_id="3", score=0.97)) is None
    assert await bench.explain(generation="g2") is None


@pytest.mark.parametrize("gone", ["questions", "archive", "journal", "readable"])
async def test_nothing_is_drawn_if_a_source_is_gone_or_unreadable(bench: Bench, gone: str) -> None:
    if gone == "readable":
        bench.readable = False
    elif gone == "journal":
        bench.journal.recorded.clear()
    else:
        getattr(bench, gone).blobs.clear()
    assert await bench.explain() is None
