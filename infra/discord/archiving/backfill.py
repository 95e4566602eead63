"""Filling in the past of a channel, page by page, oldest first: a page is in the log before the position after it is saved.

A page that is read again after a restart records nothing twice, since the log keeps each image once.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from contracts.envelope import Origin
from contracts.errors import Retry, Unavailable
from contracts.events import ImagePosted
from contracts.ports import State
from contracts.state import Backfill, amend
from infra.discord.archiving.history import Unreadable
from infra.discord.recorder import Recorder

log = structlog.get_logger()

Shown = Callable[[Backfill], Awaitable[None]]
"""Is told of every page."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages of a channel: how many, the last one's id (None: there are none), their images, and whether more may follow."""

    messages: int
    last: int | None
    posts: Sequence[ImagePosted]
    more: bool


class Past(Protocol):
    """Reads history."""

    async def page(self, channel_id: str, after: int, until: int) -> Page:
        """The messages after an id and up to another, oldest first. Raises Unreadable, and Retry for what may work later."""
        ...


class Backfilling:
    """Works on one back-fill at a time; what is stored under its key is the truth, and others may pause or cancel it there."""

    def __init__(self, state: State, past: Past, recorder: Recorder, *, first_wait: float = 1.0) -> None:
        self._state = state
        self._past = past
        self._recorder = recorder
        self._first_wait = first_wait

    async def run(self, key: str, backfill: Backfill, shown: Shown) -> Backfill:
        """Go on until it is finished, paused or cancelled, through any outage of Discord or the log; returns it as it is then."""
        while backfill.state == "running":
            retrying = AsyncRetrying(
                retry=retry_if_exception_type((Retry, Unavailable)),
                wait=wait_exponential(multiplier=self._first_wait, max=60),
                before_sleep=lambda state: log.warning("back-fill waits", error=str(state.outcome and state.outcome.exception())),
            )
            backfill = await retrying(self._step, key, backfill)
            await shown(backfill)
        return backfill

    async def _step(self, key: str, backfill: Backfill) -> Backfill:
        started, source = time.monotonic(), backfill.sources[backfill.done]
        try:
            page = await self._past.page(source, int(backfill.position), int(backfill.until))
        except Unreadable:
            log.warning("back-fill leaves out history that the bot may not read", channel=source)
            page, unreadable = Page(0, None, (), more=False), (*backfill.unreadable, source)
        else:
            unreadable = backfill.unreadable
            for post in page.posts:
                self._recorder.add(post, Origin(correlation_id=f"message-{post.message_id}"))
        await self._recorder.settled()
        changes = {
            **_moved(backfill, page),
            "messages": backfill.messages + page.messages,
            "images": backfill.images + len(page.posts),
            "unreadable": unreadable,
            "worked_s": backfill.worked_s + time.monotonic() - started,
        }
        return await amend(self._state, key, Backfill, lambda stored: _merged(stored or backfill, changes))


def _moved(backfill: Backfill, page: Page) -> dict[str, Any]:
    """Where the next page begins."""
    if page.more and page.last is not None:
        return {"position": str(page.last)}
    return {"position": backfill.since, "done": backfill.done + 1}


def _merged(stored: Backfill, changes: dict[str, Any]) -> Backfill:
    """What was found, on top of what was decided meanwhile: a back-fill that was cancelled does not finish."""
    merged = stored.model_copy(update=changes)
    if merged.state in ("running", "paused") and merged.done >= len(merged.sources):
        return merged.model_copy(update={"state": "finished"})
    return merged
