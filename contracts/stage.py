"""The description of a stage: the facts it consumes and emits, and the function that does the work."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from contracts.events.base import Fact

DepsT = TypeVar("DepsT")


@dataclass(frozen=True, slots=True)
class Stage(Generic[DepsT]):
    """One step of the pipeline. `handle` returns the facts to record, or raises Reject, Retry or Unavailable.

    `by_generation` are those of `consumes` that the stage handles once for every generation, each with a consumer of its own.
    `attempts` is the maximum number of deliveries of one message, crashes of the process included, before it is dead-lettered.
    A `live_only` stage notifies people, or leads to that: it skips facts recorded by a replay, and cannot be replayed itself.
    """

    name: str
    consumes: tuple[type[Fact], ...]
    emits: tuple[type[Fact], ...]
    handle: Callable[[Any, DepsT], Coroutine[Any, Any, Sequence[Fact]]]
    deps: type[DepsT]
    attempts: int = 5
    by_generation: tuple[type[Fact], ...] = ()
    live_only: bool = False

    @property
    def families(self) -> tuple[str, ...]:
        """The lanes that the stage works in, in the order of `consumes`."""
        return tuple(dict.fromkeys(fact.family for fact in self.consumes))

    def list_consumed(self, family: str, *, by_generation: bool) -> tuple[type[Fact], ...]:
        """List the kinds of fact that the stage consumes in one lane, either those by generation or the others."""
        return tuple(fact for fact in self.consumes if fact.family == family and (fact in self.by_generation) == by_generation)
