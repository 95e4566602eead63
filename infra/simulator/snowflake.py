"""Discord's ids: milliseconds since 2015 in the upper bits, so that an id tells its own time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

Clock = Callable[[], datetime]
"""The simulator's time, always in UTC."""

EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
_COUNTER_BITS = 22


def snowflakes(clock: Clock) -> Callable[[datetime | None], int]:
    """A source of unique ids for a moment (None: now), ascending within one millisecond."""
    numbers = count()

    def new(at: datetime | None = None) -> int:
        milliseconds = ((at or clock()) - EPOCH) // timedelta(milliseconds=1)
        return (milliseconds << _COUNTER_BITS) | (next(numbers) & ((1 << _COUNTER_BITS) - 1))

    return new


def time_of(snowflake: int) -> datetime:
    """The moment an id carries, to the millisecond."""
    return EPOCH + timedelta(milliseconds=snowflake >> _COUNTER_BITS)
