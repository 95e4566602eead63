"""Reply: a verdict becomes the asker's answer. Replay-safe: an answered question and one older than its token are passed over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from contracts.errors import BlobMissing, Reject
from contracts.events import Fact, LocalReply, SearchAnswered, SearchMatched, SearchRejected, Verdict
from contracts.ports import Answer, Answering, BlobStore, Catalogue, CatalogueEntry, Found, Journal
from contracts.stage import Stage

Outcome = Literal["sent", "local", "expired"]
TOKEN_LIFE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Deps:
    """Where answers go, what they are made of, and the clock that says when they are too late."""

    answering: Answering
    catalogue: Catalogue
    blobs: BlobStore
    journal: Journal
    now: Callable[[], datetime]


async def handle(event: SearchMatched | SearchRejected, deps: Deps) -> Sequence[Fact]:
    """Answer once, and only while the interaction's token lives. Raises Retry and Unavailable as the ports do."""
    reply = event.question.reply
    if isinstance(reply, LocalReply):
        return (_answered(event, _verdict_of(event), "local"),)
    if await deps.journal.holds(SearchAnswered, *event.key):
        return ()
    if deps.now() - event.question.requested_at >= TOKEN_LIFE:
        return (_answered(event, _verdict_of(event), "expired"),)
    answer = await answer_to(event, deps)
    try:
        await deps.answering.edit(reply.application_id, reply.token, answer)
    except Reject:
        return (_answered(event, answer.verdict, "expired"),)
    return (_answered(event, answer.verdict, "sent"),)


def _verdict_of(event: SearchMatched | SearchRejected) -> Verdict:
    return event.verdict if isinstance(event, SearchMatched) else "error"


async def answer_to(event: SearchMatched | SearchRejected, deps: Deps) -> Answer:
    """What the asker is shown now.

    Images that were removed since the verdict are left out. The verdict was about the best of them: without that one, nothing
    better than "possible" is claimed of the others, and with none left it is "none".
    """
    if isinstance(event, SearchRejected):
        return Answer(verdict="error", found=(), trained=True, problem=event)
    if event.verdict not in ("match", "possible"):
        return Answer(verdict=event.verdict, found=(), trained=event.trained)
    entries = await deps.catalogue.entries([match.image_id for match in event.matches])
    known = [match for match in event.matches if match.image_id in entries][: event.question.top]
    found = [
        Found(
            match.image_id, match.score, entries[match.image_id].document, await _thumbnail_of(entries[match.image_id], deps.blobs)
        )
        for match in known
    ]
    verdict: Verdict = "none" if not found else event.verdict if found[0].image_id == event.matches[0].image_id else "possible"
    return Answer(verdict=verdict, found=found, trained=event.trained)


async def _thumbnail_of(entry: CatalogueEntry, blobs: BlobStore) -> bytes | None:
    media = entry.document.get("media")
    if media is None:
        return None
    try:
        return await blobs.get(media["thumbnail"])
    except BlobMissing:
        return None


def _answered(event: SearchMatched | SearchRejected, verdict: Verdict, outcome: Outcome) -> SearchAnswered:
    return SearchAnswered(
        guild_id=event.guild_id, search_id=event.search_id, question=event.question, verdict=verdict, outcome=outcome
    )


STAGE = Stage(name="reply", consumes=(SearchMatched, SearchRejected), emits=(SearchAnswered,), handle=handle, deps=Deps)
