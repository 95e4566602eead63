"""Reading the log without a durable consumer: in order, by subject, or only counted; and the Posts port on top of it.

The body of a message is the fact as JSON. Everything else is in the headers and the subject. Each fact has a subject of its own, so
the last message of every subject is all there is. Functions that take a JetStream context are for the adapters of this package,
which have a context with a timeout of their own.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.header import Header, decode_header
from secrets import token_hex
from time import monotonic
from typing import Any, TypeVar

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
from contracts.errors import Malformed, Unavailable
from contracts.events import Fact, ImageHidden, ImagePosted, ImageShown, ImageTurn
from contracts.ports import KnownImage, build_known_images, is_hidden_by
from contracts.subjects import (
    IMAGES,
    guild_filter,
    images_of_message_filter,
    is_subject_of,
    kind_filter,
    parse_subject,
    posts_of_message_filter,
    subject_of,
    turns_of_message_filter,
)
from infra.nats.connection import hold_subscription, translate_outages
from infra.tasks import raise_if_cancelled

log = structlog.get_logger()

T = TypeVar("T", bound=ImageTurn)

FETCH_BATCH_MESSAGES = 256
UNUSED_READER_S = 30
ENTRY_TIMEOUT_S = 5.0
FOLLOW_INTERVAL_S = 5.0
SOON_INTERVAL_S, SOON_FOR_S = 0.05, 0.5
"""A message is heard a moment before it can be read: after hearing one, a follower asks again so often and for so long."""


@dataclass(frozen=True, slots=True)
class RecordedFact:
    """A fact that was read from the log, with its origin."""

    fact: Fact
    origin: Origin


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry of a stream with its raw body, which may be unreadable."""

    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes


def encode_body(fact: Fact) -> bytes:
    """Return the message body of a fact."""
    return orjson.dumps(fact.model_dump(mode="json"))


def decode_fact(subject: str, headers: Mapping[str, str] | None, body: bytes) -> RecordedFact:
    """Decode the fact on a subject. Raises Malformed if the body is no such fact, or is about another entity than the subject."""
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
    """Yield every matching message with a stream sequence above `after`, in order, then new ones as they arrive, without end.

    Survives restarts of the server: it then creates its ephemeral consumer again, behind the last message that it yielded.
    """
    position = after
    while True:
        try:
            async for message in _fetch_messages(client, stream, filters, position):
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


async def _fetch_messages(client: Client, stream: str, filters: Sequence[str], after: int) -> AsyncIterator[Msg]:
    js = client.jetstream()
    async with _open_subscription(js, stream, filters, _start_behind(after)) as (subscription, info):
        while True:
            raise_if_cancelled()
            try:
                messages = await subscription.fetch(FETCH_BATCH_MESSAGES, timeout=5)
            except TimeoutError:
                # Either nothing was recorded, or the consumer is gone, since a restarted server forgets it. Its info tells which.
                await js.consumer_info(stream, info.name)
                continue
            for message in messages:
                yield message


