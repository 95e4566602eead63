"""What the log says of generations: which there are, which one answers. A value that every fact makes anew."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contracts.events.base import Fact, Variant
from contracts.events.generation import GenerationActivated, GenerationDropped, GenerationStarted


@dataclass(frozen=True, slots=True)
class Generation:
    """All vectors that one encoder makes of one preprocessing's pictures, and the fingerprints of one version beside them.

    `sequence` is where it started on the log of images: what is recorded later is embedded as it comes, what is earlier is for a
    replay.
    """

    name: str
    encoder: str
    digest: str
    preprocessing: str
    dimensions: int
    sequence: int
    model: str
    pretrained: str | None
    precision: str
    fingerprint: str

    def variant_token(self, variant: Variant) -> str:
        """What stands for this generation in the key of a fact that has such a variant."""
        return self.name if variant == "generation" else self.preprocessing


@dataclass(frozen=True, slots=True)
class Generations:
    """`known` are all that ever were, in the order in which they started; `activations` are the names in order, newest last."""

    known: Mapping[str, Generation] = field(default_factory=dict)
    activations: tuple[str, ...] = ()
    dropped: frozenset[str] = frozenset()

    @property
    def active(self) -> Generation | None:
        """The one that answers, None before the first activation: the last that was activated and lives.

        Where somebody activates what another is dropping at that moment, searches are answered from the one before.
        """
        return next((self.known[name] for name in reversed(self.activations) if name not in self.dropped), None)

    @property
    def alive(self) -> tuple[Generation, ...]:
        """Those that are not dropped: new images are embedded in each of them."""
        return tuple(generation for name, generation in self.known.items() if name not in self.dropped)

    def serves(self, name: str) -> bool:
        """Whether searches are, or lately were, answered from it; the others are still being built, or given up."""
        return name in self.activations and name not in self.dropped

    def find_previous(self, name: str) -> Generation | None:
        """The one that answered before this one did last, if it is still there: what a rollback goes back to."""
        if name not in self.activations:
            return None
        last = len(self.activations) - 1 - self.activations[::-1].index(name)
        earlier = [each for each in self.activations[:last] if each != name and each not in self.dropped]
        return self.known[earlier[-1]] if earlier else None

    def with_fact(self, fact: Fact, sequence: int) -> "Generations":
        """What holds once this fact, recorded at that sequence, is known too. Facts of other families change nothing."""
        match fact:
            case GenerationStarted() if fact.generation not in self.known:
                return replace(self, known={**self.known, fact.generation: _started(fact, sequence)})
            case GenerationActivated() if fact.generation in self.known:
                return replace(self, activations=(*self.activations, fact.generation))
            case GenerationDropped():
                return replace(self, dropped=self.dropped | {fact.generation})
        return self


def _started(fact: GenerationStarted, sequence: int) -> Generation:
    return Generation(
        fact.generation,
        fact.encoder,
        fact.digest,
        fact.preprocessing,
        fact.dimensions,
        sequence,
        fact.model,
        fact.pretrained,
        fact.precision,
        fact.fingerprint,
    )
