"""The generations and which one is active, computed from the facts in the log. Immutable: each fact makes a new value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contracts.events.base import Fact, Variant
from contracts.events.generation import GenerationActivated, GenerationDropped, GenerationStarted


@dataclass(frozen=True, slots=True)
class Generation:
    """All vectors and fingerprints made with one encoder, one fingerprint method and one version of the preprocessing.

    `sequence` is the position in the stream IMAGES where the generation started. Later images are embedded as they come; a replay
    embeds the earlier ones.
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
        """Return the variant token of this generation's facts: its name, or its preprocessing version."""
        return self.name if variant == "generation" else self.preprocessing


@dataclass(frozen=True, slots=True)
class Generations:
    """All generations. `known` has every one that was ever started, in that order; `activations` are names, the latest last."""

    known: Mapping[str, Generation] = field(default_factory=dict)
    activations: tuple[str, ...] = ()
    dropped: frozenset[str] = frozenset()

    @property
    def active(self) -> Generation | None:
        """The generation that answers searches: the last activated one that is not dropped. None before the first activation.

        If somebody activates a generation while somebody else drops it, the one that was active before answers.
        """
        return next((self.known[name] for name in reversed(self.activations) if name not in self.dropped), None)

    @property
    def alive(self) -> tuple[Generation, ...]:
        """The generations that are not dropped. New images are embedded in each of them."""
        return tuple(generation for name, generation in self.known.items() if name not in self.dropped)

    def serves(self, name: str) -> bool:
        """Whether this generation answers searches, or did so before and is not dropped. Others are being built, or are dropped."""
        return name in self.activations and name not in self.dropped

    def find_previous(self, name: str) -> Generation | None:
        """Find the generation that was active before this one was last activated: the target of a rollback. None if it is gone."""
        if name not in self.activations:
            return None
        last = len(self.activations) - 1 - self.activations[::-1].index(name)
        earlier = [each for each in self.activations[:last] if each != name and each not in self.dropped]
        return self.known[earlier[-1]] if earlier else None

    def with_fact(self, fact: Fact, sequence: int) -> "Generations":
        """Return the generations after this fact, recorded at that position. Facts of other families change nothing."""
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