async def read_log(
    client: Client, stream: str, filters: Sequence[str], *, since: datetime | None = None, after: int = 0, bodies: bool = True
) -> AsyncGenerator[Msg, None]:
    """Yield every matching message that is in the log now, in order: those recorded from `since` on, or behind a stream sequence.

    Without `bodies` their data is empty, so that callers who need only subjects and headers transfer less. Messages that are
    recorded or purged during the call are left out. Raises Unavailable, also in the middle of the iteration.
    """
    js = client.jetstream()
    until = await read_last_sequence(client, stream)
    start = _start_behind(after) if since is None else {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": since}
    start |= {"headers_only": not bodies}
    with translate_outages():
        async with _open_subscription(js, stream, filters, start) as (subscription, info):
            left = info.num_pending or 0
            while left:
                raise_if_cancelled()
                try:
                    messages = await subscription.fetch(min(left, FETCH_BATCH_MESSAGES), timeout=1)
                except TimeoutError:
                    left = (await js.consumer_info(stream, info.name)).num_pending or 0  # 0 if the rest was purged
                    continue
                for message in messages:
                    if message.metadata.sequence.stream > until:
                        return
                    yield message
                left = messages[-1].metadata.num_pending or 0


async def read_entries(
    client: Client, stream: str, subjects: str, *, after: int = 0, since: datetime | None = None
) -> AsyncGenerator[RawEntry, None]:
    """Yield every matching entry that is in the log now, in order: those recorded from `since` on, or behind a stream sequence.

    Unlike `read_log` it needs no consumer, which only few users may create. Raises Unavailable, also in the middle.
    """
    start: dict[str, Any] = {"seq": after + 1} if since is None else {"start_time": since.isoformat()}
    inbox = client.new_inbox()
    async with hold_subscription(client, inbox) as subscription:
        while True:
            request = json.dumps({"batch": FETCH_BATCH_MESSAGES, "next_by_subj": subjects, **start}).encode()
            last = 0
            with translate_outages():
                await client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
            while True:
                raise_if_cancelled()
                with translate_outages():
                    message = await subscription.next_msg(ENTRY_TIMEOUT_S)
                headers = message.headers or {}
                if "Status" in headers:
                    break
                if int(headers["Nats-Last-Sequence"]) != last:
                    raise Unavailable("log", f"an entry of {stream} behind {last} was lost on its way")
                last = int(headers["Nats-Sequence"])
                yield RawEntry(last, headers["Nats-Subject"], headers, message.data)
            if headers["Status"] == "404" or headers.get("Nats-Num-Pending") == "0":
                return
            if headers["Status"] != "204":
                raise Unavailable("log", f"{stream} cannot be read: the server answered {headers['Status']}")
            start = {"seq": last + 1}


async def follow_entries(
    client: Client, stream: str, subjects: str, *, after: int = 0, wake: asyncio.Event | None = None
) -> AsyncGenerator[RawEntry, None]:
    """Yield every matching entry behind a sequence, in order, then new ones as they come, without end.

    It hears what is published on the subjects, and reads then. What it cannot hear, in an outage, it reads within
    FOLLOW_INTERVAL_S. Setting `wake` makes it read at once. Like `read_entries` it needs no consumer. Survives restarts of the
    server.
    """
    position, wake, heard_at = after, wake or asyncio.Event(), monotonic()

    async def hear(_: Msg) -> None:
        nonlocal heard_at
        heard_at = monotonic()
        wake.set()

    async with hold_subscription(client, subjects, hear):
        while True:
            raise_if_cancelled()
            wake.clear()
            try:
                async with aclosing(read_entries(client, stream, subjects, after=position)) as entries:
                    async for entry in entries:
                        position = entry.sequence
                        yield entry
            except Unavailable as outage:
                if client.is_closed:
                    raise
                log.debug("log_read_resumed", stream=stream, position=position, error=str(outage))
                heard_at = monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(SOON_INTERVAL_S if monotonic() - heard_at < SOON_FOR_S else FOLLOW_INTERVAL_S):
                    await wake.wait()


def _start_behind(sequence: int) -> dict[str, Any]:
    return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": sequence + 1}


@asynccontextmanager
async def _open_subscription(
    js: JetStreamContext, stream: str, filters: Sequence[str], start: dict[str, Any]
) -> AsyncIterator[tuple[JetStreamContext.PullSubscription, ConsumerInfo]]:
    """Create an ephemeral consumer. The server deletes it when it was not used for a while: few users may delete consumers."""
    config = ConsumerConfig(
        name=_name_reader(),
        filter_subjects=list(filters),
        ack_policy=AckPolicy.NONE,
        inactive_threshold=UNUSED_READER_S,
        mem_storage=True,
        **start,
    )
    info = await js.add_consumer(stream, config)
    subscription = await js.pull_subscribe_bind(info.name, stream=stream)
    try:
        yield subscription, info
    finally:
        with suppress(NatsError, JetStreamError, TimeoutError):
            await subscription.unsubscribe()


def _name_reader() -> str:
    """Return a new name for an ephemeral consumer. A user may create one by its name only, so that it can be kept from others."""
    return f"reader-{token_hex(8)}"


def decode_or_warn(message: Msg) -> RecordedFact | None:
    """Return the fact of a message. If this version cannot read it, log a warning and return None."""
    return decode_entry_or_warn(RawEntry(0, message.subject, message.headers or {}, message.data))


def decode_entry_or_warn(entry: RawEntry) -> RecordedFact | None:
    """Return the fact of a log entry. If this version cannot read it, log a warning and return None."""
    try:
        return decode_fact(entry.subject, entry.headers, entry.body)
    except Malformed as error:
        log.warning("log_entry_unreadable", subject=entry.subject, error=str(error))
        return None


@dataclass(frozen=True, slots=True)
class StreamState:
    """The state of a stream: the sequence of its last entry, its number of entries, and when it was created."""

    last: int
    entries: int
    created: datetime | None


async def read_stream_state(client: Client, stream: str) -> StreamState:
    """Return the state of a stream. Raises Unavailable, also if there is no such stream."""
    with translate_outages():
        info = await client.jetstream().stream_info(stream)
    return StreamState(info.state.last_seq, info.state.messages, info.created)


async def has_stream(client: Client, stream: str) -> bool:
    """Return whether a stream exists. Raises Unavailable."""
    with translate_outages():
        try:
            await client.jetstream().stream_info(stream)
        except NotFoundError:
            return False
    return True


async def read_last_sequence(client: Client, stream: str) -> int:
    """Return the sequence of the last entry of a stream, 0 if it is empty. Raises Unavailable, also if there is no such stream."""
    return (await read_stream_state(client, stream)).last


async def list_subjects(client: Client, stream: str, filters: Sequence[str], *, timeout: float = 5) -> list[str]:
    """Return the subjects that match a filter and have an entry. Raises Unavailable."""
    with translate_outages():
        subjects, _ = await scan_subjects(client.jetstream(timeout=timeout), stream, filters)
    return subjects


async def read_last_entries(client: Client, stream: str, filters: Sequence[str]) -> list[RawEntry]:
    """Return the last entry of every subject that matches, in the order of the log. Raises Unavailable."""
    entries = [await read_last_entry(client, stream, subject) for subject in await list_subjects(client, stream, filters)]
    return sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.sequence)


