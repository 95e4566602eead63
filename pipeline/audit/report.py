"""What an audit found."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pipeline.audit.gaps import Gap


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain: how many are there, how many are on the way to it, and how many are not as they should be."""

    name: str
    there: int
    on_the_way: int = 0
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The steps in order, the gaps, and `notes`: sentences about what could not be looked at."""

    generation: str
    steps: list[Step] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there is no gap."""
        return not self.gaps

    def add(self, name: str, there: int, gaps: Sequence[Gap] = (), on_the_way: Collection[str] = ()) -> None:
        """One more step with its gaps."""
        self.steps.append(Step(name, there, len(on_the_way), len({each for gap in gaps for each in gap.found})))
        self.gaps.extend(gaps)
