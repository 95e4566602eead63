"""Helpers for tasks: cancel them and wait, and notice a cancellation that got lost."""

import asyncio
from typing import Any


async def cancel_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until all have ended, whatever they raise. Endless tasks must call `raise_if_cancelled`."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def raise_if_cancelled() -> None:
    """Raise CancelledError if the current task was cancelled, or its `asyncio.timeout` has expired, and the task did not notice.

    Call it in every round of a loop that sends requests to NATS. In Python 3.11 `asyncio.wait_for`, and so every request of
    nats-py, loses a cancellation that arrives together with the response.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
