"""Requests to Discord, spread evenly over all processes: time is cut into slots, and each slot belongs to one process at a time.

Five requests fit into a slot of an eighth of a second: 40 a second. Any second touches nine slots at most, so no second sees more
than 45; Discord refuses more than 50, and the rest is for logins and for the ways that take longer one time than another. A claim
costs one turn of compare-and-swap for five requests.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from contracts.errors import Unavailable
from contracts.events.base import Payload
from contracts.ports import State
from contracts.state import amend
from contracts.subjects import requests_key

log = structlog.get_logger()

PER_SLOT = 5
SLOTS_A_SECOND = 8
PER_SLOT_ALONE = 1
"""While the store is away each process sends a fifth: it cannot know of the others, of which there are a few."""
PATIENCE_S = 1.0
PAUSE_S = 10.0
"""For how long the store is not asked again after it did not answer."""
FARTHEST = 100
"""No process claims a slot that is twelve seconds ahead; a clock that was wrong may have."""


class Claimed(Payload):
    """The last slot that a process claimed, counted from the epoch."""

    slot: int


class Slots:
    """This process's share of the requests; the clock tells seconds since the epoch."""

    def __init__(self, state: State, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._state = state
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._mine = 0
        self._left = 0
        self._alone_until = 0.0

    async def turn(self) -> None:
        """Wait until one more request may be sent. First come, first served."""
        async with self._lock:
            while True:
                if self._left == 0 or not 0 <= self._mine - self._current() <= FARTHEST:
                    self._mine, self._left = await self._claim()
                if self._mine <= self._current():
                    self._left -= 1
                    return
                await self._sleep(max(self._mine / SLOTS_A_SECOND - self._clock(), 0.001))

    def _current(self) -> int:
        return int(self._clock() * SLOTS_A_SECOND)

    async def _claim(self) -> tuple[int, int]:
        """The next slot, and how many requests may be sent in it."""
        alone = self._next(Claimed(slot=self._mine)).slot, PER_SLOT_ALONE
        if 0 < self._alone_until - self._clock() <= PAUSE_S:
            return alone
        try:
            async with asyncio.timeout(PATIENCE_S):
                return (await amend(self._state, requests_key("all"), Claimed, self._next)).slot, PER_SLOT
        except (Unavailable, TimeoutError) as error:
            log.warning("requests to Discord are counted in this process alone", error=str(error) or type(error).__name__)
            self._alone_until = self._clock() + PAUSE_S
            return alone

    def _next(self, claimed: Claimed | None) -> Claimed:
        current = self._current()
        follows = current if claimed is None else claimed.slot + 1
        return Claimed(slot=follows if current <= follows <= current + FARTHEST else current)
