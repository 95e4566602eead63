"""Where pictures come from and are kept, and how they become vectors."""

from dataclasses import dataclass
from typing import Protocol

from contracts.events import Calibration, DiscordFile


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

    async def untouched_for(self, name: str) -> float:
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
