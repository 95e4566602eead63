"""Alive, and ready: connected, every consumer there and fetched from lately, the database answering, no dependency waited for."""

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

from contracts.errors import MapSeekError, Unavailable
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer

FETCHED_WITHIN_S = 20.0

Check = Callable[[], Awaitable[str | None]]
"""None when all is well, else what is wrong in a few words."""


class Fetches:
    """When each consumer of this process was last fetched from. A deleted consumer still answers pings, but not fetches."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def happened(self, consumer: str) -> None:
        self._last[consumer] = self._clock()

    def lately(self, consumer: str) -> bool:
        return consumer in self._last and self._clock() - self._last[consumer] < FETCHED_WITHIN_S


def connected(client: Client) -> Check:
    """Whether the log can be reached."""

    async def check() -> str | None:
        return None if client.is_connected else "not connected"

    return check


def consuming(client: Client, stream: str, consumer: str, fetches: Fetches, busy: Callable[[], bool]) -> Check:
    """Whether the consumer exists, and its workers fetched lately or are busy."""

    async def check() -> str | None:
        try:
            if await read_consumer(client, stream, consumer, timeout=2) is None:
                return "consumer cannot be reached: it is not there"
        except Unavailable as outage:
            return f"consumer cannot be reached: {outage}"
        return None if fetches.lately(consumer) or busy() else "no fetch lately"

    return check


def answering(ping: Callable[[], Awaitable[None]]) -> Check:
    """Whether a database answers."""

    async def check() -> str | None:
        try:
            await ping()
        except (Unavailable, MapSeekError) as error:
            return str(error)
        return None

    return check


def unblocked(waiting_for: Mapping[str, str]) -> Check:
    """Whether no stage of this process holds its messages."""

    async def check() -> str | None:
        return ", ".join(f"{stage} waits for {what}" for stage, what in waiting_for.items()) or None

    return check


async def problems(checks: Mapping[str, Check]) -> dict[str, str]:
    """What is wrong now, by the name of the check; empty when ready."""
    found = {name: await check() for name, check in list(checks.items())}
    return {name: problem for name, problem in found.items() if problem is not None}
