"""Ports for pictures: work on them, make, find and compare fingerprints, store blobs, download files, encode into vectors."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from contracts.events import Calibration, DiscordFile, Evidence, Quad

T = TypeVar("T")


class PictureWorkers(Protocol):
    """Does work on bytes from outside, where it can neither block nor exhaust this process."""

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Call `work`, a function of a module, with arguments that can be pickled, and return its result.

        Raises Reject if `work` raises it or if it takes too much time or memory (TOO_COSTLY), and Unavailable once the workers are
        closed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A fingerprint. `data` goes to the blob store; only the code that made it can read it.

    `hash` is the PDQ hash in hex, `quality` PDQ's quality (0 to 100), `features` the number of local features.
    """

    data: bytes
    hash: str
    quality: int
    features: int


@dataclass(frozen=True, slots=True)
class QueryFingerprint:
    """The fingerprint of a query, and its regions (where map art may be), the likeliest first."""

    fingerprint: Fingerprint
    places: tuple[Quad, ...]


class PictureFingerprinter(Protocol):
    """Makes fingerprints. The same pixels and `method` always give the same bytes."""

    @property
    def method(self) -> str: ...

    async def fingerprint(self, picture: bytes) -> Fingerprint:
        """Make the fingerprint of an archived picture (canonical PNG). Raises Reject if it cannot be decoded."""
        ...

    async def examine(self, picture: bytes) -> QueryFingerprint:
        """Make the fingerprint of a query picture.

        It also has what only queries need, such as features of regions and mirror image.
        Raises Reject if the picture cannot be decoded.
        """
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An archived image that may match the query. `fingerprint` is the name of its blob; `votes` is 0 if it was found otherwise."""

    image_id: str
    fingerprint: str
    votes: float = 0.0


class FeatureSearch(Protocol):
    """Finds archived images by their fingerprints, within one guild and one generation, in `channels` (None: all).

    Hidden images are never found.
    """

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """Return at most `top` images with a near hash or many common features, best first. `fingerprint` are the query's bytes.

        All that was recorded before the call counts. Empty for an unknown guild.
        """
        ...

    async def find_by_colour(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        """Return at most `top` images that the query may be a part of, judged by its colours, best first, without votes.

        Searches at least what the last call of `candidates` searched.
        """
        ...

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        """Return those of these images that have a fingerprint, by image id, without votes."""
        ...

    async def size(self, guild_id: str, generation: str) -> int:
        """Return how many images have a fingerprint, hidden ones included: the number says how easily two pictures are confused."""
        ...


@dataclass(frozen=True, slots=True)
class PrintComparison:
    """The probability (0 to 1) that a query shows an archived picture, and the evidence for it."""

    probability: float
    evidence: Evidence


class PrintComparer(Protocol):
    """Compares a query with archived pictures by their fingerprints. The work runs in a thread."""

    async def compare(
        self, asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
    ) -> Mapping[str, PrintComparison]:
        """Compare a query's fingerprint with archived ones; keys are the same in `archived`, `similarities` and the result.

        `similarities` are the cosines of the nearest vectors, where known. `among` is the number of images in the guild: the more
        there are, the more a picture must have in common with the query. Fingerprints of another method and unreadable ones are
        left out.
        """
        ...


class BlobStore(Protocol):
    """Stores immutable bytes under their SHA-256 in lower-case hex."""

    async def put(self, data: bytes) -> str:
        """Store bytes durably and return their name. Storing the same bytes again changes nothing."""
        ...

    async def get(self, name: str) -> bytes:
        """Return the bytes of that name. Raises BlobMissing if there are none, or if they no longer hash to their name."""
        ...

    async def exists(self, name: str) -> bool: ...

    async def delete(self, name: str) -> None:
        """Delete the bytes of that name. A name that does not exist is no error."""
        ...

    async def seconds_since_put(self, name: str) -> float:
        """Return the seconds since the last `put` of these bytes, even if they were stored already. Infinite if there are none."""
        ...


class Downloader(Protocol):
    """Downloads the file of a Discord source. Refreshes an expired URL if it can."""

    async def fetch(self, file: DiscordFile) -> bytes:
        """Return the bytes of the file. Raises Reject if the file can never be downloaded, Retry if a later attempt may work."""
        ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """Identifies an encoder. With the same id and digest, the same pixels give the same vector, up to rounding."""

    id: str
    digest: str
    dimensions: int
    trained: bool
    calibration: Calibration


class ImageEncoder(Protocol):
    """Turns pictures into vectors, and words too if the model can. Implementations may group calls into batches."""

    @property
    def encoder(self) -> Encoder: ...

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        """Encode a picture (canonical PNG) into its L2-normalised vector, little-endian float32. Urgent calls go first."""
        ...

    async def encode_text(self, text: str) -> bytes:
        """Encode words into the L2-normalised vector (little-endian float32) that matching pictures are near to.

        Raises Reject(NO_TEXT) with a sentence for the asker if the model has no text encoder.
        """
        ...

    async def close(self) -> None:
        """Release the model. Calls that still wait raise Unavailable."""
        ...
