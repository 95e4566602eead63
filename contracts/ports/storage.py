"""The two projections that answer questions: the catalogue of documents, and the index of vectors.

What two catalogues keep, image by image: for comparing them, and for making one like the other.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What people may know of an image, in the catalogue's document shape without the vectors.

    `document` holds `discord_message_id`, `message_link`, `image_url`, `metadata` and, as far as the image got, `media`
    (blobs and true dimensions) or `rejection` (stage, code, reason).
    """

    image_id: str
    document: Document


@dataclass(frozen=True, slots=True)
class CatalogueRecord:
    """All that a catalogue keeps of an image: its document and its vectors by generation, or that it was removed for good."""

    image_id: str
    document: Document
    vectors: Mapping[str, bytes]
    removed: bool = False


class Catalogue(Protocol):
    """Documents for people, one an image; a projection of the log, so every call may be repeated."""

    async def merge(self, image_id: str, fields: Document, *, unless: Callable[[Document], bool] | None = None) -> bool:
        """Set top-level fields of the image's document, making it if there is none. False when the image is removed for good.

        A document of which `unless` is true keeps what it has; nothing else is written between that question and the setting.
        """
        ...

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        """Set the image's vector in one generation (`clip_embedding.<generation>`)."""
        ...

    async def vector(self, image_id: str, generation: str) -> bytes | None: ...

    async def remove(self, image_id: str) -> None:
        """Erase the image and remember its id, so that no replay brings it back."""
        ...

    async def is_removed(self, image_id: str) -> bool:
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

    def contents(self) -> AsyncIterator[CatalogueRecord]:
        """All that is kept, tombstones included, in order of image id: what two catalogues are compared by."""
        ...

    async def drop_generation(self, generation: str) -> int:
        """Erase every vector of a generation; returns how many there were."""
        ...

    async def create_replacement(self) -> "Catalogue":
        """An empty catalogue on the same database, to be filled while this one answers. What an earlier one left is gone."""
        ...

    async def replace_with(self, other: "Catalogue") -> None:
        """Let a catalogue that was made by `beside` take the place of this one, for every process that has it open.

        Whoever calls sees to it that nothing is written meanwhile; reads go on, and never find it empty or an image half replaced.
        `other` is not to be used afterwards, but closed; a catalogue beside that is closed without this is gone.
        """
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

    async def find_similar(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """At most `top` neighbours of an archived image, best first, itself left out, with a similarity of `at_least`.

        Empty for an image that has no vector of this generation.
        """
        ...


async def pair_records(
    left: AsyncIterator[CatalogueRecord], right: AsyncIterator[CatalogueRecord]
) -> AsyncIterator[tuple[CatalogueRecord | None, CatalogueRecord | None]]:
    """Pairs of what is kept of the same image, None where one has nothing. Both come in order of image id, and so do the pairs."""
    ours, theirs = await anext(left, None), await anext(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.image_id < theirs.image_id):
            yield ours, None
            ours = await anext(left, None)
        elif ours is None or theirs.image_id < ours.image_id:
            yield None, theirs
            theirs = await anext(right, None)
        else:
            yield ours, theirs
            ours, theirs = await anext(left, None), await anext(right, None)
