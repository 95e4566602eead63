"""Telling an outage of the log server apart from a bug."""

from collections.abc import Iterator
from contextlib import contextmanager

from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError

from contracts.errors import Unavailable

UNREACHABLE = (NatsTimeout, TimeoutError, NoRespondersError, NoStreamResponseError, ConnectionClosedError, OutboundBufferLimitError)
"""What the client raises while it has no server to talk to."""

LOG_ERRORS = (NatsError,)
"""Whatever the client raises, JetStream's errors too: for the one who ends a command, since elsewhere it would hide bugs."""


@contextmanager
def outages() -> Iterator[None]:
    """Turn whatever says that the server cannot serve now into Unavailable."""
    try:
        yield
    except (APIError, *UNREACHABLE) as error:
        raise Unavailable("log", str(error) or type(error).__name__) from error
