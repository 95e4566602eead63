"""What a picture is known by besides its vector, where that is looked up, and how two pictures are compared.

Where pictures come from and are kept, and how they become vectors.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.events import Calibration, DiscordFile, Evidence, Quad


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`data` is for the blob store, and only what made it reads it. `hash` is PDQ's in hex, `quality` its figure (0 to 100)."""

    data: bytes
    hash: str
    quality: int
    features: int


@dataclass(frozen=True, slots=True)
class QueryFingerprint:
    """A question's fingerprint, and where in it map art may lie, the likeliest first."""

    fingerprint: Fingerprint
    places: tuple[Quad, ...]


class PictureFingerprinter(Protocol):
    """Makes fingerprints. Same pixels, same `method`, same bytes. The work is done in a thread."""

    @property
    def method(self) -> str: ...

    async def fingerprint(self, picture: bytes) -> Fingerprint:
        """An archived picture's (canonical PNG). Raises Reject for one that cannot be decoded."""
        ...

    async def examine(self, picture: bytes) -> QueryFingerprint:
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

    async def find_by_colour(
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
class PrintComparison:
    """How sure it is (0 to 1) that a question shows an archived piece, and why."""

    probability: float
    evidence: Evidence


class PrintComparer(Protocol):
    """Compares a question with archived pictures by their fingerprints. The work is done in a thread."""

    async def compare(
        self, asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
    ) -> Mapping[str, PrintComparison]:
        """Each archived image with how sure it is; `similarities` are the cosines of the nearest vectors, where they are known.

        `among` is how many images the guild has: the more there are, the more there must be in common. Fingerprints of another
        method, and unreadable ones, are left out.
        """
        ...


class BlobStore(Protocol):
    """Immutable bytes, named by their SHA-256 in lower-case hex."""

    async def put(self, data: bytes) -> str:
        """Store bytes durably and return their name; storing the same bytes again changes nothing."""
        ...

    async def get(self, name: str) -> bytes:
        """The bytes of that name. Raises BlobMissing, and BlobMissing too when they no longer hash to their name."""
        ...

    async def exists(self, name: str) -> bool: ...

    async def delete(self, name: str) -> None:
        """Forget the bytes of that name; it is no error if there are none."""
        ...

    async def seconds_since_put(self, name: str) -> float:
        """Seconds since the bytes were last put, whether or not they were stored already; infinite if there are none."""
        ...


class Downloader(Protocol):
    """Fetches the file behind a Discord source, refreshing its expired URL where it can."""

    async def fetch(self, file: DiscordFile) -> bytes:
        """The file's bytes. Raises Reject for what will never work, Retry for what may."""
        ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """What makes vectors comparable: with the same id and digest, the same pixels give the same vector, up to rounding."""

    id: str
    digest: str
    dimensions: int
    trained: bool
    calibration: Calibration


class ImageEncoder(Protocol):
    """Turns pictures, and words where the model knows any, into vectors. Micro-batching hides behind it."""

    @property
    def encoder(self) -> Encoder: ...

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        """An encoded picture (canonical PNG) to its L2-normalised vector as little-endian float32. Urgent ones go first."""
        ...

    async def encode_text(self, text: str) -> bytes:
        """Words to the L2-normalised vector, as little-endian float32, that pictures of what they say are near to.

        Raises Reject(NO_TEXT) with a sentence for the asker where the model cannot.
        """
        ...

    async def close(self) -> None:
        """Let go of the model; whoever still waits is refused with Unavailable."""
        ...
