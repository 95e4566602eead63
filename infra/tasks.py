"""How tasks end that work beside others."""

import asyncio
from typing import Any


async def cancel_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until they have ended, however they do. A task that works for ever calls `end_if_cancelled`."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def raise_if_cancelled() -> None:
    """Raise CancelledError in a task that was told to end and did not notice, or whose `asyncio.timeout` is over.

    To be called in every round of what asks the log again and again: Python 3.11's `asyncio.wait_for`, and so whatever nats-py asks
    the server, loses a cancellation that comes together with an answer.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
