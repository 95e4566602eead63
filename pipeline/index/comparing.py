"""Two indexes of a kind compared by their digests."""

from dataclasses import dataclass

from pipeline.index.kinds import AnyIndex, Kind


@dataclass(frozen=True, slots=True)
class IndexComparison:
    """Digests of the index that there was and of the one that the log says, both at one place of the log.

    `vectors` counts what is in an index: a vector, or in an index of features an image, of one generation.
    """

    before: str
    after: str
    vectors_before: int
    vectors: int
    position: int


def compared(kind: Kind[AnyIndex], before: AnyIndex, after: AnyIndex) -> IndexComparison:
    """Compare two indexes, which nobody changes meanwhile."""
    return IndexComparison(kind.digest(before), kind.digest(after), len(before), len(after), after.position)
