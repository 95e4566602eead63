"""What those share who apply a log to something in memory, and those who wait until it is applied."""

import asyncio
from collections.abc import Callable


class Following:
    """Wakes those who wait at every step. When the following fails they fail too, with the sentence `ended`."""

    def __init__(self, ended: str) -> None:
        self._ended = ended
        self._moved = asyncio.Condition()
        self._failure: Exception | None = None

    async def moved(self) -> None:
        """Something more is applied."""
        async with self._moved:
            self._moved.notify_all()

    async def failed(self, error: Exception) -> None:
        """Nothing more will be applied."""
        self._failure = error
        await self.moved()

    async def until(self, applied: Callable[[], bool]) -> None:
        """Wait until so much is applied. Raises RuntimeError when it never will be."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._failure is not None or applied())
        if self._failure is not None:
            raise RuntimeError(self._ended) from self._failure
