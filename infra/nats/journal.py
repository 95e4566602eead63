"""The Journal port on JetStream: each fact at most once, for ever."""

from collections.abc import Callable
from datetime import datetime

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from contracts.envelope import Origin, headers_of
from contracts.errors import Unavailable
from contracts.events import Fact
from contracts.subjects import stream_of, subject_for, subject_of
from infra.nats.wire import body_of

WRONG_LAST_SEQUENCE = 10071
"""The server's error code when the subject already has a message, although none was expected."""

UNREACHABLE = (NatsTimeout, TimeoutError, NoRespondersError, NoStreamResponseError, ConnectionClosedError, OutboundBufferLimitError)


class JetStreamJournal:
    """Records facts on the subject of their entity and expects that subject to be empty."""

    def __init__(self, client: Client, *, source: str, now: Callable[[], datetime], timeout: float = 5) -> None:
        self._js = client.jetstream(timeout=timeout)
        self._source = source
        self._now = now
        self._timeout = timeout

    async def record(self, fact: Fact, origin: Origin) -> bool:
        headers = headers_of(fact, origin, self._source, self._now())
        return await self.publish_once(subject_of(fact), body_of(fact), headers, stream_of(fact))

    async def publish_once(self, subject: str, body: bytes, headers: dict[str, str], stream: str) -> bool:
        """Publish on a subject that must still be empty; False when it is not."""
        expecting_none = headers | {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0"}
        try:
            await self._js.publish(subject, body, timeout=self._timeout, stream=stream, headers=expecting_none)
        except APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                return False
            raise Unavailable("log", error.description or str(error)) from error
        except UNREACHABLE as error:
            raise Unavailable("log", f"no acknowledgement within {self._timeout:g} s") from error
        return True

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        subject = subject_for(fact, *key)
        try:
            await self._js.get_last_msg(stream_of(fact), subject)
        except NotFoundError:
            return False
        except (APIError, *UNREACHABLE) as error:
            raise Unavailable("log", str(error) or type(error).__name__) from error
        return True
