"""The checks of a process, and the HTTP server that reports them: `/metrics` for Prometheus, `/healthz` and `/readyz` for
orchestrators.

A process is ready if it is connected, each of its consumers exists and was fetched from recently, the database answers, no stage
waits for a dependency, and no message is being worked on for too long.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from contracts.errors import MapSeekError, Unavailable
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer

RECENT_FETCH_S = 20.0

STUCK_AFTER_S = {"search": 60.0}
STUCK_IN_OTHER_LANES_AFTER_S = 600.0
"""Longer than any message takes if all goes well. A slow download with all its attempts takes up to five minutes."""

Check = Callable[[], Awaitable[str | None]]
"""Returns None if all is well, else what is wrong in a few words."""


class FetchTimes:
    """The times of the last fetch from each consumer of this process. A deleted consumer still answers pings, but no fetches."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def record(self, consumer: str) -> None:
        self._last[consumer] = self._clock()

    def is_recent(self, consumer: str) -> bool:
        return consumer in self._last and self._clock() - self._last[consumer] < RECENT_FETCH_S


def build_connection_check(client: Client) -> Check:
    """Return a check that the log can be reached."""

    async def check() -> str | None:
        return None if client.is_connected else "not connected"

    return check


def build_consumer_check(client: Client, stream: str, consumer: str, fetches: FetchTimes, busy: Callable[[], bool]) -> Check:
    """Return a check that the consumer exists, and that its workers fetched recently or are busy."""

    async def check() -> str | None:
        try:
            if await read_consumer(client, stream, consumer, timeout=2) is None:
                return "consumer cannot be reached: it does not exist"
        except Unavailable as outage:
            return f"consumer cannot be reached: {outage}"
        return None if fetches.is_recent(consumer) or busy() else "no recent fetch"

    return check


def build_ping_check(ping: Callable[[], Awaitable[None]]) -> Check:
    """Return a check that a database answers."""

    async def check() -> str | None:
        try:
            await ping()
        except (Unavailable, MapSeekError) as error:
            return str(error)
        return None

    return check


def build_dependency_check(waiting_for: Mapping[str, str]) -> Check:
    """Return a check that no stage of this process holds its messages."""

    async def check() -> str | None:
        return ", ".join(f"{stage} waits for {what}" for stage, what in waiting_for.items()) or None

    return check


def build_work_check(measure_oldest: Callable[[], Mapping[tuple[str, str], float]]) -> Check:
    """Return a check that no stage works on one message for too long.

    `measure_oldest` returns, by stage and lane, for how many seconds the oldest message is being worked on.
    """

    async def check() -> str | None:
        stuck = [
            f"{stage} has been working on a message for {age:.0f} s ({lane} lane)"
            for (stage, lane), age in measure_oldest().items()
            if age > STUCK_AFTER_S.get(lane, STUCK_IN_OTHER_LANES_AFTER_S)
        ]
        return ", ".join(stuck) or None

    return check


async def find_problems(checks: Mapping[str, Check]) -> dict[str, str]:
    """Run the checks. Return what is wrong by the name of the check, empty if all is well."""
    found = {name: await check() for name, check in list(checks.items())}
    return {name: problem for name, problem in found.items() if problem is not None}


@asynccontextmanager
async def serve_monitoring(host: str, port: int, registry: CollectorRegistry, checks: Mapping[str, Check]) -> AsyncIterator[int]:
    """Serve on `host:port` and yield the port. Port 0 takes a free one. Raises MapSeekError if the port is taken."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"status": "ok"}, 200)

    async def readyz(_request: web.Request) -> web.Response:
        wrong = await find_problems(checks)
        return _json({"status": "not ready" if wrong else "ready", "problems": wrong}, 503 if wrong else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise MapSeekError(
                f"The monitoring port {host}:{port} cannot be used ({error.strerror}): set MAPSEEK_HTTP_PORT to another, or to 0."
            ) from None
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _json(body: object, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
