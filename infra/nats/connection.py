"""Connections to the log: they reconnect for ever, and say in one sentence when there is nothing to connect to.

Telling an outage of the log server apart from a bug.

Listening on a subject that is no log's: for what is asked of processes, and answered by whoever is there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import nats
import structlog
from nats.aio.client import Client as Client  # named here for all who never import nats-py
from nats.aio.msg import Msg as Msg
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError

from contracts.errors import MapSeekError, Unavailable

log = structlog.get_logger()

UNREACHABLE_ERRORS = (
    NatsTimeout,
    TimeoutError,
    NoRespondersError,
    NoStreamResponseError,
    ConnectionClosedError,
    OutboundBufferLimitError,
)
"""What the client raises while it has no server to talk to."""

LOG_ERRORS = (NatsError,)
"""Whatever the client raises, JetStream's errors too: for the one who ends a command, since elsewhere it would hide bugs."""


async def connect(url: str, name: str, timeout: float = 5) -> Client:
    """Connect to the server at `url`. Raises MapSeekError when none answers within `timeout` seconds."""

    connected = False
    reported = ""

    async def report(error: Exception) -> None:
        nonlocal reported
        text = str(error) or type(error).__name__
        # Before the first connection, the caller gets the error. After it, the client reports the same one four times a second.
        if connected and text != reported:
            log.warning("log_connection_failing", error=text)
            reported = text

    async def report_reconnected() -> None:
        nonlocal reported
        if reported:
            log.info("log_reconnected")
            reported = ""

    try:
        async with asyncio.timeout(timeout):
            client = await nats.connect(
                url,
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,
                connect_timeout=2,
                error_cb=report,
                reconnected_cb=report_reconnected,
                allow_reconnect=True,
            )
            connected = True
            return client
    except (OSError, NatsError, TimeoutError, ValueError) as error:
        raise MapSeekError(
            f"No NATS server answers at {redact_password(url)}: start it, or correct NATS_URL ({type(error).__name__})."
        ) from None


async def disconnect(client: Client) -> None:
    """End a connection. A server that is gone needs no goodbye."""
    with suppress(OSError, NatsError):
        await client.close()


def redact_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))


@contextmanager
def translate_outages() -> Iterator[None]:
    """Turn whatever says that the server cannot serve now into Unavailable."""
    try:
        yield
    except (APIError, *UNREACHABLE_ERRORS) as error:
        raise Unavailable("log", str(error) or type(error).__name__) from error


@asynccontextmanager
async def subscribe_subject(client: Client, subject: str, on_message: Callable[[Msg], Awaitable[None]]) -> AsyncIterator[None]:
    """Have `heard` called with every message on a subject. Inside, the server knows that somebody listens.

    nats-py writes the ping of a `flush` past what waits to be written, so the first one proves nothing: it only empties that.
    Raises Unavailable.
    """
    with translate_outages():
        subscription = await client.subscribe(subject, cb=on_message)
    try:
        with translate_outages():
            for _ in range(2):
                await client.flush()
        yield
    finally:
        if not client.is_closed:
            await subscription.unsubscribe()


async def has_listener(client: Client, subject: str) -> bool:
    """Whether somebody listens on a subject, and answers. Raises Unavailable."""
    with translate_outages():
        try:
            await client.request(subject, timeout=2)
        except NoRespondersError:
            return False
    return True
