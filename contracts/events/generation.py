"""Which encoder answers: facts about the installation, kept for ever."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Fact, Family, Id


class GenerationActivated(Fact):
    """From now on searches are answered from this generation's vectors.

    `number` counts activations from 1: two processes that activate at once write the same subject, and the second is refused.
    """

    family: ClassVar[Family] = "generation"
    name: ClassVar[str] = "activated"

    number: int = Field(ge=1)
    generation: Id
    encoder: str
    digest: str
    preprocessing: Id
    dimensions: int

    @property
    def key(self) -> tuple[str, ...]:
        return (str(self.number),)
