"""Facts about generations: which exist, and which one answers searches. They belong to the installation and are kept for good."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Fact, Family, Id, Instant


class GenerationFact(Fact):
    """Something that happened to a generation: the vectors and fingerprints made with one encoder, method and preprocessing."""

    family: ClassVar[Family] = "generation"

    generation: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (self.generation,)


class GenerationStarted(GenerationFact):
    """From this log position on, new images are embedded in this generation too. A replay embeds the earlier images.

    `model`, `pretrained` and `precision` are the settings that every process opens the encoder with. `encoder` and `digest` tell
    whether it is the same encoder. A generation's name is never used again.
    """

    name: ClassVar[str] = "started"

    encoder: str
    digest: str
    preprocessing: Id
    dimensions: int
    model: str
    pretrained: str | None = None
    precision: str
    started_at: Instant
    fingerprint: Id = "f1"


class GenerationActivated(GenerationFact):
    """From now on this generation answers searches.

    `number` counts activations from 1. Two processes that activate at the same time write the same subject, so the second is
    refused.
    """

    name: ClassVar[str] = "activated"

    number: int = Field(ge=1)
    encoder: str
    digest: str
    preprocessing: Id
    dimensions: int
    fingerprint: Id = "f1"

    @property
    def key(self) -> tuple[str, ...]:
        return (str(self.number),)


class GenerationDropped(GenerationFact):
    """This generation was dropped. Every process stops using it, and its vectors are erased."""

    name: ClassVar[str] = "dropped"
