"""Looking facts up by filter. Each fact has a subject of its own, so the last message of every subject is all there is.

Those that are given a JetStream context are for the adapters of this package, which have one with a timeout of their own.
"""

import json
from collections.abc import Sequence
from typing import Any

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from contracts.errors import Malformed
from contracts.events import Fact
from infra.nats.outages import outages
from infra.nats.wire import RawEntry, read


async def list_subjects(client: Client, stream: str, filters: Sequence[str], *, timeout: float = 5) -> list[str]:
    """The subjects that match and have an entry. Raises Unavailable."""
    with outages():
        subjects, _ = await subjects_under(client.jetstream(timeout=timeout), stream, filters)
    return subjects


async def read_each(client: Client, stream: str, filters: Sequence[str]) -> list[RawEntry]:
    """The last entry of every subject that matches, in the order of the log. Raises Unavailable."""
    entries = [await read_last(client, stream, subject) for subject in await list_subjects(client, stream, filters)]
    return sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.sequence)


async def read_last(client: Client, stream: str, subject: str) -> RawEntry | None:
    """The last entry on a subject, None where there is none. Raises Unavailable."""
    with outages():
        message = await message_on(client.jetstream(), stream, subject)
    return None if message is None else _entry(message)


async def read_next(client: Client, stream: str, after: int) -> RawEntry | None:
    """The first entry behind a sequence, None where there is none. Raises Unavailable."""
    with outages():
        try:
            return _entry(await client.jetstream().get_msg(stream, seq=after + 1, subject=">", next=True))
        except NotFoundError:
            return None


async def find_last(client: Client, stream: str, subjects: str) -> int:
    """The sequence of the last entry on some subjects, 0 where there is none. Raises Unavailable."""
    with outages():
        return await last_on(client.jetstream(), stream, subjects)


async def subjects_under(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[str], int]:
    """The subjects that match and have a message, and where the log ended at the least when they were listed.

    Raises nats-py's errors when the server cannot be reached.
    """
    pages = [page for each in filters for page in await _pages(js, stream, each)]
    return [subject for page in pages for subject in page.get("subjects") or ()], min(page["last_seq"] for page in pages)


async def _pages(js: JetStreamContext, stream: str, subjects: str) -> list[dict[str, Any]]:
    """The stream's state as the server tells it with some subjects, of which it names at most 100,000 in one answer.

    nats-py cannot ask for the pages that follow the first one.
    """
    pages: list[dict[str, Any]] = []
    listed = 0
    while True:
        question = json.dumps({"subjects_filter": subjects, "offset": listed}).encode()
        answer = await js._api_request(f"{js._prefix}.STREAM.INFO.{stream}", question, timeout=js._timeout)
        pages.append(answer["state"])
        named = len(answer["state"].get("subjects") or ())
        listed += named
        if not named or listed >= answer.get("total", listed):
            return pages


async def facts_under(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[Fact], int]:
    """The facts on the subjects that match, in the order of the log, and up to where none is missing.

    Those that this version cannot read are left out. Raises nats-py's errors when the server cannot be reached.
    """
    subjects, until = await subjects_under(js, stream, filters)
    messages = [await message_on(js, stream, subject) for subject in subjects]
    in_order = sorted((message for message in messages if message is not None), key=lambda message: message.seq or 0)
    return [fact for message in in_order if (fact := _fact(message)) is not None], until


async def message_on(js: JetStreamContext, stream: str, subject: str) -> RawStreamMsg | None:
    """The last message on a subject, None where there is none. Raises nats-py's errors when the server cannot be reached."""
    try:
        return await js.get_last_msg(stream, subject)
    except NotFoundError:
        return None


async def first_on(js: JetStreamContext, stream: str, subjects: str) -> RawStreamMsg | None:
    """The earliest message on some subjects, None where there is none. Raises nats-py's errors as the others do."""
    try:
        return await js.get_msg(stream, seq=1, subject=subjects, next=True)
    except NotFoundError:
        return None


async def last_on(js: JetStreamContext, stream: str, subjects: str) -> int:
    """The sequence of the last message on some subjects, 0 where there is none. Raises nats-py's errors as the others do."""
    message = await message_on(js, stream, subjects)
    return 0 if message is None else message.seq or 0


def _entry(message: RawStreamMsg) -> RawEntry:
    return RawEntry(message.seq or 0, message.subject or "", message.headers or {}, message.data or b"")


def _fact(message: RawStreamMsg) -> Fact | None:
    try:
        return read(message.subject or "", message.headers, message.data or b"").fact
    except Malformed:
        return None
