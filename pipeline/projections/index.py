"""An index as a projection: it follows the log, and can be rebuilt from it and compared with it at any time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import structlog

from contracts.errors import MapSeekError
from contracts.events import Fact, GenerationDropped, ImageFact, ImageHidden, ImageRemoved, ImageShown
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.nats.connection import Client
from infra.nats.projections import ChangeSignal
from infra.nats.reader import decode_or_warn, find_last_sequence, follow_log, read_log

log = structlog.get_logger()

INDEX_REFRESH_TIMEOUT_S = 1.0


class ProjectableIndex(Protocol):
    """An index that knows up to which stream sequence the log is applied to it, and from which images can be removed.

    What happens to an image may be applied in any order.
    """

    @property
    def position(self) -> int: ...

    @property
    def turns(self) -> Mapping[str, object]: ...

    def __len__(self) -> int: ...

    def advance(self, sequence: int) -> None: ...

    def hide(self, image_id: str, turn: int) -> None: ...

    def show(self, image_id: str, turn: int) -> None: ...

    def remove(self, image_id: str) -> None: ...

    def drop_generation(self, generation: str) -> None: ...


AnyIndex = TypeVar("AnyIndex", bound=ProjectableIndex)


@dataclass(frozen=True, slots=True)
class IndexKind(Generic[AnyIndex]):
    """What distinguishes one kind of index from another: its name, the fact type that `add` puts in, and its functions.

    `empty`, `load` and `save` get the folder of its snapshot.
    """

    name: str
    fact_type: type[ImageFact]
    empty: Callable[[Path], AnyIndex]
    add: Callable[[AnyIndex, Any], Awaitable[None]]
    load: Callable[[Path], AnyIndex | None]
    save: Callable[[AnyIndex, Path], None]
    digest: Callable[[AnyIndex], str]

    @property
    def image_facts(self) -> tuple[type[ImageFact], ...]:
        """The kinds of facts about an image that change what a search finds."""
        return self.fact_type, ImageHidden, ImageShown, ImageRemoved

    @property
    def subject_filters(self) -> tuple[str, ...]:
        """The filters of the facts that change the index."""
        return *(kind_filter(kind) for kind in self.image_facts), kind_filter(GenerationDropped)

    async def apply(self, index: AnyIndex, fact: Fact) -> None:
        """Apply a fact to an index."""
        match fact:
            case ImageHidden():
                index.hide(fact.image_id, fact.turn)
            case ImageShown():
                index.show(fact.image_id, fact.turn)
            case ImageRemoved():
                index.remove(fact.image_id)
            case GenerationDropped():
                index.drop_generation(fact.generation)
            case _ if isinstance(fact, self.fact_type):
                await self.add(index, fact)


@dataclass(frozen=True, slots=True)
class IndexComparison:
    """The digests of the old index and of the one built from the log, both at the same position of the log.

    `vectors` counts entries: one for each vector, or in a feature index, one for each image and generation.
    """

    before: str
    after: str
    vectors_before: int
    vectors: int
    position: int


def compare_indexes(kind: IndexKind[AnyIndex], before: AnyIndex, after: AnyIndex) -> IndexComparison:
    """Compare two indexes. Nobody may change them during the call."""
    return IndexComparison(kind.digest(before), kind.digest(after), len(before), len(after), after.position)


async def apply_log(
    client: Client, kind: IndexKind[AnyIndex], index: AnyIndex, until: int, on_applied: Callable[[int], None]
) -> None:
    """Apply the log to an index up to a stream sequence. Yield to other tasks after each fact. Raises Unavailable."""
    async with aclosing(read_log(client, IMAGES, kind.subject_filters, after=index.position)) as messages:
        async for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence > until:
                break
            if (recorded := decode_or_warn(message)) is not None:
                await kind.apply(index, recorded.fact)
            index.advance(sequence)
            on_applied(sequence)
            await asyncio.sleep(0)
    index.advance(until)


async def apply_turns(client: Client, kind: IndexKind[AnyIndex], index: AnyIndex) -> None:
    """Apply all facts of the log that hide or show an image. Raises Unavailable.

    A snapshot of a version that did not know such facts lacks those from before its position.
    """
    async with aclosing(read_log(client, IMAGES, [kind_filter(ImageHidden), kind_filter(ImageShown)])) as messages:
        async for message in messages:
            if (recorded := decode_or_warn(message)) is not None:
                await kind.apply(index, recorded.fact)


async def find_last_change(client: Client, kind: IndexKind[AnyIndex]) -> int:
    """Return the sequence of the last entry that changes an index of this kind. Raises Unavailable."""
    return max([await find_last_sequence(client, IMAGES, subjects) for subjects in kind.subject_filters])


class IndexProjection(Generic[AnyIndex]):
    """An index that follows the log. After `wait_until_fresh` it holds everything that was recorded before the call."""

    def __init__(self, client: Client, kind: IndexKind[AnyIndex], index: AnyIndex, folder: Path) -> None:
        self.kind = kind
        self._client = client
        self._index = index
        self._folder = folder
        self._signal = ChangeSignal(f"the {kind.name} does not follow the log any more")
        self._applying = asyncio.Lock()
        self._rebuilding = False

    def __len__(self) -> int:
        return len(self._index)

    @property
    def index(self) -> AnyIndex:
        """The index that answers now. A rebuild replaces it."""
        return self._index

    @property
    def position(self) -> int:
        """The stream sequence up to which the log is applied."""
        return self._index.position

    async def wait_until_fresh(self, guild_id: str) -> AnyIndex:
        """Wait until the guild's facts of now are applied, at most a second, and return the index that answers.

        Raises Unavailable.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(INDEX_REFRESH_TIMEOUT_S):
                filters = [guild_filter(kind, guild_id) for kind in self.kind.image_facts]
                last = await asyncio.gather(*(find_last_sequence(self._client, IMAGES, each) for each in filters))
                await self.wait_for_position(max(last))
        return self._index

    async def wait_for_position(self, sequence: int) -> None:
        """Wait until the log is applied up to a stream sequence."""
        await self._signal.until(lambda: self._index.position >= sequence)

    async def rebuild(self, *, verify: bool, progress: Callable[[int, int], None]) -> IndexComparison:
        """Build the index again from the log, and compare both at the same position of the log.

        Unless only to `verify`, the new index then answers. The old one answers searches until then. Raises MapSeekError if a
        rebuild is running already, Unavailable if the log cannot be read.
        """
        if self._rebuilding:
            raise MapSeekError("the index is being rebuilt already")
        self._rebuilding = True
        try:
            rebuilt = self.kind.empty(self._folder)
            await self._apply_up_to(rebuilt, progress)
            async with self._applying:  # so that both stay at one position during the comparison
                await self._apply_up_to(rebuilt, progress)
                comparison = await asyncio.to_thread(compare_indexes, self.kind, self._index, rebuilt)
                if not verify:
                    self._index = rebuilt
        finally:
            self._rebuilding = False
        return comparison

    async def _apply_up_to(self, rebuilt: AnyIndex, progress: Callable[[int, int], None]) -> None:
        until = self._index.position
        await apply_log(self._client, self.kind, rebuilt, until, lambda sequence: progress(sequence, until))

    async def keep_up(self) -> None:
        """Apply the log without end. If that fails, every later search fails too, instead of being answered from an old index."""
        try:
            await self._apply_log()
        except Exception as error:
            log.exception("index_follow_failed", index=self.kind.name)
            await self._signal.fail(error)

    async def _apply_log(self) -> None:
        async for message in follow_log(self._client, IMAGES, self.kind.subject_filters, after=self._index.position):
            recorded = decode_or_warn(message)
            async with self._applying:
                if recorded is not None:
                    await self.kind.apply(self._index, recorded.fact)
                self._index.advance(message.metadata.sequence.stream)
            await self._signal.notify()
