"""How often and how soon something is tried again. Delays are seconds."""

import random
from dataclasses import dataclass
from datetime import timedelta

from stages import erase


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delay with full jitter on its upper half, so that a crowd does not come back at once."""

    first: float
    factor: float
    longest: float

    def delay(self, attempt: int, at_least: float | None = None) -> float:
        """The delay before attempt number `attempt + 1`; attempts count from 1."""
        full = min(self.longest, self.first * self.factor ** min(attempt - 1, 32))
        return max(at_least or 0.0, full * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret


@dataclass(frozen=True, slots=True)
class Policy:
    """The runner's patience. A person waits in the search lane, so it tries again sooner.

    `blob_grace` is how long the blobs of a removed image are left, lest another image is about to use them.
    """

    image_retry: Backoff = Backoff(first=2, factor=4, longest=300)
    search_retry: Backoff = Backoff(first=0.5, factor=2, longest=10)
    hold: Backoff = Backoff(first=0.5, factor=2, longest=15)
    keep_alive_every: float = 10
    breaker_limit: int = 25
    blob_grace: timedelta = erase.GRACE

    def retry(self, family: str) -> Backoff:
        return self.search_retry if family == "search" else self.image_retry
