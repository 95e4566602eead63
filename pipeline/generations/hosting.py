"""A process works on every generation that lives: what is recorded is embedded, kept and linked in each of them, side by side."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from contracts.errors import MapSeekError, Unavailable
from contracts.generations import Generation
from infra.nats.projections import FollowedGenerations
from infra.tasks import cancel_tasks, raise_if_cancelled

log = structlog.get_logger()

StopGeneration = Callable[[], Awaitable[None]]
"""What gives up what was begun for a generation."""

LOAD_RETRY_S = 30.0
"""A model that could not be loaded may be put there yet."""


class GenerationHost:
    """Begins the work on generations as they come, and ends it as they go. `failed` says which could not be begun, and why."""

    def __init__(self, generations: FollowedGenerations, begin: Callable[[Generation], Awaitable[StopGeneration]]) -> None:
        self._generations = generations
        self._begin = begin
        self._ends: dict[str, StopGeneration] = {}
        self.failed: dict[str, str] = {}

    async def begin(self, generation: Generation) -> None:
        """Raises MapSeekError when the generation cannot be worked on here."""
        self._ends[generation.name] = await self._begin(generation)
        self.failed.pop(generation.name, None)
        log.info("generation_opened", generation=generation.name, encoder=generation.encoder)

    async def check(self) -> str | None:
        """What is wrong, for readiness."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.failed.items()) or None

    async def keep_up(self) -> None:
        """Follow the log for ever, or say why that ended."""
        try:
            while True:
                await self._end_dropped()
                await self._begin_new()
                raise_if_cancelled()
                await self._changed()
        except Exception as error:
            log.exception("generation_host_failed")
            self.failed["new generations"] = str(error) or type(error).__name__

    async def _changed(self) -> None:
        """Return when generations came or went, or when it is time to try again what failed."""
        try:
            async with asyncio.timeout(LOAD_RETRY_S if self.failed else None):
                await self._generations.until(lambda now: {each.name for each in now.alive} != self._looked_after)
        except TimeoutError:
            self.failed.clear()

    @property
    def _looked_after(self) -> set[str]:
        return self._ends.keys() | self.failed.keys()

    async def _end_dropped(self) -> None:
        alive = {each.name for each in self._generations.now.alive}
        for name in self._looked_after - alive:
            self.failed.pop(name, None)
            if end := self._ends.pop(name, None):
                await end()
                log.info("generation_closed", generation=name)

    async def _begin_new(self) -> None:
        for generation in self._generations.now.alive:
            if generation.name not in self._looked_after:
                try:
                    await self.begin(generation)
                except (MapSeekError, Unavailable) as error:
                    self.failed[generation.name] = str(error)
                    log.error("generation_not_opened", generation=generation.name, error=str(error))
                except Exception as error:
                    # A bug of one generation's must not keep the others from coming and going.
                    self.failed[generation.name] = str(error) or type(error).__name__
                    log.exception("generation_not_opened", generation=generation.name, error=self.failed[generation.name])


@asynccontextmanager
async def host_generations(
    generations: FollowedGenerations, begin: Callable[[Generation], Awaitable[StopGeneration]]
) -> AsyncIterator[GenerationHost]:
    """Work on the active generation at once, or raise MapSeekError; then on all others, and on those to come.

    What is begun at the end is its caller's to stop, with all else that works.
    """
    hosted = GenerationHost(generations, begin)
    if (active := generations.now.active) is not None:
        await hosted.begin(active)
    following = asyncio.create_task(hosted.keep_up(), name="generations")
    try:
        yield hosted
    finally:
        await cancel_tasks(following)
