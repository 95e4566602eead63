"""Helpers to wait for conditions, never for a fixed time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from infra.tasks import raise_if_cancelled

T = TypeVar("T")


async def eventually(condition: Callable[[], T | Awaitable[T]], timeout: float = 20, every: float = 0.02) -> T:
    """Wait until a condition is true, and return its value. Fails the test after `timeout` seconds."""
    last: T | None = None
    try:
        async with asyncio.timeout(timeout):
            while True:
                value = condition()
                last = await value if inspect.isawaitable(value) else value
                if last:
                    return last
                raise_if_cancelled()
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"{condition} was still {last!r} after {timeout} s") from None


class AnsweredWhenCancelled:
    """A call that returns its answer exactly when it is cancelled for the first time. `asked` is set when the call begins."""

    def __init__(self, answer: Any = True) -> None:
        self.asked = asyncio.Event()
        self._answer = answer
        self._lost = False

    async def __call__(self, *_args: Any, **_options: Any) -> Any:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._lost:
                raise
            self._lost = True
        return self._answer


async def ends_when_cancelled(task: asyncio.Task[Any], losing: AnsweredWhenCancelled, within: float = 5) -> bool:
    """Cancel a task exactly when its call is answered. Return whether the task ends as cancelled."""
    await losing.asked.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=within)
    return bool(done) and task.cancelled()
