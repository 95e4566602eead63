"""Playing the log into a catalogue through the very code of the persist stage, as far as each durable of the stage has come."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from contracts.errors import Retry
from contracts.events import ImageEmbedded, ImageFact
from contracts.ports import Catalogue
from contracts.subjects import IMAGES
from infra.nats.connection import Client
from infra.nats.reader import Recorded, past, readable
from stages import persist

Progress = Callable[[int, int], None]
"""Called with how far along the log the work is, and how far it has to come."""

AT_ONCE = 256
"""Facts that are worked on together, those of one image one after the other."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a durable has come on the log of images, and what it consumes of what persist settles."""

    durable: str
    filters: tuple[str, ...]
    sequence: int


class Filling:
    """Fills an empty catalogue from the log, further at each call. Vectors of `dropped` generations are passed over."""

    def __init__(self, client: Client, catalogue: Catalogue, dropped: Collection[str], progress: Progress) -> None:
        self._client = client
        self._deps = persist.Deps(catalogue)
        self._dropped = dropped
        self._progress = progress
        self._reached: dict[str, int] = {}
        self._waiting: list[ImageFact] = []

    async def up_to(self, places: Sequence[Place]) -> None:
        """Play what is not played yet, up to these places. Raises Unavailable."""
        total = sum(place.sequence for place in places)
        done = 0
        for place in places:
            await self._play(place, done, total)
            self._reached[place.durable] = place.sequence
            done += place.sequence
            self._progress(done, total)
        waiting, self._waiting = self._waiting, []
        await self._apply(waiting)

    async def _play(self, place: Place, done: int, total: int) -> None:
        after = self._reached.get(place.durable, 0)
        if not place.filters or after >= place.sequence:
            return
        batch: list[Recorded | None] = []
        async with aclosing(past(self._client, IMAGES, place.filters, after=after)) as messages:
            async for message in messages:
                if message.metadata.sequence.stream > place.sequence:
                    break
                batch.append(readable(message))
                if len(batch) == AT_ONCE:
                    await self._apply(self._facts(batch))
                    self._progress(done + message.metadata.sequence.stream, total)
                    batch.clear()
        await self._apply(self._facts(batch))

    def _facts(self, batch: Sequence[Recorded | None]) -> list[ImageFact]:
        facts = [recorded.fact for recorded in batch if recorded is not None]
        return [fact for fact in facts if isinstance(fact, ImageFact) and not self._is_dropped(fact)]

    def _is_dropped(self, fact: ImageFact) -> bool:
        return isinstance(fact, ImageEmbedded) and fact.generation in self._dropped

    async def _apply(self, facts: Sequence[ImageFact]) -> None:
        of_image: dict[str, list[ImageFact]] = defaultdict(list)
        for fact in facts:
            of_image[fact.image_id].append(fact)
        await asyncio.gather(*(self._apply_in_order(each) for each in of_image.values()))

    async def _apply_in_order(self, facts: Sequence[ImageFact]) -> None:
        for fact in facts:
            try:
                await persist.handle(fact, self._deps)
            except Retry:
                self._waiting.append(fact)  # a vector whose post is of a part of the log that is still to come
