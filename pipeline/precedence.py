"""The archive lane stands back while a question is being worked on in this process.

Each lane has workers of its own, but both share the event loop, its threads and the processor: with thousands of images waiting,
every stage of a question would wait for dozens of archived messages. So the archive lane begins no message while the search lane
has one, and for a moment after, since the next stage's message is on its way then. What it has begun, it ends.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

GRACE_S = 0.1
"""How long after a question's message the archive lane goes on: the next stage has its own within a few milliseconds."""

PATIENCE_S = 5.0
"""How long a message stands back at most, and how long one message of a question is stood back for: the archive grows however many
people ask, and whatever a question waits for."""


class Precedence:
    """Who may begin: questions at once, images when there is no question. Times are seconds."""

    def __init__(self, grace: float = GRACE_S, patience: float = PATIENCE_S) -> None:
        self._grace = grace
        self._patience = patience
        self._questions: set[object] = set()
        self._clear = asyncio.Event()
        self._clear.set()
        self._clearing: asyncio.TimerHandle | None = None

    @contextmanager
    def question(self) -> Iterator[None]:
        """While a message of a question is worked on."""
        this = object()
        self._questions.add(this)
        self._clear.clear()
        if self._clearing is not None:
            self._clearing.cancel()
        overdue = asyncio.get_running_loop().call_later(self._patience, self._let_go, this)
        try:
            yield
        finally:
            overdue.cancel()
            self._let_go(this)

    def _let_go(self, question: object) -> None:
        if question in self._questions:
            self._questions.remove(question)
            if not self._questions:
                self._clearing = asyncio.get_running_loop().call_later(self._grace, self._clear.set)

    async def stand_back(self) -> None:
        """Return when no question is worked on, or when patience is at its end."""
        if self._clear.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._clear.wait()
