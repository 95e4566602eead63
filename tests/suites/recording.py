"""A recorder at work, for as long as a test needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from infra.discord.recorder import Recorder


@asynccontextmanager
async def recording(recorder: Recorder) -> AsyncIterator[None]:
    """Record what is added until the block ends."""
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
