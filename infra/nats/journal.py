"""The Journal port on JetStream: each fact at most once, for ever."""

from collections.abc import Callable
from datetime import datetime

from nats.aio.client import Client
from nats.js.api import Header, RawStreamMsg
from nats.js.errors import APIError

from contracts.envelope import Origin, headers_of
from contracts.errors import Unavailable
from contracts.events import Fact
from contracts.ports import F
from contracts.subjects import first_of, stream_of, subject_for, subject_of
from infra.nats.lookup import message_on
from infra.nats.outages import UNREACHABLE, outages
from infra.nats.wire import body_of, read

WRONG_LAST_SEQUENCE = 10071
"""The server's error code when the subject already has a message, although none was expected."""

EXPECTED_ON = "Nats-Expected-Last-Subject-Sequence-Subject"
"""The subjects, wildcards allowed, whose last sequence is expected in place of the published one's (docs/adr/0005)."""


class JetStreamJournal:
    """Records facts on the subject of their entity and expects that subject to be empty."""

    def __init__(self, client: Client, *, source: str, now: Callable[[], datetime], timeout: float = 5) -> None:
        self._js = client.jetstream(timeout=timeout)
        self._source = source
        self._now = now
        self._timeout = timeout

    async def record(self, fact: Fact, origin: Origin) -> bool:
        headers = headers_of(fact, origin, self._source, self._now())
        return await self.publish_once(subject_of(fact), body_of(fact), headers, stream_of(fact), empty=first_of(fact))

    async def publish_once(
        self, subject: str, body: bytes, headers: dict[str, str], stream: str, *, empty: str | None = None
    ) -> bool:
        """Publish on a subject; False when something is on the subjects that must still be `empty` (by default that subject)."""
        expecting_none = headers | {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0"}
        if empty not in (None, subject):
            expecting_none[EXPECTED_ON] = str(empty)
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
        return await self._last(fact, key) is not None

    async def fetch(self, fact: type[F], *key: str) -> F | None:
        message = await self._last(fact, key)
        if message is None:
            return None
        found = read(message.subject or "", message.headers, message.data or b"").fact
        return found if isinstance(found, fact) else None

    async def _last(self, fact: type[Fact], key: tuple[str, ...]) -> RawStreamMsg | None:
        with outages():
            return await message_on(self._js, stream_of(fact), subject_for(fact, *key))
