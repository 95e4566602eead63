"""Discord's limits on a bot, kept by all its processes together: 50 requests a second, and 10,000 refused ones in ten minutes.

It works on any client through aiohttp's tracing. disnake makes its session itself and takes no tracing, so that is added to the
session once it is there: all but the one request of a login is covered, and that one ends the process when it is refused.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import aiohttp
import structlog
from disnake.http import HTTPClient, Route

from contracts.errors import Retry
from contracts.ports import State
from infra.discord.rest.refusals import INVALID, MOST, MOST_ANSWERS, Refusals
from infra.discord.rest.slots import Slots

log = structlog.get_logger()

ANSWERS = ("/interactions/", "/webhooks/")


class Held(Retry, aiohttp.ClientConnectionError):
    """Too much was refused: nothing is sent for now. To whoever knows only aiohttp, Discord cannot be reached."""


class Budget:
    """What this process may still ask of Discord. The clock tells seconds since the epoch, so that all processes agree."""

    def __init__(
        self,
        state: State,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._slots = Slots(state, clock, sleep)
        self._refusals = Refusals(state, clock)

    async def admit(self, url: str) -> None:
        """Wait for this request's turn. Answers to people need none, since Discord does not count them. Raises Held."""
        path = _path(url)
        if path is None:
            return
        answers = path.startswith(ANSWERS)
        wait = await self._refusals.wait(MOST_ANSWERS if answers else MOST)
        if wait:
            log.error("Discord refused so much that it may ban this address: nothing is sent for now", seconds=round(wait))
            raise Held("Discord refused too many requests of late", after=wait)
        if not answers:
            await self._slots.turn()

    async def told(self, url: str, status: int, *, shared: bool = False) -> None:
        """Note how Discord answered. A limit that is `shared` with other bots is not held against this one."""
        if status in INVALID and not shared and _path(url) is not None:
            await self._refusals.add()


def limiting(budget: Budget) -> aiohttp.TraceConfig:
    """The tracing that keeps a session of aiohttp within the budget."""

    async def start(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        await budget.admit(str(params.url))

    async def end(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        response = params.response
        await budget.told(str(params.url), response.status, shared=response.headers.get("X-RateLimit-Scope") == "shared")

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(start)
    tracing.on_request_end.append(end)
    tracing.freeze()
    return tracing


def limit(client: HTTPClient, budget: Budget) -> None:
    """Keep a logged-in client of disnake within the budget."""
    session: aiohttp.ClientSession = client._HTTPClient__session  # type: ignore[attr-defined]
    session.trace_configs.append(limiting(budget))


def _path(url: str) -> str | None:
    """The path of a request to Discord's API; None for files and for the gateway, which are not counted."""
    return url.removeprefix(Route.BASE) if url.startswith(f"{Route.BASE}/") else None
