"""The stage reply: sends answers to askers, shows the progress of a search, and shows other pages when a button is pressed.

Replay-safe: answered searches are skipped, and so are those whose interaction token has expired. Showing a page again shows the
same.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from contracts.errors import BlobMissing, Reject, Retry
from contracts.events import (
    DiscordReply,
    Fact,
    Match,
    Question,
    SearchAnswered,
    SearchBrowsed,
    SearchDescribed,
    SearchFact,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
    SearchRequested,
    Verdict,
)
from contracts.ports import AnswerPage, AnswerSender, BlobStore, Catalogue, Document, Journal, SearchStep
from contracts.stage import Stage
from stages.answer_pages import PageView, build_empty_page, build_page

SearchResult = SearchMatched | SearchRejected
Outcome = Literal["sent", "local", "expired"]
ExplainMatch = Callable[[SearchMatched, Match, Document, str], Awaitable[bytes | None]]
TOKEN_LIFETIME = timedelta(minutes=15)

PROGRESS_STEPS: Mapping[type[Fact], SearchStep] = {
    SearchRequested: "fetching",
    SearchDescribed: "comparing",
    SearchPreprocessed: "comparing",
}
"""The step that a waiting asker is shown when these facts are recorded: at most two edits for each search."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`explain` draws why an image was found; `now` is the clock, by which expired interactions are skipped."""

    answers: AnswerSender
    catalogue: Catalogue
    blobs: BlobStore
    journal: Journal
    explain: ExplainMatch
    now: Callable[[], datetime]


async def handle(event: SearchFact | SearchBrowsed, deps: Deps) -> Sequence[Fact]:
    """Show the answer, page or step while the interaction's token is valid. Raises Retry and Unavailable from the ports."""
    match event:
        case SearchMatched() | SearchRejected():
            return await _answer_once(event, deps)
        case SearchBrowsed():
            await _show_page(event, deps)
        case SearchFact():
            await _show_step(event, PROGRESS_STEPS[type(event)], deps)
    return ()


async def _answer_once(event: SearchResult, deps: Deps) -> Sequence[Fact]:
    """Answer the asker, once."""
    reply = event.question.reply
    verdict: Verdict = event.verdict if isinstance(event, SearchMatched) else "error"
    if not isinstance(reply, DiscordReply):
        return (_build_answered(event, verdict, "local"),)
    if await deps.journal.holds(SearchAnswered, *event.key):
        return ()
    if _is_expired(event.question, deps):
        return (_build_answered(event, verdict, "expired"),)
    answer = await _build_first_page(event, deps)
    return (_build_answered(event, answer.verdict, "sent" if await _show(reply, answer, deps) else "expired"),)


async def _show_page(event: SearchBrowsed, deps: Deps) -> None:
    """Show the presser a page with what they may read now. If the log no longer has the search, the page says so."""
    question = event.question
    if not isinstance(question.reply, DiscordReply) or _is_expired(question, deps):
        return
    found = await deps.journal.fetch(SearchMatched, event.guild_id, event.search_id)
    if found is None:
        answer = build_empty_page(event.search_id, question, "error")
    else:
        answer = await _build_page(found, question, deps, number=event.piece, view=event.view, page=event.page)
        if event.view == "why":
            answer = replace(answer, explanation=await _draw_explanation(found, answer, question, deps))
    await _show(question.reply, answer, deps)


async def _draw_explanation(found: SearchMatched, answer: AnswerPage, viewer: Question, deps: Deps) -> bytes | None:
    """Draw why the best post was found. Only for the asker, since the picture shows their query."""
    if answer.piece is None or viewer.asker.id != found.question.asker.id:
        return None
    best = answer.piece.best
    match = next((match for match in found.matches if match.image_id == best.image_id), None)
    return None if match is None else await deps.explain(found, match, best.document, viewer.locale)


async def _show_step(event: SearchFact, step: SearchStep, deps: Deps) -> None:
    """Show the current step of the search, if possible. Not in follow-ups: all edits of one interaction share a rate limit."""
    reply = event.question.reply
    if not isinstance(reply, DiscordReply) or reply.message_id is not None or _is_expired(event.question, deps):
        return
    if await _fetch_result(event, deps) is None:
        with suppress(Reject, Retry):
            await deps.answers.show_progress(reply.application_id, reply.token, step, event.question.locale)
    elif not await deps.journal.holds(SearchAnswered, *event.key):
        return
    # The answer may have been recorded and shown while our edit was on its way, so that the step now covers the answer. An earlier
    # delivery that was interrupted here may have done the same. Only an edit after ours is sure to stay: show the answer again.
    result = await _fetch_result(event, deps)
    if result is not None:
        await _show(reply, await _build_first_page(result, deps), deps)


async def _fetch_result(event: SearchFact, deps: Deps) -> SearchResult | None:
    return await deps.journal.fetch(SearchMatched, *event.key) or await deps.journal.fetch(SearchRejected, *event.key)


async def _show(reply: DiscordReply, answer: AnswerPage, deps: Deps) -> bool:
    """Return False if the interaction is gone."""
    try:
        await deps.answers.edit(reply.application_id, reply.token, answer, message_id=reply.message_id)
    except Reject:
        return False
    return True


def _is_expired(question: Question, deps: Deps) -> bool:
    return deps.now() - question.requested_at >= TOKEN_LIFETIME


async def _build_first_page(event: SearchResult, deps: Deps) -> AnswerPage:
    """Build the first page for the asker."""
    if isinstance(event, SearchRejected):
        return build_empty_page(event.search_id, event.question, "error", event)
    return await _build_page(event, event.question, deps)


async def _build_page(
    event: SearchMatched, viewer: Question, deps: Deps, *, number: int = 0, view: PageView = "piece", page: int = 0
) -> AnswerPage:
    """Build the page of a piece as the viewer may see it now, with the thumbnail of its best post."""
    ids = {image_id for match in event.matches for image_id in (match.image_id, *match.posts)}
    documents = {image_id: entry.document for image_id, entry in (await deps.catalogue.entries(ids)).items()}
    answer = build_page(event, documents, viewer, number=number, view=view, page=page)
    if answer.piece is None:
        return answer
    best = answer.piece.best
    best = replace(best, thumbnail=await _get_thumbnail(best.document, deps.blobs))
    return replace(answer, piece=replace(answer.piece, best=best))


async def _get_thumbnail(document: Document, blobs: BlobStore) -> bytes | None:
    media = document.get("media")
    if media is None:
        return None
    try:
        return await blobs.get(media["thumbnail"])
    except BlobMissing:
        return None


def _build_answered(event: SearchResult, verdict: Verdict, outcome: Outcome) -> SearchAnswered:
    return SearchAnswered(
        guild_id=event.guild_id, search_id=event.search_id, question=event.question, verdict=verdict, outcome=outcome
    )


STAGE = Stage(
    name="reply",
    consumes=(SearchRequested, SearchDescribed, SearchPreprocessed, SearchMatched, SearchRejected, SearchBrowsed),
    emits=(SearchAnswered,),
    handle=handle,
    deps=Deps,
    live_only=True,
)