async def read_last_entry(client: Client, stream: str, subject: str) -> RawEntry | None:
    """Return the last entry on a subject, None if there is none. Raises Unavailable."""
    with translate_outages():
        message = await get_last_message(client.jetstream(), stream, subject)
    return None if message is None else _to_entry(message)


async def read_next_entry(client: Client, stream: str, after: int) -> RawEntry | None:
    """Return the first entry behind a sequence, None if there is none. Raises Unavailable."""
    with translate_outages():
        try:
            return _to_entry(await client.jetstream().get_msg(stream, seq=after + 1, subject=">", next=True))
        except NotFoundError:
            return None


async def find_last_sequence(client: Client, stream: str, subjects: str) -> int:
    """Return the sequence of the last entry on these subjects, 0 if there is none. Raises Unavailable."""
    with translate_outages():
        return await get_last_sequence(client.jetstream(), stream, subjects)


async def scan_subjects(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[str], int]:
    """Return the subjects that match and have a message, and the sequence up to which that list is complete.

    Raises nats-py's errors if the server cannot be reached.
    """
    pages = [page for each in filters for page in await _read_subject_pages(js, stream, each)]
    return [subject for page in pages for subject in page.get("subjects") or ()], min(page["last_seq"] for page in pages)


async def _read_subject_pages(js: JetStreamContext, stream: str, subjects: str) -> list[dict[str, Any]]:
    """Read the stream's state with its matching subjects, page by page: the server names at most 100,000 subjects in one answer.

    nats-py itself can only request the first page.
    """
    pages: list[dict[str, Any]] = []
    listed = 0
    while True:
        request = json.dumps({"subjects_filter": subjects, "offset": listed}).encode()
        answer = await js._api_request(f"{js._prefix}.STREAM.INFO.{stream}", request, timeout=js._timeout)
        pages.append(answer["state"])
        count = len(answer["state"].get("subjects") or ())
        listed += count
        if not count or listed >= answer.get("total", listed):
            return pages


async def read_facts(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[Fact], int]:
    """Return the facts on the subjects that match, in the order of the log, and the sequence up to which none is missing.

    Facts that this version cannot read are left out. Raises nats-py's errors if the server cannot be reached.
    """
    subjects, until = await scan_subjects(js, stream, filters)
    messages = [await get_last_message(js, stream, subject) for subject in subjects]
    in_order = sorted((message for message in messages if message is not None), key=lambda message: message.seq or 0)
    return [fact for message in in_order if (fact := _decode_or_none(message)) is not None], until


async def get_last_message(js: JetStreamContext, stream: str, subject: str) -> RawStreamMsg | None:
    """Return the last message on a subject, None if there is none. Raises nats-py's errors if the server cannot be reached."""
    try:
        return await js.get_last_msg(stream, subject)
    except NotFoundError:
        return None


async def get_first_message(js: JetStreamContext, stream: str, subjects: str) -> RawStreamMsg | None:
    """Return the earliest message on these subjects, None if there is none.

    Raises nats-py's errors if the server cannot be reached.
    """
    try:
        return await js.get_msg(stream, seq=1, subject=subjects, next=True)
    except NotFoundError:
        return None


async def get_last_sequence(js: JetStreamContext, stream: str, subjects: str) -> int:
    """Return the sequence of the last message on these subjects, 0 if there is none.

    Raises nats-py's errors if the server cannot be reached.
    """
    message = await get_last_message(js, stream, subjects)
    return 0 if message is None else message.seq or 0


def _to_entry(message: RawStreamMsg) -> RawEntry:
    headers = {name: _to_text(value) for name, value in (message.headers or {}).items()}
    return RawEntry(message.seq or 0, message.subject or "", headers, message.data or b"")


def _to_text(value: object) -> str:
    """Return a header as text: nats-py reads those of a single entry as if they were an email's, which is ASCII."""
    if isinstance(value, Header):
        return b"".join(part for part, _ in decode_header(value)).decode(errors="replace")
    return str(value)


