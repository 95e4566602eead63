"""What generations there are, read from the log and followed: an activation is known to every process within moments."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.events import GenerationFact, GenerationStarted
from contracts.generations import Generations
from contracts.subjects import lane_filter, stream_of
from infra.nats.following import Following
from infra.nats.tail import follow, past, readable
from infra.tasks import cancel

log = structlog.get_logger()

_STREAM = stream_of(GenerationStarted)
_FACTS = [lane_filter(GenerationFact.family)]


async def read_generations(client: Client) -> Generations:
    """What the log says now. Raises Unavailable when it cannot be read."""
    generations, _ = await _read(client)
    return generations


class FollowedGenerations:
    """What the log says at every moment: `now`. Open it with `open_generations`."""

    def __init__(self, now: Generations) -> None:
        self.now = now
        self._following = Following("the generations are not followed any more")

    async def until(self, holds: Callable[[Generations], bool]) -> Generations:
        """Wait until something holds of them, and return what they are then. Raises RuntimeError when they are followed no more."""
        await self._following.until(lambda: holds(self.now))
        return self.now

    async def keep_up(self, client: Client, after: int) -> None:
        """Apply what is recorded behind that place of the log, for ever."""
        try:
            async for message in follow(client, _STREAM, _FACTS, after=after):
                self.now = _with(self.now, message)
                await self._following.moved()
        except Exception as error:
            log.exception("the generations are not followed any more")
            await self._following.failed(error)


@asynccontextmanager
async def open_generations(client: Client) -> AsyncIterator[FollowedGenerations]:
    """Read the log, then keep following it. Raises Unavailable when it cannot be read."""
    now, position = await _read(client)
    generations = FollowedGenerations(now)
    following = asyncio.create_task(generations.keep_up(client, position))
    try:
        yield generations
    finally:
        await cancel(following)


async def _read(client: Client) -> tuple[Generations, int]:
    """What the log says, and the sequence of the last fact that it was read from."""
    generations, position = Generations(), 0
    async with aclosing(past(client, _STREAM, _FACTS)) as messages:
        async for message in messages:
            generations = _with(generations, message)
            position = message.metadata.sequence.stream
    return generations, position


def _with(generations: Generations, message: Msg) -> Generations:
    recorded = readable(message)
    return generations if recorded is None else generations.after(recorded.fact, message.metadata.sequence.stream)
