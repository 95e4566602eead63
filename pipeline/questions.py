"""The pictures that people asked with go when the question goes, unless somebody voted on the answer or waits for the picture."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import structlog

from contracts.errors import Unavailable
from contracts.events import AlertSet, SearchJudged
from contracts.subjects import SEARCHES, kind_filter, stream_of
from infra.blobs.files import FileBlobStore
from infra.nats.connection import Client
from infra.nats.reader import past, readable
from infra.tasks import end_if_cancelled
from pipeline.topology import KEPT_FOR

log = structlog.get_logger()

EVERY_S = timedelta(days=1).total_seconds()
AGE_S = (KEPT_FOR[SEARCHES] + timedelta(hours=1)).total_seconds()
"""A picture is put when its question is asked, so by then the log has dropped the question; the hour is for clocks that differ."""


async def sweep(client: Client, questions: FileBlobStore, age_s: float = AGE_S) -> int:
    """Delete the pictures of questions that the log has dropped; returns how many went. Raises Unavailable."""
    old = await old_pictures(client, questions, age_s)
    for name in old:
        await questions.delete(name)
    return len(old)


async def old_pictures(client: Client, questions: FileBlobStore, age_s: float = AGE_S) -> set[str]:
    """The pictures of questions that the log has dropped. Raises Unavailable."""
    old = set(await questions.untouched_since(age_s))
    return old - await _kept(client) if old else old


async def _kept(client: Client) -> set[str]:
    """The pictures of the evaluation set, and those that somebody waits for."""
    kept: set[str] = set()
    for kind in (SearchJudged, AlertSet):
        async with aclosing(past(client, stream_of(kind), [kind_filter(kind)])) as messages:
            async for message in messages:
                recorded = readable(message)
                if recorded is not None and isinstance(fact := recorded.fact, SearchJudged | AlertSet) and fact.pixels:
                    kept.add(fact.pixels)
    return kept


async def keep_sweeping(client: Client, questions: FileBlobStore) -> None:
    """Sweep now and every day. An outage is waited out until the next day."""
    while True:
        try:
            gone = await sweep(client, questions)
            log.info("pictures of old questions deleted", count=gone)
        except Unavailable as outage:
            log.warning("pictures of old questions could not be deleted", error=str(outage))
        end_if_cancelled()
        await asyncio.sleep(EVERY_S)
