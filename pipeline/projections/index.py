"""An index that follows the log, and can be made anew from it at any time.

What an index that is a projection of the log can do, and what tells one such index from another.

Two indexes of a kind compared by their digests.

Playing the log into an index, and how far there is to play.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import structlog

from contracts.errors import MapSeekError
from contracts.events import Fact, GenerationDropped, ImageFact, ImageRemoved
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.nats.connection import Client
from infra.nats.projections import ChangeSignal
from infra.nats.reader import decode_or_warn, find_last_sequence, follow_log, read_log

log = structlog.get_logger()

INDEX_REFRESH_TIMEOUT_S = 1.0


class ProjectableIndex(Protocol):
    """Up to which stream sequence it is made of the log, and what takes out of it."""

    @property
    def position(self) -> int: ...

    def __len__(self) -> int: ...

    def advance(self, sequence: int) -> None: ...

    def remove(self, image_id: str) -> None: ...

    def drop_generation(self, generation: str) -> None: ...


AnyIndex = TypeVar("AnyIndex", bound=ProjectableIndex)


@dataclass(frozen=True, slots=True)
class IndexKind(Generic[AnyIndex]):
    """`name` is what it is called, `of` the facts that are put in by `add`. `empty`, `load` and `save` are given its folder."""

    name: str
    fact_type: type[ImageFact]
    empty: Callable[[Path], AnyIndex]
    add: Callable[[AnyIndex, Any], Awaitable[None]]
    load: Callable[[Path], AnyIndex | None]
    save: Callable[[AnyIndex, Path], None]
    digest: Callable[[AnyIndex], str]

    @property
    def subject_filters(self) -> tuple[str, ...]:
        """The facts of the log that matter to it."""
        return kind_filter(self.fact_type), kind_filter(ImageRemoved), kind_filter(GenerationDropped)

    async def apply(self, index: AnyIndex, fact: Fact) -> None:
        """Bring an index up to this fact."""
        match fact:
            case ImageRemoved():
                index.remove(fact.image_id)
            case GenerationDropped():
                index.drop_generation(fact.generation)
            case _ if isinstance(fact, self.fact_type):
                await self.add(index, fact)


@dataclass(frozen=True, slots=True)
class IndexComparison:
    """Digests of the index that there was and of the one that the log says, both at one place of the log.

    `vectors` counts what is in an index: a vector, or in an index of features an image, of one generation.
    """

    before: str
    after: str
    vectors_before: int
    vectors: int
    position: int


def compare_indexes(kind: IndexKind[AnyIndex], before: AnyIndex, after: AnyIndex) -> IndexComparison:
    """Compare two indexes, which nobody changes meanwhile."""
    return IndexComparison(kind.digest(before), kind.digest(after), len(before), len(after), after.position)


async def apply_log(
    client: Client, kind: IndexKind[AnyIndex], index: AnyIndex, until: int, wait_for_position: Callable[[int], None]
) -> None:
    """Bring an index up to a place of the log, letting others have their turn after each fact. Raises Unavailable."""
    async with aclosing(read_log(client, IMAGES, kind.subject_filters, after=index.position)) as messages:
        async for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence > until:
                break
            if (recorded := decode_or_warn(message)) is not None:
                await kind.apply(index, recorded.fact)
            index.advance(sequence)
            wait_for_position(sequence)
            await asyncio.sleep(0)
    index.advance(until)


async def find_last_change(client: Client, kind: IndexKind[AnyIndex]) -> int:
    """The sequence of the last entry that such an index is made of. Raises Unavailable."""
    return max([await find_last_sequence(client, IMAGES, subjects) for subjects in kind.subject_filters])


class IndexProjection(Generic[AnyIndex]):
    """An index of any kind; what is asked of it after `fresh` knows everything that was recorded before."""

    def __init__(self, client: Client, kind: IndexKind[AnyIndex], index: AnyIndex, folder: Path) -> None:
        self.kind = kind
        self._client = client
        self._index = index
        self._folder = folder
        self._following = ChangeSignal(f"the {kind.name} does not follow the log any more")
        self._applying = asyncio.Lock()
        self._rebuilding = False

    def __len__(self) -> int:
        return len(self._index)

    @property
    def index(self) -> AnyIndex:
        """The one that answers at this moment."""
        return self._index

    @property
    def position(self) -> int:
        """The stream sequence up to which the log is applied."""
        return self._index.position

    async def wait_until_fresh(self, guild_id: str) -> AnyIndex:
        """The index that answers, once it has all that the guild's log says now; after a second as it is. Raises Unavailable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INDEX_REFRESH_TIMEOUT_S):
                await self.wait_for_position(
                    await find_last_sequence(self._client, IMAGES, guild_filter(self.kind.fact_type, guild_id))
                )
        return self._index

    async def wait_for_position(self, sequence: int) -> None:
        """Wait until the log is applied up to that sequence."""
        await self._following.until(lambda: self._index.position >= sequence)

    async def rebuild(self, *, verify: bool, progress: Callable[[int, int], None]) -> IndexComparison:
        """Make the index anew from the log, compare both at the same place, and let the new one answer unless it is to `verify`.

        Searches are answered all the time, from the old one until then. Raises MapSeekError when that goes on already,
        Unavailable when the log cannot be read.
        """
        if self._rebuilding:
            raise MapSeekError("the index is being rebuilt already")
        self._rebuilding = True
        try:
            beside = self.kind.empty(self._folder)
            await self._bring_up(beside, progress)
            async with self._applying:  # so that both stand at one place, for as long as the comparison takes
                await self._bring_up(beside, progress)
                comparison = await asyncio.to_thread(compare_indexes, self.kind, self._index, beside)
                if not verify:
                    self._index = beside
        finally:
            self._rebuilding = False
        return comparison

    async def _bring_up(self, beside: AnyIndex, progress: Callable[[int, int], None]) -> None:
        until = self._index.position
        await apply_log(self._client, self.kind, beside, until, lambda sequence: progress(sequence, until))

    async def keep_up(self) -> None:
        """Apply the log for ever. If that fails, every later search fails too, rather than answer from an old index."""
        try:
            await self._apply_log()
        except Exception as error:
            log.exception("index_follow_failed", index=self.kind.name)
            await self._following.fail(error)

    async def _apply_log(self) -> None:
        async for message in follow_log(self._client, IMAGES, self.kind.subject_filters, after=self._index.position):
            recorded = decode_or_warn(message)
            async with self._applying:
                if recorded is not None:
                    await self.kind.apply(self._index, recorded.fact)
                self._index.advance(message.metadata.sequence.stream)
            await self._following.notify()
