"""Working on every generation that is not dropped: new images are embedded, stored and linked in each of them."""

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
"""Stops the work on a generation."""

LOAD_RETRY_S = 30.0
"""A model that could not be loaded may be installed later."""


class GenerationHost:
    """Starts the work on new generations and stops it for dropped ones.

    `failed` maps generations that could not be started to reasons.
    """

    def __init__(self, generations: FollowedGenerations, begin: Callable[[Generation], Awaitable[StopGeneration]]) -> None:
        self._generations = generations
        self._begin = begin
        self._stops: dict[str, StopGeneration] = {}
        self.failed: dict[str, str] = {}

    async def begin(self, generation: Generation) -> None:
        """Start the work on a generation. Raises MapSeekError if that is not possible in this process."""
        self._stops[generation.name] = await self._begin(generation)
        self.failed.pop(generation.name, None)
        log.info("generation_opened", generation=generation.name, encoder=generation.encoder)

    async def check(self) -> str | None:
        """Return what is wrong, or None. For readiness."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.failed.items()) or None

    async def keep_up(self) -> None:
        """Follow the generations without end. If that fails, report it in `failed`."""
        try:
            while True:
                await self._end_dropped()
                await self._begin_new()
                raise_if_cancelled()
                await self._wait_for_change()
        except Exception as error:
            log.exception("generation_host_failed")
            self.failed["new generations"] = str(error) or type(error).__name__

    async def _wait_for_change(self) -> None:
        """Return when a generation was started or dropped, or when it is time to try failed ones again."""
        try:
            async with asyncio.timeout(LOAD_RETRY_S if self.failed else None):
                await self._generations.until(lambda now: {each.name for each in now.alive} != self._handled)
        except TimeoutError:
            self.failed.clear()

    @property
    def _handled(self) -> set[str]:
        return self._stops.keys() | self.failed.keys()

    async def _end_dropped(self) -> None:
        alive = {each.name for each in self._generations.now.alive}
        for name in self._handled - alive:
            self.failed.pop(name, None)
            if end := self._stops.pop(name, None):
                await end()
                log.info("generation_closed", generation=name)

    async def _begin_new(self) -> None:
        for generation in self._generations.now.alive:
            if generation.name not in self._handled:
                try:
                    await self.begin(generation)
                except (MapSeekError, Unavailable) as error:
                    self.failed[generation.name] = str(error)
                    log.error("generation_not_opened", generation=generation.name, error=str(error))
                except Exception as error:
                    # A bug with one generation must not stop the others from being started and dropped.
                    self.failed[generation.name] = str(error) or type(error).__name__
                    log.exception("generation_not_opened", generation=generation.name, error=self.failed[generation.name])


@asynccontextmanager
async def host_generations(
    generations: FollowedGenerations, begin: Callable[[Generation], Awaitable[StopGeneration]]
) -> AsyncIterator[GenerationHost]:
    """Start the work on the active generation now, or raise MapSeekError. Then start all others, and new ones as they come.

    At the end, the caller stops the work that is still running, together with everything else.
    """
    host = GenerationHost(generations, begin)
    if (active := generations.now.active) is not None:
        await host.begin(active)
    follower = asyncio.create_task(host.keep_up(), name="generations")
    try:
        yield host
    finally:
        await cancel_tasks(follower)
