"""A stage: what it consumes, what it emits, and the one function that does the work."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from contracts.events.base import Fact

DepsT = TypeVar("DepsT")


@dataclass(frozen=True, slots=True)
class Stage(Generic[DepsT]):
    """A step of the pipeline. `handle` returns the facts to record and raises Reject, Retry or Unavailable.

    `by_generation` are those of `consumes` that it works on once for every generation, at each one's own place in the log.
    `attempts` bounds the deliveries of one message, crashes of the process included, before it is dead-lettered.
    A stage that is `live_only` speaks to people, or leads to it: what a replay records is passed over, and it cannot be replayed.
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
        """The kinds of fact that the stage consumes in one lane: once for each generation, or once for all."""
        return tuple(fact for fact in self.consumes if fact.family == family and (fact in self.by_generation) == by_generation)