def _decode_or_none(message: RawStreamMsg) -> Fact | None:
    try:
        return decode_fact(message.subject or "", message.headers, message.data or b"").fact
    except Malformed:
        return None


async def count_entries(client: Client, stream: str, filters: Sequence[str], *, after: int = 0) -> int:
    """Count the matching entries behind a stream sequence.

    The server counts them for a consumer; nothing is read. Raises Unavailable.
    """
    start = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": after + 1}
    with translate_outages():
        return (await _probe_consumer(client, stream, list(filters), start)).num_pending or 0


async def find_sequence_before(client: Client, stream: str, moment: datetime) -> int:
    """Return the sequence of the last entry recorded before a time in the past, 0 if there is none. Raises Unavailable."""
    start = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": moment}
    with translate_outages():
        info = await _probe_consumer(client, stream, [], start)
    if info.num_pending and info.delivered:
        return info.delivered.stream_seq  # a consumer that starts later counts everything before as delivered
    return await read_last_sequence(client, stream)


async def count_on_subjects(client: Client, stream: str, subjects: str) -> int:
    """Count the entries of a stream on these subjects, 0 if there is no such stream. Raises Unavailable."""
    with translate_outages():
        try:
            info = await client.jetstream().stream_info(stream, subjects_filter=subjects)
        except NotFoundError:
            return 0
    return sum((info.state.subjects or {}).values())


async def _probe_consumer(client: Client, stream: str, filters: list[str], start: dict[str, Any]) -> ConsumerInfo:
    """Create a consumer only to read its info. The server deletes it soon."""
    js = client.jetstream()
    config = ConsumerConfig(
        name=_name_reader(),
        filter_subjects=filters or None,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=5,
        mem_storage=True,
        **start,
    )
    return await js.add_consumer(stream, config)


class LogPosts:
    """The Posts port on the stream of images itself, which is never behind.

    Finds the images of a message in milliseconds; those of a guild take reading all of its posts.
    """

    def __init__(self, client: Client, *, timeout: float = 5) -> None:
        self._client = client
        self._js = client.jetstream(timeout=timeout)

    async def of_message(self, guild_id: str, message_id: str) -> list[ImagePosted]:
        with translate_outages():
            facts, _ = await read_facts(self._js, IMAGES, [posts_of_message_filter(guild_id, message_id)])
        return [fact for fact in facts if isinstance(fact, ImagePosted)]

    async def read_message(self, guild_id: str, message_id: str) -> list[KnownImage]:
        """Takes one request for a message without images."""
        with translate_outages():
            facts, _ = await read_facts(self._js, IMAGES, [images_of_message_filter(guild_id, message_id)])
            if facts:
                turns, _ = await read_facts(self._js, IMAGES, [turns_of_message_filter(guild_id, message_id)])
                facts += turns
        return build_known_images(facts)

    async def list_hidden(self, *, before: datetime) -> AsyncIterator[ImageHidden]:
        """Reads every fact that hides or shows an image, and looks those up that are left: the others cost no request."""
        hidden = await self._read_latest_turns(ImageHidden)
        shown = await self._read_latest_turns(ImageShown)
        for image, turn in sorted(hidden.items(), key=lambda each: each[1].hidden_at):
            if turn.hidden_at < before and (image not in shown or shown[image].rank < turn.rank):
                known = {each.image_id: each for each in await self.read_message(turn.guild_id, turn.message_id)}.get(turn.image_id)
                if known is not None and is_hidden_by(known, turn):
                    yield turn

    async def _read_latest_turns(self, kind: type[T]) -> dict[tuple[str, ...], T]:
        """Return the last fact of a kind about each image, by the key of the image's post."""
        latest: dict[tuple[str, ...], T] = {}
        async with aclosing(read_entries(self._client, IMAGES, kind_filter(kind))) as entries:
            async for entry in entries:
                recorded = decode_entry_or_warn(entry)
                if recorded is not None and isinstance(turn := recorded.fact, kind):
                    known = latest.setdefault(turn.key[:-1], turn)
                    latest[turn.key[:-1]] = max(known, turn, key=lambda each: each.rank)
        return latest

    async def of_guild(
        self, guild_id: str, *, channel_id: str | None = None, author_id: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ImagePosted]:
        """Raises Unavailable, also in the middle of the iteration."""
        async with aclosing(read_entries(self._client, IMAGES, guild_filter(ImagePosted, guild_id), since=since)) as entries:
            async for entry in entries:
                recorded = decode_entry_or_warn(entry)
                if recorded is None or not isinstance(post := recorded.fact, ImagePosted):
                    continue
                if channel_id in (None, post.channel_id, post.thread_of) and author_id in (None, post.author.id):
                    yield post
