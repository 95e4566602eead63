"""How the archive does, for the managers of a guild."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lag:
    """What one stage still has to do in one lane, and how often it failed for good."""

    stage: str
    lane: str
    pending: int
    failures: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of a guild's archive. `stored_bytes` is the size of all blobs, of every guild."""

    images: int
    stored_bytes: int
    lags: Sequence[Lag]


class Overseeing(Protocol):
    """Tells the managers of a guild how its archive does."""

    async def overview(self, guild_id: str) -> Overview:
        """The state of the archive now. Raises Unavailable."""
        ...
