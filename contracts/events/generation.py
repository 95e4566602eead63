"""Which encoders' vectors there are, and which of them answer: facts about the installation, kept for ever."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Fact, Family, Id, Instant


class GenerationFact(Fact):
    """Something that happened to a generation: all that one encoder and one fingerprint make of one preprocessing's pictures."""

    family: ClassVar[Family] = "generation"

    generation: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (self.generation,)


class GenerationStarted(GenerationFact):
    """From this place of the log on, new images are embedded in this generation too; those before it are for a replay.

    `model`, `pretrained` and `precision` are the settings by which every process opens the encoder; `encoder` and `digest` say
    whether it is the same one. A name is used once, for ever.
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
    """From now on searches are answered from this generation's vectors.

    `number` counts activations from 1: two processes that activate at once write the same subject, and the second is refused.
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
    """This generation is given up: every process leaves it alone, and its vectors are erased."""

    name: ClassVar[str] = "dropped"
