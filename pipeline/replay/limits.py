"""When a replay may begin the next batch: it has all the time in the world, and people who ask have not."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from nats.aio.client import Client

from contracts.events import SearchAnswered, SearchDescribed, SearchFact, SearchRequested
from contracts.subjects import SEARCHES, kind_filter
from infra.nats.reader import follow, last_sequence, readable
from pipeline.precedence import PATIENCE_S, Precedence

LOOK_AGAIN_S = 1.0
NICENESS = 19
"""Added to the process's: where both want a core, a search gets nearly all of it."""


@dataclass(slots=True)
class Limits:
    """At most `rate` messages a second in this process; nothing new above a load of `max_load`; questions first, anywhere."""

    rate: float | None = None
    max_load: float | None = None
    questions: Precedence = field(default_factory=Precedence)
    load: Callable[[], float] = lambda: os.getloadavg()[0]
    _next: float = 0.0

    async def turn(self, messages: int) -> None:
        """Return when so many messages may be begun."""
        while self.max_load is not None and self.load() > self.max_load:  # noqa: ASYNC110 - a load tells nobody
            await asyncio.sleep(LOOK_AGAIN_S)
        if self.rate is not None:
            now = asyncio.get_running_loop().time()
            begin = max(now, self._next)
            self._next = begin + messages / self.rate
            await asyncio.sleep(begin - now)
        await self.questions.stand_back()


async def give_way(client: Client, precedence: Precedence, patience: float = PATIENCE_S) -> None:
    """Tell, for ever, of every question that is worked on in any process, from its being asked to its answer."""
    asked: dict[str, asyncio.Event] = {}

    async def until_answered(search_id: str) -> None:
        with precedence.question(), suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asked[search_id].wait()
        del asked[search_id]

    kinds = [kind_filter(kind) for kind in (SearchRequested, SearchDescribed, SearchAnswered)]
    async with asyncio.TaskGroup() as group:
        async for message in follow(client, SEARCHES, kinds, after=await last_sequence(client, SEARCHES)):
            recorded = readable(message)
            if recorded is None or not isinstance(fact := recorded.fact, SearchFact):
                continue
            if isinstance(fact, SearchAnswered):
                if fact.search_id in asked:
                    asked[fact.search_id].set()
            elif fact.search_id not in asked:
                asked[fact.search_id] = asyncio.Event()
                group.create_task(until_answered(fact.search_id))


def be_nice() -> None:
    """Let every other process go first. Threads that are begun later are as nice."""
    os.nice(NICENESS)
