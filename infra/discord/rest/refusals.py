"""What Discord refused, counted over all processes: after 10,000 answers of 401, 403 or 429 in ten minutes it bans the address."""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog
from pydantic import Field

from contracts.errors import Unavailable
from contracts.events.base import Payload
from contracts.ports import State
from contracts.state import amend, read
from contracts.subjects import requests_key

log = structlog.get_logger()

INVALID = frozenset({401, 403, 429})
WINDOW_MIN = 10
MOST = 8_000
MOST_ANSWERS = 9_500
"""Answers to people go on for longer, since nearly all of them succeed."""
SHARE_ALONE = 5
"""While the store is away a process takes what it counts itself for a fifth of the whole."""
FRESH_S = 5.0
PATIENCE_S = 1.0
PAUSE_S = 10.0


class Refused(Payload):
    """How many requests were refused, by minute since the epoch."""

    minutes: dict[int, int] = Field(default_factory=dict)


class Refusals:
    """The refusals of all processes, known to five seconds; the clock tells seconds since the epoch."""

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._seen: Counter[int] = Counter()
        self._unsent: Counter[int] = Counter()
        self._fresh_until = 0.0
        self._alone = False

    async def add(self) -> None:
        """Count one refusal."""
        self._unsent[self._minute()] += 1
        if not (self._alone and self._is_fresh()):
            await self._exchange()

    async def wait(self, most: int) -> float:
        """For how many seconds nothing may be sent: 0 while there are fewer than `most` refusals in ten minutes."""
        if not self._is_fresh():
            await self._exchange()
        counted = self._seen + self._unsent
        excess = (sum(counted.values()) - most) if not self._alone else sum(counted.values()) - most // SHARE_ALONE
        for minute in sorted(counted):
            if excess < 0:
                return 0.0
            excess -= counted[minute]
            if excess < 0:
                return max((minute + WINDOW_MIN + 1) * 60 - self._clock(), 1.0)
        return 0.0

    async def _exchange(self) -> None:
        """Tell the other processes of ours, and learn of theirs."""
        sent, self._unsent = self._unsent, Counter()
        try:
            async with asyncio.timeout(PATIENCE_S):
                key = requests_key("invalid")
                stored = await (
                    amend(self._state, key, Refused, lambda old: self._with(old, sent)) if sent else read(self._state, key, Refused)
                )
        except (Unavailable, TimeoutError) as error:
            log.warning("refusals by Discord are counted in this process alone", error=str(error) or type(error).__name__)
            self._unsent.update(sent)
            self._alone, self._fresh_until = True, self._clock() + PAUSE_S
        else:
            self._seen = Counter(self._recent(stored))
            self._alone, self._fresh_until = False, self._clock() + FRESH_S
        self._unsent = Counter(self._recent(Refused(minutes=dict(self._unsent))))

    def _with(self, stored: Refused | None, sent: Counter[int]) -> Refused:
        return Refused(minutes=dict(Counter(self._recent(stored)) + sent))

    def _recent(self, stored: Refused | None) -> dict[int, int]:
        oldest = self._minute() - WINDOW_MIN
        return {minute: count for minute, count in stored.minutes.items() if minute >= oldest} if stored else {}

    def _is_fresh(self) -> bool:
        """Whether the store was asked of late; a clock that was set back does not keep that so."""
        return 0 < self._fresh_until - self._clock() <= PAUSE_S

    def _minute(self) -> int:
        return int(self._clock() // 60)
