"""An asker who makes one search after the other through the log, and records the outcomes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.events import (
    LocalReply,
    Person,
    Question,
    SearchAnswered,
    SearchEmbedded,
    SearchFact,
    SearchMatched,
    SearchRejected,
    SearchRequested,
    StoredFile,
)
from contracts.ports import BlobStore, Journal
from contracts.subjects import SEARCHES, guild_lane_filter
from infra.nats.reader import decode_or_warn, follow_log, read_last_sequence
from pipeline.clock import utc_now


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search: the expected and the found image, and the generations that embedded and matched it."""

    expected: str
    found: str | None
    verdict: str
    embedded_in: str | None
    matched_in: str | None
    asked_at: float
    seconds: float

    @property
    def right(self) -> bool:
        return self.verdict == "match" and self.found == self.expected and self.embedded_in == self.matched_in is not None


@dataclass
class Asker:
    """Makes searches with a known answer. Open it with `open_asker`."""

    journal: Journal
    blobs: BlobStore
    guild_id: str
    seen: dict[str, dict[type[SearchFact], SearchFact]] = field(default_factory=dict)
    answered: dict[str, asyncio.Event] = field(default_factory=dict)

    async def ask(self, expected: str, picture: bytes, timeout: float = 60) -> SearchOutcome:
        search_id = f"q{len(self.answered)}"
        self.answered[search_id] = asyncio.Event()
        question = Question(asker=Person(id="5", name="Alex"), requested_at=utc_now(), reply=LocalReply())
        source = StoredFile(blob=await self.blobs.put(picture))
        fact = SearchRequested(guild_id=self.guild_id, search_id=search_id, question=question, filename="q.jpg", source=source)
        began = monotonic()
        await self._record_with_retry(fact)
        await asyncio.wait_for(self.answered[search_id].wait(), timeout)
        return self._build_outcome(search_id, expected, began)

    async def ask_all(self, searches: Sequence[tuple[str, bytes]], pause: float = 0.05) -> list[SearchOutcome]:
        outcomes = []
        for expected, picture in searches:
            outcomes.append(await self.ask(expected, picture))
            await asyncio.sleep(pause)
        return outcomes

    async def _record_with_retry(self, fact: SearchRequested) -> None:
        """Record a fact, and retry during an outage, as Discord's client does while the gateway is away."""
        while True:
            with suppress(Unavailable):
                await self.journal.record(fact, Origin(fact.search_id))
                return
            await asyncio.sleep(0.1)

    def _build_outcome(self, search_id: str, expected: str, began: float) -> SearchOutcome:
        facts = self.seen[search_id]
        embedded, matched = facts.get(SearchEmbedded), facts.get(SearchMatched)
        found = matched.matches[0].image_id if isinstance(matched, SearchMatched) and matched.matches else None
        return SearchOutcome(
            expected=expected,
            found=found,
            verdict=matched.verdict if isinstance(matched, SearchMatched) else "error",
            embedded_in=embedded.generation if isinstance(embedded, SearchEmbedded) else None,
            matched_in=matched.generation if isinstance(matched, SearchMatched) else None,
            asked_at=began,
            seconds=monotonic() - began,
        )

    async def listen(self, client: Client, after: int) -> None:
        async for message in follow_log(client, SEARCHES, [guild_lane_filter("search", self.guild_id)], after=after):
            recorded = decode_or_warn(message)
            if recorded is None or not isinstance(fact := recorded.fact, SearchFact):
                continue
            self.seen.setdefault(fact.search_id, {})[type(fact)] = fact
            if isinstance(fact, SearchAnswered | SearchRejected) and fact.search_id in self.answered:
                self.answered[fact.search_id].set()


@asynccontextmanager
async def open_asker(client: Client, journal: Journal, query_blobs: BlobStore, guild_id: str) -> AsyncIterator[Asker]:
    """Open an asker, who receives answers even if the log's server restarts meanwhile."""
    opened = Asker(journal, query_blobs, guild_id)
    task = asyncio.create_task(opened.listen(client, await read_last_sequence(client, SEARCHES)))
    try:
        yield opened
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, NatsError, JetStreamError):
            await task


def p95_seconds(outcomes: Sequence[SearchOutcome]) -> float:
    """Return the 95th percentile of the answer times in seconds."""
    return sorted(each.seconds for each in outcomes)[int(0.95 * len(outcomes))]
