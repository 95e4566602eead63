"""Discord's limits on a bot, kept by all its processes together: 50 requests a second, and 10,000 refused ones in ten minutes.

It works on any client through aiohttp's tracing. disnake creates its session itself and accepts no tracing, so the tracing is added
to the session afterwards. Only the one request of a login is not covered, and if that is refused, the process ends.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import aiohttp
import structlog
from disnake.http import HTTPClient, Route
from pydantic import Field

from contracts.errors import Retry, Unavailable
from contracts.events.base import Payload
from contracts.ports import StateStore
from contracts.state import read_document, update_document
from contracts.subjects import requests_key

log = structlog.get_logger()

REQUESTS_PER_SLOT = 5
SLOTS_PER_SECOND = 8
REQUESTS_PER_SLOT_ALONE = 1
"""While the store is unreachable each process sends a fifth. It cannot see the other processes, of which there are a few."""
STORE_TIMEOUT_S = 1.0
STORE_PAUSE_S = 10.0
"""How long the store is left alone after it did not answer."""
MAX_SLOTS_AHEAD = 100
"""No process claims a slot this far ahead (twelve seconds), except one whose clock was wrong."""

INVALID_STATUSES = frozenset({401, 403, 429})
WINDOW_MIN = 10
MAX_INVALID_REQUESTS = 8_000
MAX_INVALID_FOR_ANSWERS = 9_500
"""Answers to members continue for longer, since nearly all of them succeed."""
SHARE_ALONE = 5
"""While the store is unreachable a process takes its own count for a fifth of the whole."""
COUNT_FRESH_S = 5.0

ANSWER_PATHS = ("/interactions/", "/webhooks/")


class ClaimedSlot(Payload):
    """The last slot that a process claimed, counted from the epoch."""

    slot: int


class RequestSlots:
    """This process's share of the requests. Time is cut into slots, and each slot belongs to one process.

    The clock returns seconds since the epoch. Five requests fit into a slot of an eighth of a second: 40 a second. A second touches
    nine slots at most, so no second has more than 45 requests. Discord refuses more than 50; the rest is for logins and for
    requests whose travel time varies. A claim costs one compare-and-swap for five requests.
    """

    def __init__(self, state: StateStore, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._state = state
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._slot = 0
        self._left_in_slot = 0
        self._unshared_until = 0.0

    async def wait_for_slot(self) -> None:
        """Wait until one more request may be sent. First come, first served."""
        async with self._lock:
            while True:
                if self._left_in_slot == 0 or not 0 <= self._slot - self._current() <= MAX_SLOTS_AHEAD:
                    self._slot, self._left_in_slot = await self._claim()
                if self._slot <= self._current():
                    self._left_in_slot -= 1
                    return
                await self._sleep(max(self._slot / SLOTS_PER_SECOND - self._clock(), 0.001))

    def _current(self) -> int:
        return int(self._clock() * SLOTS_PER_SECOND)

    async def _claim(self) -> tuple[int, int]:
        """Return the next slot, and how many requests may be sent in it."""
        unshared = self._next_slot(ClaimedSlot(slot=self._slot)).slot, REQUESTS_PER_SLOT_ALONE
        if 0 < self._unshared_until - self._clock() <= STORE_PAUSE_S:
            return unshared
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                return (
                    await update_document(self._state, requests_key("all"), ClaimedSlot, self._next_slot)
                ).slot, REQUESTS_PER_SLOT
        except (Unavailable, TimeoutError) as error:
            log.warning("request_rate_not_shared", error=str(error) or type(error).__name__)
            self._unshared_until = self._clock() + STORE_PAUSE_S
            return unshared

    def _next_slot(self, claimed: ClaimedSlot | None) -> ClaimedSlot:
        current = self._current()
        follows = current if claimed is None else claimed.slot + 1
        return ClaimedSlot(slot=follows if current <= follows <= current + MAX_SLOTS_AHEAD else current)


class InvalidRequests(Payload):
    """How many requests Discord refused, by minute since the epoch."""

    minutes: dict[int, int] = Field(default_factory=dict)


class InvalidRequestCounter:
    """Counts refused requests over all processes, at most five seconds late. The clock returns seconds since the epoch.

    After 10,000 responses with 401, 403 or 429 in ten minutes Discord bans the address.
    """

    def __init__(self, state: StateStore, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._seen: Counter[int] = Counter()
        self._unsent: Counter[int] = Counter()
        self._fresh_until = 0.0
        self._is_unshared = False

    async def add(self) -> None:
        """Count one refused request."""
        self._unsent[self._minute()] += 1
        if not (self._is_unshared and self._is_fresh()):
            await self._synchronise()

    async def wait(self, limit: int) -> float:
        """Return for how many seconds nothing may be sent: 0 while fewer than `limit` requests were refused in ten minutes."""
        if not self._is_fresh():
            await self._synchronise()
        counted = self._seen + self._unsent
        excess = (sum(counted.values()) - limit) if not self._is_unshared else sum(counted.values()) - limit // SHARE_ALONE
        for minute in sorted(counted):
            if excess < 0:
                return 0.0
            excess -= counted[minute]
            if excess < 0:
                return max((minute + WINDOW_MIN + 1) * 60 - self._clock(), 1.0)
        return 0.0

    async def _synchronise(self) -> None:
        """Share our counts with the other processes, and read theirs."""
        sent, self._unsent = self._unsent, Counter()
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                key = requests_key("invalid")
                stored = await (
                    update_document(self._state, key, InvalidRequests, lambda old: self._add_to(old, sent))
                    if sent
                    else read_document(self._state, key, InvalidRequests)
                )
        except (Unavailable, TimeoutError) as error:
            log.warning("invalid_requests_not_shared", error=str(error) or type(error).__name__)
            self._unsent.update(sent)
            self._is_unshared, self._fresh_until = True, self._clock() + STORE_PAUSE_S
        else:
            self._seen = Counter(self._recent(stored))
            self._is_unshared, self._fresh_until = False, self._clock() + COUNT_FRESH_S
        self._unsent = Counter(self._recent(InvalidRequests(minutes=dict(self._unsent))))

    def _add_to(self, stored: InvalidRequests | None, sent: Counter[int]) -> InvalidRequests:
        return InvalidRequests(minutes=dict(Counter(self._recent(stored)) + sent))

    def _recent(self, stored: InvalidRequests | None) -> dict[int, int]:
        oldest = self._minute() - WINDOW_MIN
        return {minute: count for minute, count in stored.minutes.items() if minute >= oldest} if stored else {}

    def _is_fresh(self) -> bool:
        """Tell whether the store was read recently. A clock that was set back does not keep that true."""
        return 0 < self._fresh_until - self._clock() <= STORE_PAUSE_S

    def _minute(self) -> int:
        return int(self._clock() // 60)


class RequestsPaused(Retry, aiohttp.ClientConnectionError):
    """Too many requests were refused, so nothing is sent for now.

    It is also a connection error of aiohttp, so that code which handles only aiohttp's errors treats Discord as unreachable.
    """


class RequestBudget:
    """What this process may still request of Discord.

    The clock returns seconds since the epoch, so that all processes agree.
    """

    def __init__(
        self,
        state: StateStore,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._slots = RequestSlots(state, clock, sleep)
        self._refusals = InvalidRequestCounter(state, clock)

    async def admit(self, url: str) -> None:
        """Wait until this request may be sent. Answers to members need not wait, since Discord does not count them.

        Raises RequestsPaused.
        """
        path = _api_path(url)
        if path is None:
            return
        answers = path.startswith(ANSWER_PATHS)
        wait = await self._refusals.wait(MAX_INVALID_FOR_ANSWERS if answers else MAX_INVALID_REQUESTS)
        if wait:
            log.error("discord_requests_paused", wait_s=round(wait), hint="Find the permission or token that Discord refuses.")
            raise RequestsPaused("Discord refused too many requests recently", after=wait)
        if not answers:
            await self._slots.wait_for_slot()

    async def record_response(self, url: str, status: int, *, shared: bool = False) -> None:
        """Note the status of a response. A limit that is `shared` with other bots does not count against this bot."""
        if status in INVALID_STATUSES and not shared and _api_path(url) is not None:
            await self._refusals.add()


def build_trace_config(budget: RequestBudget) -> aiohttp.TraceConfig:
    """Build the tracing that keeps an aiohttp session within the budget."""

    async def start(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        await budget.admit(str(params.url))

    async def end(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        response = params.response
        await budget.record_response(str(params.url), response.status, shared=response.headers.get("X-RateLimit-Scope") == "shared")

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(start)
    tracing.on_request_end.append(end)
    tracing.freeze()
    return tracing


def limit_client(client: HTTPClient, budget: RequestBudget) -> None:
    """Keep a logged-in disnake client within the budget."""
    session: aiohttp.ClientSession = client._HTTPClient__session  # type: ignore[attr-defined]
    session.trace_configs.append(build_trace_config(budget))


def _api_path(url: str) -> str | None:
    """Return the path of a request to Discord's API; None for files and for the gateway, which are not counted."""
    return url.removeprefix(Route.BASE) if url.startswith(f"{Route.BASE}/") else None
