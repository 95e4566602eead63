"""Two vector indexes compared by their digests."""

from dataclasses import dataclass

from infra.vectors.digest import digest_of
from infra.vectors.index import EmbeddedIndex


@dataclass(frozen=True, slots=True)
class IndexComparison:
    """Digests of the index that there was and of the one that the log says, both at one place of the log."""

    before: str
    after: str
    vectors_before: int
    vectors: int
    position: int


def compared(before: EmbeddedIndex, after: EmbeddedIndex) -> IndexComparison:
    """Compare two indexes, which nobody changes meanwhile."""
    return IndexComparison(digest_of(before), digest_of(after), len(before), len(after), after.position)
