"""What the stages need from the outside world. Each port has one behaviour suite, run against every adapter."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.envelope import Origin
from contracts.events import Calibration, DiscordFile, Fact, SearchRejected, Verdict

Document = Mapping[str, Any]


class Journal(Protocol):
    """The log, for those who record facts."""

    async def record(self, fact: Fact, origin: Origin) -> bool:
        """Record a fact once, for ever. False when it was recorded before. Raises Unavailable when the log cannot be reached."""
        ...

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        """Whether a fact of this kind is recorded under this key. Raises Unavailable when the log cannot be reached."""
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
    """Turns pictures into vectors. Micro-batching hides behind it."""

    @property
    def encoder(self) -> Encoder: ...

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        """An encoded picture (canonical PNG) to its L2-normalised vector as little-endian float32. Urgent ones go first."""
        ...


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What people may know of an image, in the catalogue's document shape without the vectors.

    `document` holds `discord_message_id`, `message_link`, `image_url`, `metadata` and, as far as the image got, `media`
    (blobs and true dimensions) or `rejection` (stage, code, reason).
    """

    image_id: str
    document: Document


class Catalogue(Protocol):
    """Documents for people, one an image; a projection of the log, so every call may be repeated."""

    async def merge(self, image_id: str, fields: Document) -> None:
        """Set top-level fields of the image's document, making it if there is none. A removed image stays removed."""
        ...

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        """Set the image's vector in one generation (`clip_embedding.<generation>`)."""
        ...

    async def vector(self, image_id: str, generation: str) -> bytes | None: ...

    async def remove(self, image_id: str) -> None:
        """Erase the image and remember its id, so that no replay brings it back."""
        ...

    async def removed(self, image_id: str) -> bool:
        """Whether the image was erased, as against never catalogued."""
        ...

    async def entries(self, image_ids: Collection[str]) -> dict[str, CatalogueEntry]:
        """The documents of those images that are known and not removed, by image id."""
        ...

    def scan(self, guild_id: str | None = None) -> AsyncIterator[CatalogueEntry]:
        """Every document, or one guild's, in order of image id."""
        ...

    async def count(self, guild_id: str | None = None) -> int: ...

    async def clear(self) -> None:
        """Empty the projection, tombstones included: the log plays it anew."""
        ...

    async def ping(self) -> None:
        """Return if the database answers; raise Unavailable otherwise. Every other call raises Unavailable too when it is down."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An archived image and its cosine similarity to what was searched, at most 1."""

    image_id: str
    score: float


class VectorSearch(Protocol):
    """Nearest archived images, within one guild and one generation."""

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """At most `top` neighbours by cosine, best first, only from `channels` (None: all). Unknown guilds have none."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """One match as the asker is shown it. `thumbnail` is a small WebP picture, None where the blob is lost."""

    image_id: str
    score: float
    document: Document
    thumbnail: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the asker is told: a verdict with the matches that were found, or the sentence of a rejection."""

    verdict: Verdict
    found: Sequence[Found]
    trained: bool
    problem: SearchRejected | None = None


class Answering(Protocol):
    """Delivers an answer to the one who asked."""

    async def edit(self, application_id: str, token: str, answer: Answer) -> None:
        """Show the answer in place of the deferred one; doing it again shows the same.

        Raises Reject when the interaction is gone, Retry for what may work later.
        """
        ...
