"""What Python 3.11 does to a cancellation that comes together with an answer (see tests/integration/test_tail.py)."""

import asyncio
from typing import Any


class Losing:
    """A call that is answered just as it is cancelled for the first time. `asked` is set while it is under way."""

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


async def ends(task: asyncio.Task[Any], losing: Losing, within: float = 5) -> bool:
    """Cancel a task just as it is answered. Whether it ends all the same."""
    await losing.asked.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=within)
    return bool(done) and task.cancelled()
