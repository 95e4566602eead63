"""What an index that is a projection of the log can do, and what tells one such index from another."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from contracts.events import Fact, GenerationDropped, ImageFact, ImageRemoved
from contracts.subjects import kind_filter


class Index(Protocol):
    """Up to which stream sequence it is made of the log, and what takes out of it."""

    @property
    def position(self) -> int: ...

    def __len__(self) -> int: ...

    def advance(self, sequence: int) -> None: ...

    def remove(self, image_id: str) -> None: ...

    def drop_generation(self, generation: str) -> None: ...


AnyIndex = TypeVar("AnyIndex", bound=Index)


@dataclass(frozen=True, slots=True)
class Kind(Generic[AnyIndex]):
    """`name` is what it is called, `of` the facts that are put in by `add`. `empty`, `load` and `save` are given its folder."""

    name: str
    of: type[ImageFact]
    empty: Callable[[Path], AnyIndex]
    add: Callable[[AnyIndex, Any], Awaitable[None]]
    load: Callable[[Path], AnyIndex | None]
    save: Callable[[AnyIndex, Path], None]
    digest: Callable[[AnyIndex], str]

    @property
    def followed(self) -> tuple[str, ...]:
        """The facts of the log that matter to it."""
        return kind_filter(self.of), kind_filter(ImageRemoved), kind_filter(GenerationDropped)

    async def apply(self, index: AnyIndex, fact: Fact) -> None:
        """Bring an index up to this fact."""
        match fact:
            case ImageRemoved():
                index.remove(fact.image_id)
            case GenerationDropped():
                index.drop_generation(fact.generation)
            case _ if isinstance(fact, self.of):
                await self.add(index, fact)
