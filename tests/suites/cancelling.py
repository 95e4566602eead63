"""What Python 3.11 does to a cancellation that comes together with an answer (see tests/integration/test_tail.py)."""

import asyncio
from contextlib import suppress
from typing import Any


class Losing:
    """A call that answers only when it is cancelled, as if nothing were. `asked` is set while it is under way."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, *_args: Any, **_options: Any) -> bool:
        self.asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return True


async def ends(task: asyncio.Task[Any], losing: Losing, within: float = 5) -> bool:
    """Cancel a task just as it is answered. Whether it ends all the same."""
    await losing.asked.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=within)
    return bool(done) and task.cancelled()
