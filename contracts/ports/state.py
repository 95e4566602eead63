"""Small documents that change, kept beside the logs."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of the key-value bucket, and the revision that a change of it must name."""

    value: bytes
    revision: int


class State(Protocol):
    """Small documents by key, shared by all processes. Every call raises Unavailable when the log server cannot be reached."""

    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, value: bytes) -> None:
        """Set a value, whatever it was."""
        ...

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        """Set a value if it is still at this revision (0: if there is none); False, and nothing is changed, if it is not."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a key; it is no error if there is none."""
        ...

    async def under(self, prefix: str) -> dict[str, bytes]:
        """Every value whose key begins with `<prefix>.`, by key."""
        ...
