"""Reading the log in order from any place on, without a durable: for projections, and for those who look for something in it.

Facts to message bodies and back. The body is the payload as JSON; everything else is in the headers and the subject.

Looking facts up by filter. Each fact has a subject of its own, so the last message of every subject is all there is.

Those that are given a JetStream context are for the adapters of this package, which have one with a timeout of their own.

How much of a log matches a filter. The server counts it for a consumer, however much it is; nothing is read.

The Posts port: images are looked up in the log itself, which is never behind.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, RawStreamMsg
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from contracts.envelope import Origin, parse_origin, parse_payload
from contracts.errors import Malformed
from contracts.events import Fact, ImagePosted
from contracts.subjects import IMAGES, guild_filter, is_subject_of, parse_subject, posts_of_message_filter, subject_of
from infra.nats.connection import translate_outages
from infra.tasks import raise_if_cancelled

log = structlog.get_logger()

FETCH_BATCH_MESSAGES = 256


@dataclass(frozen=True, slots=True)
class RecordedFact:
    """A fact as it was read from the log."""

    fact: Fact
    origin: Origin


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry of a log as it lies there, whether it can be read or not."""

    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes


def encode_body(fact: Fact) -> bytes:
    """The message body of a fact."""
    return orjson.dumps(fact.model_dump(mode="json"))


def decode_fact(subject: str, headers: Mapping[str, str] | None, body: bytes) -> RecordedFact:
    """The fact on a subject. Raises Malformed when the bytes are no such fact, or one about another entity than the subject's."""
    type_name, version = parse_subject(subject)
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body on {subject} is not JSON: {error}") from None
    fact = parse_payload(type_name, version, document)
    if not is_subject_of(fact, subject):
        raise Malformed(f"the body on {subject} is about another entity: {subject_of(fact)}")
    return RecordedFact(fact, parse_origin(headers or {}, subject))


async def follow_log(client: Client, stream: str, filters: Sequence[str], *, after: int = 0) -> AsyncGenerator[Msg, None]:
    """Every matching message with a stream sequence above `after`, in order, then the new ones as they come, for ever.

    Survives restarts of the server: the ephemeral consumer is made anew behind the last entry that was yielded.
    """
    position = after
    while True:
        try:
            async for message in _messages(client, stream, filters, position):
                metadata = message.metadata
                if metadata.sequence.stream <= position:
                    continue
                position = metadata.sequence.stream
                yield message
        except ConnectionClosedError:
            raise
        except (NatsError, JetStreamError, TimeoutError) as error:
            log.debug("log_read_resumed", stream=stream, position=position, error=str(error) or type(error).__name__)
            await asyncio.sleep(0.25)


async def _messages(client: Client, stream: str, filters: Sequence[str], after: int) -> AsyncIterator[Msg]:
    js = client.jetstream()
    async with _reading(js, stream, filters, _behind(after)) as (subscription, info):
        while True:
            raise_if_cancelled()
            try:
                messages = await subscription.fetch(FETCH_BATCH_MESSAGES, timeout=5)
            except TimeoutError:
                # Quiet, or the consumer is gone (a restarted server forgets it): asking tells which.
                await js.consumer_info(stream, info.name)
                continue
            for message in messages:
                yield message


