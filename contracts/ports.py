"""What the stages need from the outside world. Each port has one behaviour suite, run against every adapter."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from contracts.envelope import Origin
from contracts.events import AlertSet, Calibration, DiscordFile, Fact, ImageFact, ImagePosted, Person, SearchRejected, Verdict

Document = Mapping[str, Any]

F = TypeVar("F", bound=Fact)


class Journal(Protocol):
    """The log, for those who record facts."""

    async def record(self, fact: Fact, origin: Origin) -> bool:
        """Record a fact once, for ever. False when it was recorded before. Raises Unavailable when the log cannot be reached."""
        ...

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        """Whether a fact of this kind is recorded under this key. Raises Unavailable when the log cannot be reached."""
        ...

    async def fetch(self, fact: type[F], *key: str) -> F | None:
        """The fact of this kind under this key, None where there is none. Raises Unavailable when the log cannot be reached."""
        ...


class Posts(Protocol):
    """What the log knows of posted images, in the order in which they were recorded. Removed ones are gone or soon will be."""

    async def of_message(self, guild_id: str, message_id: str) -> Sequence[ImagePosted]:
        """The images of one message, those that were just recorded too. Raises Unavailable."""
        ...

    def of_guild(
        self, guild_id: str, *, channel_id: str | None = None, author_id: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ImagePosted]:
        """Everything posted in a guild, in one channel (or in the public threads of it), by one author, recorded since a moment."""
        ...


class Erasure(Protocol):
    """Takes out of the logs what is to be forgotten."""

    async def history(self, guild_id: str, image_id: str) -> tuple[Sequence[ImageFact], int]:
        """Every fact about an image that this version can read, in order, and up to where the log was read. Raises Unavailable."""
        ...

    async def erase_image(self, guild_id: str, image_id: str, until: int) -> None:
        """Erase what was read about an image but its tombstone; doing it again changes nothing. Raises Unavailable."""
        ...

    async def erase_person(self, guild_id: str, person_id: str) -> None:
        """Erase a person's votes and alerts in a guild. Raises Unavailable."""
        ...


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


class Alerts(Protocol):
    """The alerts that are neither delivered nor cancelled."""

    async def open(self, guild_id: str, person_id: str | None = None) -> Sequence[AlertSet]:
        """A guild's open alerts, or one person's, oldest first; it knows of everything that was recorded before the call."""
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

    async def merge(self, image_id: str, fields: Document) -> bool:
        """Set top-level fields of the image's document, making it if there is none. False when the image is removed for good."""
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

    async def uses(self, blob: str) -> bool:
        """Whether any document names this blob: as what was posted, as its pixels or as its thumbnail."""
        ...

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
        """At most `top` neighbours by cosine, best first, only from `channels` (None: all). Unknown guilds have none.

        An image in a public thread counts as posted in the thread's parent channel (`ImageFact.audience`).
        """
        ...

    async def like(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """At most `top` neighbours of an archived image, best first, itself left out, with a similarity of `at_least`.

        Empty for an image that has no vector of this generation.
        """
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """One archived post as the asker is shown it. `thumbnail` is a small WebP picture, None where the blob is lost.

    `score` is None for a post that was not itself compared with the question: the other posts of a piece.
    """

    image_id: str
    score: float | None
    document: Document
    thumbnail: bytes | None


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of map art among the results: the post that is most like the question, and all its posts, first posted first."""

    best: Found
    posts: Sequence[Found]

    @property
    def first(self) -> Found:
        """The post by which the piece was first shown."""
        return self.posts[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of what the asker is told.

    `verdict` is about the whole search, `piece_verdict` about the piece on this page. `piece` is the one shown, the `number`th
    (from 0) of `pieces`; None when nothing was found, or nothing that the asker may see. With `view` "posts" it is page number
    `page` of the piece's posts. `problem` is the sentence of a rejection.
    """

    search_id: str
    asker_id: str
    verdict: Verdict
    trained: bool
    locale: str
    by: Literal["image", "text"] = "image"
    piece: Piece | None = None
    piece_verdict: Verdict = "none"
    number: int = 0
    pieces: int = 0
    view: Literal["piece", "posts"] = "piece"
    page: int = 0
    problem: SearchRejected | None = None


Step = Literal["fetching", "reading", "comparing"]
"""At what a search is while the asker waits."""


class Answering(Protocol):
    """Delivers an answer to the one who asked. `message_id` is a follow-up message; None is the interaction's first answer."""

    async def edit(self, application_id: str, token: str, answer: Answer, *, message_id: str | None = None) -> None:
        """Show the answer in place of the deferred one; doing it again shows the same.

        Raises Reject when the interaction is gone, Retry for what may work later.
        """
        ...

    async def progress(self, application_id: str, token: str, step: Step, locale: str, *, message_id: str | None = None) -> None:
        """Say in the deferred answer at what the search is. Raises as `edit` does."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice is about: the new post, and for a repost the earlier one. Documents are the catalogue's."""

    guild_id: str
    post: Document
    earlier: Document | None
    score: float
    locale: str


class Notifying(Protocol):
    """Speaks up on Discord without having been asked. Raises Retry for what may work later."""

    async def may_read(self, guild_id: str, channel_id: str, person_id: str, *, age_restricted: bool) -> bool:
        """Whether a person may read a channel's history now; an age-restricted one only where that is allowed."""
        ...

    async def mark_repost(self, notice: Notice, style: Literal["reaction", "reply"]) -> None:
        """Add a quiet reaction to the new post, or answer it with a link to the earlier one."""
        ...

    async def tell(
        self, notice: Notice, person: Person, channel_id: str, alert_id: str
    ) -> Literal["direct", "mention", "undeliverable"]:
        """Tell a person of the new post: directly, or by a mention in the channel where they asked, or not at all."""
        ...


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
