"""The Journal port on JetStream, which records each fact at most once; and appending raw entries to restore a log."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import datetime
from itertools import islice

from nats.aio.client import Client
from nats.js.api import Header, PubAck, RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from contracts.envelope import Origin, build_headers
from contracts.errors import Unavailable
from contracts.events import Fact
from contracts.ports import F
from contracts.subjects import all_variants_filter, stream_of, subject_of, uniqueness_filter, versions_filter
from infra.nats.connection import UNREACHABLE_ERRORS, translate_outages
from infra.nats.reader import RawEntry, decode_fact, encode_body, get_first_message, get_last_message

WRONG_LAST_SEQUENCE = 10071
"""The server's error code when a subject has a message although it was expected to be empty."""

EXPECTED_SUBJECT_HEADER = "Nats-Expected-Last-Subject-Sequence-Subject"
"""Header: the subjects whose last sequence the server checks instead of the published subject's. May hold wildcards
(docs/adr/0005)."""


class JetStreamJournal:
    """Records facts, each on the subject of its entity. The server refuses a fact whose subject is not empty."""

    def __init__(self, client: Client, *, source: str, now: Callable[[], datetime], timeout: float = 5) -> None:
        self._js = client.jetstream(timeout=timeout)
        self.source = source
        self._now = now
        self._timeout = timeout

    async def record(self, fact: Fact, origin: Origin) -> bool:
        headers = build_headers(fact, origin, self.source, self._now())
        return await self.publish_once(
            subject_of(fact), encode_body(fact), headers, stream_of(fact), empty_subjects=uniqueness_filter(fact)
        )

    async def publish_once(
        self,
        subject: str,
        body: bytes,
        headers: dict[str, str],
        stream: str,
        *,
        empty_subjects: str | None = None,
        expected_sequence: int = 0,
    ) -> bool:
        """Publish on a subject. Return False if there is a message on `empty_subjects` already (default: on this subject).

        `expected_sequence` is the sequence of a message there that is allowed, 0 for none. Raises Unavailable.
        """
        conditions = headers | {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(expected_sequence)}
        if empty_subjects not in (None, subject):
            conditions[EXPECTED_SUBJECT_HEADER] = str(empty_subjects)
        try:
            await self._js.publish(subject, body, timeout=self._timeout, stream=stream, headers=conditions)
        except APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                return False
            raise Unavailable("log", error.description or str(error)) from error
        except UNREACHABLE_ERRORS as error:
            raise Unavailable("log", f"no acknowledgement within {self._timeout:g} s") from error
        return True

    async def read_last_headers(self, stream: str, subject: str) -> tuple[dict[str, str] | None, int]:
        """Return headers and sequence of the last message on a subject, None and 0 if there is none. Raises Unavailable.

        The request names the subject, so that a user may be allowed to read some subjects of a stream only.
        """
        with translate_outages():
            try:
                message = await self._js.get_last_msg(stream, subject, direct=True)
            except NotFoundError:
                return None, 0
        return dict(message.headers or {}), message.seq or 0

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        return await self._read_last(fact, key) is not None

    async def fetch(self, fact: type[F], *key: str) -> F | None:
        return _decode_kind(await self._read_last(fact, key), fact)

    async def fetch_first(self, fact: type[F], *entity: str) -> F | None:
        with translate_outages():
            return _decode_kind(await get_first_message(self._js, stream_of(fact), all_variants_filter(fact, *entity)), fact)

    async def _read_last(self, fact: type[Fact], key: tuple[str, ...]) -> RawStreamMsg | None:
        with translate_outages():
            return await get_last_message(self._js, stream_of(fact), versions_filter(fact, *key))


class AppendError(Exception):
    """The server refused to append an entry at its sequence. The text says why."""


async def append_entries(
    client: Client, stream: str, entries: Iterable[RawEntry], *, batch_size: int, timeout: float = 30
) -> AsyncGenerator[int, None]:
    """Append entries at their sequences behind the end of a stream, in batches. Yield the last sequence after each batch.

    Raises AppendError if the stream does not end right before an entry's sequence, and Unavailable.
    """
    js = client.jetstream(publish_async_max_pending=batch_size)
    remaining = iter(entries)
    while batch := list(islice(remaining, batch_size)):
        acknowledgements: list[asyncio.Future[PubAck]] = []
        try:
            for entry in batch:
                headers = {**entry.headers, Header.EXPECTED_LAST_SEQUENCE.value: str(entry.sequence - 1)}
                acknowledgements.append(await js.publish_async(entry.subject, entry.body, stream=stream, headers=headers))
            async with asyncio.timeout(timeout):
                await asyncio.gather(*acknowledgements)
        except UNREACHABLE_ERRORS as error:
            raise Unavailable("log", str(error) or type(error).__name__) from error
        except APIError as error:
            raise AppendError(error.description) from error
        yield batch[-1].sequence


def _decode_kind(message: RawStreamMsg | None, kind: type[F]) -> F | None:
    if message is None:
        return None
    found = decode_fact(message.subject or "", message.headers, message.data or b"").fact
    return found if isinstance(found, kind) else None