async def read_log(
    client: Client, stream: str, filters: Sequence[str], *, since: datetime | None = None, after: int = 0, bodies: bool = True
) -> AsyncGenerator[Msg, None]:
    """Every matching message that is in the log now, in order: of those recorded since a moment, or behind a stream sequence.

    Without `bodies` their data is empty, which spares the way for those who need only subjects and headers.
    What is recorded or purged meanwhile is left out. Raises Unavailable, in the middle too when the server goes away there.
    """
    js = client.jetstream()
    until = await read_last_sequence(client, stream)
    start = _behind(after) if since is None else {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": since}
    start |= {"headers_only": not bodies}
    with translate_outages():
        async with _reading(js, stream, filters, start) as (subscription, info):
            left = info.num_pending or 0
            while left:
                raise_if_cancelled()
                try:
                    messages = await subscription.fetch(min(left, FETCH_BATCH_MESSAGES), timeout=1)
                except TimeoutError:
                    left = (await js.consumer_info(stream, info.name)).num_pending or 0  # none when what was left has been purged
                    continue
                for message in messages:
                    if message.metadata.sequence.stream > until:
                        return
                    yield message
                left = messages[-1].metadata.num_pending or 0


def _behind(sequence: int) -> dict[str, Any]:
    return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": sequence + 1}


@asynccontextmanager
async def _reading(
    js: JetStreamContext, stream: str, filters: Sequence[str], start: dict[str, Any]
) -> AsyncIterator[tuple[JetStreamContext.PullSubscription, ConsumerInfo]]:
    """A consumer of one's own, for as long as one reads."""
    config = ConsumerConfig(
        filter_subjects=list(filters), ack_policy=AckPolicy.NONE, inactive_threshold=30, mem_storage=True, **start
    )
    info = await js.add_consumer(stream, config)
    subscription = await js.pull_subscribe_bind(info.name, stream=stream)
    try:
        yield subscription, info
    finally:
        with suppress(NatsError, JetStreamError, TimeoutError):
            await subscription.unsubscribe()
            await js.delete_consumer(stream, info.name)


def decode_or_warn(message: Msg) -> RecordedFact | None:
    """The fact of a log entry, or None, with a warning, if this version cannot read it."""
    try:
        return decode_fact(message.subject, message.headers, message.data)
    except Malformed as error:
        log.warning("log_entry_unreadable", subject=message.subject, error=str(error))
        return None


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a stream has come, how many entries it holds, and when it was made."""

    last: int
    entries: int
    created: datetime | None


async def read_stream_state(client: Client, stream: str) -> StreamState:
    """The state of a stream. Raises Unavailable, also where there is no such stream."""
    with translate_outages():
        info = await client.jetstream().stream_info(stream)
    return StreamState(info.state.last_seq, info.state.messages, info.created)


async def has_stream(client: Client, stream: str) -> bool:
    """Whether there is a stream of that name. Raises Unavailable."""
    with translate_outages():
        try:
            await client.jetstream().stream_info(stream)
        except NotFoundError:
            return False
    return True


async def read_last_sequence(client: Client, stream: str) -> int:
    """The sequence of the last entry of a stream; 0 when it is empty. Raises as `read_stream`."""
    return (await read_stream_state(client, stream)).last


async def list_subjects(client: Client, stream: str, filters: Sequence[str], *, timeout: float = 5) -> list[str]:
    """The subjects that match and have an entry. Raises Unavailable."""
    with translate_outages():
        subjects, _ = await scan_subjects(client.jetstream(timeout=timeout), stream, filters)
    return subjects


async def read_last_entries(client: Client, stream: str, filters: Sequence[str]) -> list[RawEntry]:
    """The last entry of every subject that matches, in the order of the log. Raises Unavailable."""
    entries = [await read_last_entry(client, stream, subject) for subject in await list_subjects(client, stream, filters)]
    return sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.sequence)


async def read_last_entry(client: Client, stream: str, subject: str) -> RawEntry | None:
    """The last entry on a subject, None where there is none. Raises Unavailable."""
    with translate_outages():
        message = await get_last_message(client.jetstream(), stream, subject)
    return None if message is None else _entry(message)


async def read_next_entry(client: Client, stream: str, after: int) -> RawEntry | None:
    """The first entry behind a sequence, None where there is none. Raises Unavailable."""
    with translate_outages():
        try:
            return _entry(await client.jetstream().get_msg(stream, seq=after + 1, subject=">", next=True))
        except NotFoundError:
            return None


async def find_last_sequence(client: Client, stream: str, subjects: str) -> int:
    """The sequence of the last entry on some subjects, 0 where there is none. Raises Unavailable."""
    with translate_outages():
        return await get_last_sequence(client.jetstream(), stream, subjects)


async def scan_subjects(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[str], int]:
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


async def read_facts(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[Fact], int]:
    """The facts on the subjects that match, in the order of the log, and up to where none is missing.

    Those that this version cannot read are left out. Raises nats-py's errors when the server cannot be reached.
    """
    subjects, until = await scan_subjects(js, stream, filters)
    messages = [await get_last_message(js, stream, subject) for subject in subjects]
    in_order = sorted((message for message in messages if message is not None), key=lambda message: message.seq or 0)
    return [fact for message in in_order if (fact := _fact(message)) is not None], until


async def get_last_message(js: JetStreamContext, stream: str, subject: str) -> RawStreamMsg | None:
    """The last message on a subject, None where there is none. Raises nats-py's errors when the server cannot be reached."""
    try:
        return await js.get_last_msg(stream, subject)
    except NotFoundError:
        return None


async def get_first_message(js: JetStreamContext, stream: str, subjects: str) -> RawStreamMsg | None:
    """The earliest message on some subjects, None where there is none. Raises nats-py's errors as the others do."""
    try:
        return await js.get_msg(stream, seq=1, subject=subjects, next=True)
    except NotFoundError:
        return None


async def get_last_sequence(js: JetStreamContext, stream: str, subjects: str) -> int:
    """The sequence of the last message on some subjects, 0 where there is none. Raises nats-py's errors as the others do."""
    message = await get_last_message(js, stream, subjects)
    return 0 if message is None else message.seq or 0


def _entry(message: RawStreamMsg) -> RawEntry:
    return RawEntry(message.seq or 0, message.subject or "", message.headers or {}, message.data or b"")


def _fact(message: RawStreamMsg) -> Fact | None:
    try:
        return decode_fact(message.subject or "", message.headers, message.data or b"").fact
    except Malformed:
        return None


async def count_entries(client: Client, stream: str, filters: Sequence[str], *, after: int = 0) -> int:
    """How many entries behind a stream sequence match. Raises Unavailable when the log cannot be reached."""
    start = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": after + 1}
    with translate_outages():
        return (await _info(client, stream, list(filters), start)).num_pending or 0


async def find_sequence_before(client: Client, stream: str, moment: datetime) -> int:
    """The sequence of the last entry that was recorded before a moment of the past, 0 where there is none. Raises Unavailable."""
    start = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": moment}
    with translate_outages():
        info = await _info(client, stream, [], start)
    if info.num_pending and info.delivered:
        return info.delivered.stream_seq  # a consumer that begins later counts what is before as delivered
    return await read_last_sequence(client, stream)


async def count_on_subjects(client: Client, stream: str, subjects: str) -> int:
    """How many entries a stream has on some subjects, 0 where there is no such stream. Raises Unavailable."""
    with translate_outages():
        try:
            info = await client.jetstream().stream_info(stream, subjects_filter=subjects)
        except NotFoundError:
            return 0
    return sum((info.state.subjects or {}).values())


async def _info(client: Client, stream: str, filters: list[str], start: dict[str, Any]) -> ConsumerInfo:
    js = client.jetstream()
    config = ConsumerConfig(
        filter_subjects=filters or None, ack_policy=AckPolicy.NONE, inactive_threshold=5, mem_storage=True, **start
    )
    info = await js.add_consumer(stream, config)
    with suppress(NatsError, JetStreamError, TimeoutError):
        await js.delete_consumer(stream, info.name)
    return info


class LogPosts:
    """Reads the log of images. One message's images are found in milliseconds, a guild's by reading all of its posts."""

    def __init__(self, client: Client, *, timeout: float = 5) -> None:
        self._client = client
        self._js = client.jetstream(timeout=timeout)

    async def of_message(self, guild_id: str, message_id: str) -> list[ImagePosted]:
        with translate_outages():
            facts, _ = await read_facts(self._js, IMAGES, [posts_of_message_filter(guild_id, message_id)])
        return [fact for fact in facts if isinstance(fact, ImagePosted)]

    async def of_guild(
        self, guild_id: str, *, channel_id: str | None = None, author_id: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ImagePosted]:
        """Raises Unavailable, in the middle too when the server goes away there."""
        async with aclosing(read_log(self._client, IMAGES, [guild_filter(ImagePosted, guild_id)], since=since)) as messages:
            async for message in messages:
                recorded = decode_or_warn(message)
                if recorded is None or not isinstance(post := recorded.fact, ImagePosted):
                    continue
                if channel_id in (None, post.channel_id, post.thread_of) and author_id in (None, post.author.id):
                    yield post
