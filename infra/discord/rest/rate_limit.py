"""Discord's limits on a bot, kept by all its processes together: 50 requests a second, and 10,000 refused ones in ten minutes.

It works on any client through aiohttp's tracing. disnake makes its session itself and takes no tracing, so that is added to the
session once it is there: all but the one request of a login is covered, and that one ends the process when it is refused.

Requests to Discord, spread evenly over all processes: time is cut into slots, and each slot belongs to one process at a time.

Five requests fit into a slot of an eighth of a second: 40 a second. Any second touches nine slots at most, so no second sees more
than 45; Discord refuses more than 50, and the rest is for logins and for the ways that take longer one time than another. A claim
costs one turn of compare-and-swap for five requests.

What Discord refused, counted over all processes: after 10,000 answers of 401, 403 or 429 in ten minutes it bans the address.
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
"""While the store is away each process sends a fifth: it cannot know of the others, of which there are a few."""
STORE_TIMEOUT_S = 1.0
STORE_PAUSE_S = 10.0
"""For how long the store is not asked again after it did not answer."""
MAX_SLOTS_AHEAD = 100
"""No process claims a slot that is twelve seconds ahead; a clock that was wrong may have."""

INVALID_STATUSES = frozenset({401, 403, 429})
WINDOW_MIN = 10
MAX_INVALID_REQUESTS = 8_000
MAX_INVALID_FOR_ANSWERS = 9_500
"""Answers to people go on for longer, since nearly all of them succeed."""
SHARE_ALONE = 5
"""While the store is away a process takes what it counts itself for a fifth of the whole."""
COUNT_FRESH_S = 5.0

ANSWER_PATHS = ("/interactions/", "/webhooks/")


class ClaimedSlot(Payload):
    """The last slot that a process claimed, counted from the epoch."""

    slot: int


class RequestSlots:
    """This process's share of the requests; the clock tells seconds since the epoch."""

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
        """The next slot, and how many requests may be sent in it."""
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
    """How many requests were refused, by minute since the epoch."""

    minutes: dict[int, int] = Field(default_factory=dict)


class InvalidRequestCounter:
    """The refusals of all processes, known to five seconds; the clock tells seconds since the epoch."""

    def __init__(self, state: StateStore, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._seen: Counter[int] = Counter()
        self._unsent: Counter[int] = Counter()
        self._fresh_until = 0.0
        self._is_unshared = False

    async def add(self) -> None:
        """Count one refusal."""
        self._unsent[self._minute()] += 1
        if not (self._is_unshared and self._is_fresh()):
            await self._synchronise()

    async def wait(self, limit: int) -> float:
        """For how many seconds nothing may be sent: 0 while there are fewer than `most` refusals in ten minutes."""
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
        """Tell the other processes of ours, and learn of theirs."""
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
        """Whether the store was asked of late; a clock that was set back does not keep that so."""
        return 0 < self._fresh_until - self._clock() <= STORE_PAUSE_S

    def _minute(self) -> int:
        return int(self._clock() // 60)


class RequestsPaused(Retry, aiohttp.ClientConnectionError):
    """Too much was refused: nothing is sent for now. To whoever knows only aiohttp, Discord cannot be reached."""


class RequestBudget:
    """What this process may still ask of Discord. The clock tells seconds since the epoch, so that all processes agree."""

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
        """Wait for this request's turn. Answers to people need none, since Discord does not count them. Raises Held."""
        path = _api_path(url)
        if path is None:
            return
        answers = path.startswith(ANSWER_PATHS)
        wait = await self._refusals.wait(MAX_INVALID_FOR_ANSWERS if answers else MAX_INVALID_REQUESTS)
        if wait:
            log.error("discord_requests_paused", wait_s=round(wait), hint="Find the permission or token that Discord refuses.")
            raise RequestsPaused("Discord refused too many requests of late", after=wait)
        if not answers:
            await self._slots.wait_for_slot()

    async def record_response(self, url: str, status: int, *, shared: bool = False) -> None:
        """Note how Discord answered. A limit that is `shared` with other bots is not held against this one."""
        if status in INVALID_STATUSES and not shared and _api_path(url) is not None:
            await self._refusals.add()


def build_trace_config(budget: RequestBudget) -> aiohttp.TraceConfig:
    """The tracing that keeps a session of aiohttp within the budget."""

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
    """Keep a logged-in client of disnake within the budget."""
    session: aiohttp.ClientSession = client._HTTPClient__session  # type: ignore[attr-defined]
    session.trace_configs.append(build_trace_config(budget))


def _api_path(url: str) -> str | None:
    """The path of a request to Discord's API; None for files and for the gateway, which are not counted."""
    return url.removeprefix(Route.BASE) if url.startswith(f"{Route.BASE}/") else None
