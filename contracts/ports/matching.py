"""What a picture is known by besides its vector, where that is looked up, and how two pictures are compared."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.events import Evidence, Quad


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`data` is for the blob store, and only what made it reads it. `hash` is PDQ's in hex, `quality` its figure (0 to 100)."""

    data: bytes
    hash: str
    quality: int
    features: int


@dataclass(frozen=True, slots=True)
class Examined:
    """A question's fingerprint, and where in it map art may lie, the likeliest first."""

    fingerprint: Fingerprint
    places: tuple[Quad, ...]


class Fingerprinting(Protocol):
    """Makes fingerprints. Same pixels, same `method`, same bytes. The work is done in a thread."""

    @property
    def method(self) -> str: ...

    async def fingerprint(self, picture: bytes) -> Fingerprint:
        """An archived picture's (canonical PNG). Raises Reject for one that cannot be decoded."""
        ...

    async def examine(self, picture: bytes) -> Examined:
        """A question's: the same and what only questions need, the features of its places and of its mirror image among it.

        It goes before the archive. Raises Reject for a picture that cannot be decoded.
        """
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An archived image that may be what was asked for: the blob of its fingerprint, and what spoke for it (0: nothing did)."""

    image_id: str
    fingerprint: str
    votes: float = 0.0


class FeatureSearch(Protocol):
    """Finds archived images by their fingerprints, within one guild and one generation, in the channels named (None: all)."""

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """At most `top` images whose hash is near, or that have many features in common, best first. `fingerprint` is its bytes.

        It sees every fingerprint that was recorded before it was asked. Unknown guilds have none.
        """
        ...

    async def coloured(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """At most `top` images of which a question may be a part by its colours, best first, without votes.

        It sees what `candidates` saw when it was last asked, and maybe more.
        """
        ...

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        """Those of these images that have a fingerprint, without votes, by image id."""
        ...

    async def size(self, guild_id: str, generation: str) -> int:
        """How many images have a fingerprint there."""
        ...


@dataclass(frozen=True, slots=True)
class Compared:
    """How sure it is (0 to 1) that a question shows an archived piece, and why."""

    probability: float
    evidence: Evidence


class Comparing(Protocol):
    """Compares a question with archived pictures by their fingerprints. The work is done in a thread."""

    async def compare(
        self, asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
    ) -> Mapping[str, Compared]:
        """Each archived image with how sure it is; `similarities` are the cosines of the nearest vectors, where they are known.

        `among` is how many images the guild has: the more there are, the more there must be in common. Fingerprints of another
        method, and unreadable ones, are left out.
        """
        ...
