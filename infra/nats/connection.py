"""Connections to the NATS server, which reconnect without end, and the translation of its errors into Unavailable.

Also requests between processes, on subjects that belong to no stream.
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
"""What the client raises while it cannot reach a server."""

LOG_ERRORS = (NatsError,)
"""Everything that the client raises, JetStream's errors included. Only the end of a command catches it: elsewhere it would hide
bugs."""


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
            f"No NATS server answers at {redact_password(url)} ({type(error).__name__}): start it, or correct NATS_URL."
        ) from None


async def disconnect(client: Client) -> None:
    """Close a connection. Ignore errors of a server that is gone."""
    with suppress(OSError, NatsError):
        await client.close()


def redact_password(url: str) -> str:
    """Return the URL with `***` in place of its user and password."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))


@contextmanager
def translate_outages() -> Iterator[None]:
    """Raise Unavailable in place of every error that says that the server cannot serve requests now."""
    try:
        yield
    except (APIError, *UNREACHABLE_ERRORS) as error:
        raise Unavailable("log", str(error) or type(error).__name__) from error


@asynccontextmanager
async def subscribe_subject(client: Client, subject: str, on_message: Callable[[Msg], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `on_message` with every message on a subject. In the body of the `with`, the server knows the subscription.

    It takes two flushes to be sure: nats-py sends the ping of a `flush` ahead of what waits in its write buffer, so the first flush
    only empties the buffer. Raises Unavailable.
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
    """Return whether a process listens on a subject and answers. Raises Unavailable."""
    with translate_outages():
        try:
            await client.request(subject, timeout=2)
        except NoRespondersError:
            return False
    return True
