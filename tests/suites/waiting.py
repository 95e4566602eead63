"""Wait for conditions, never for time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

from infra.tasks import end_if_cancelled

T = TypeVar("T")


async def eventually(condition: Callable[[], T | Awaitable[T]], timeout: float = 20, every: float = 0.02) -> T:
    """The first true value of the condition; fails the test if there is none within `timeout` seconds."""
    last: T | None = None
    try:
        async with asyncio.timeout(timeout):
            while True:
                value = condition()
                last = await value if inspect.isawaitable(value) else value
                if last:
                    return last
                end_if_cancelled()
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"{condition} was still {last!r} after {timeout} s") from None
