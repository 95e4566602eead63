"""Ports to the catalogue of documents and the vector index, and a helper that compares two catalogues image by image."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """The catalogue document of an image, without its vectors.

    `document` has `discord_message_id`, `message_link`, `image_url`, `metadata` and, depending on how far the image was processed,
    `original` (blob and size), `media` (blobs and real dimensions) or `rejection` (stage, code, reason). If the image was ever
    hidden or changed into a spoiler, `visibility` has the turn, whether it is `hidden` now, and whether it is shown as a `spoiler`.
    """

    image_id: str
    document: Document


def is_hidden(document: Document) -> bool:
    """Whether the image's message does not show it now, so that nobody may find it."""
    return bool(document.get("visibility", {}).get("hidden"))


def is_spoiler(document: Document) -> bool:
    """Whether the post covers the image until the reader asks for it: as it is shown now, else as it was posted."""
    shown = document.get("visibility", {}).get("spoiler")
    return bool(document.get("metadata", {}).get("spoiler", False) if shown is None else shown)


@dataclass(frozen=True, slots=True)
class CatalogueRecord:
    """Everything that a catalogue stores about an image: document and vectors by generation, or that the image was removed."""

    image_id: str
    document: Document
    vectors: Mapping[str, bytes]
    removed: bool = False


class Catalogue(Protocol):
    """One document for each image. It is a projection of the log, so every call may be repeated."""

    async def merge(self, image_id: str, fields: Document, *, unless: Callable[[Document], bool] | None = None) -> bool:
        """Set top-level fields of an image's document; create the document if needed. Return False if the image is removed.

        If `unless` returns True for the stored document, nothing is changed. Check and change are atomic.
        """
        ...

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        """Set the image's vector in one generation (`clip_embedding.<generation>`)."""
        ...

    async def vector(self, image_id: str, generation: str) -> bytes | None: ...

    async def remove(self, image_id: str) -> None:
        """Erase the image and store a tombstone with its id, so that no replay adds it again."""
        ...

    async def is_removed(self, image_id: str) -> bool:
        """Whether the image was removed. False also for one that was never catalogued."""
        ...

    async def entries(self, image_ids: Collection[str], *, with_hidden: bool = False) -> dict[str, CatalogueEntry]:
        """Return the documents of those images that are catalogued, by image id.

        Removed ones are left out, and hidden ones too unless they are asked for: whoever shows an image never asks for them.
        """
        ...

    async def find_file(self, guild_id: str, blob: str) -> dict[str, CatalogueEntry]:
        """Return the guild's images whose original file has this SHA-256, by image id. Hidden and removed ones are left out."""
        ...

    def scan(self, guild_id: str | None = None) -> AsyncIterator[CatalogueEntry]:
        """Yield all documents, or those of one guild, in order of image id. Hidden images are left out."""
        ...

    async def count(self, guild_id: str | None = None) -> int:
        """Return how many images are catalogued, hidden ones included: they are still stored."""
        ...

    async def uses(self, blob: str) -> bool:
        """Whether any document refers to this blob: as original file, canonical picture, thumbnail or fingerprint."""
        ...

    async def clear(self) -> None:
        """Delete everything, tombstones included. The log can be replayed into it afterwards."""
        ...

    def contents(self) -> AsyncIterator[CatalogueRecord]:
        """Yield all records, tombstones included, in order of image id. Used to compare two catalogues."""
        ...

    async def drop_generation(self, generation: str) -> int:
        """Erase all vectors of a generation. Return how many there were."""
        ...

    async def create_replacement(self) -> "Catalogue":
        """Return an empty catalogue on the same database, to be filled while this one stays in use.

        Whatever an earlier replacement left behind is deleted.
        """
        ...

    async def replace_with(self, other: "Catalogue") -> None:
        """Replace the content of this catalogue with that of `other`, for every process that has it open.

        `other` must come from `create_replacement`. The caller makes sure that nothing is written meanwhile. Reads may go on; they
        never see an empty catalogue or a partly replaced image. Afterwards `other` may only be closed. A replacement that is
        closed without this call is deleted.
        """
        ...

    async def ping(self) -> None:
        """Return if the database answers, else raise Unavailable. All other calls raise Unavailable too if it is down."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An archived image and its cosine similarity to the query, at most 1."""

    image_id: str
    score: float


class VectorSearch(Protocol):
    """Finds the nearest archived images within one guild and one generation. Hidden images are never found."""

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """Return at most `top` neighbours by cosine, best first, only from `channels` (None: all). Empty for an unknown guild.

        An image in a public thread counts as posted in the thread's parent channel (`ImageFact.audience_channel_id`).
        """
        ...

    async def find_similar(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """Return at most `top` neighbours of an archived image with at least this similarity, best first, without the image itself.

        Empty if the image has no vector in this generation, or is hidden.
        """
        ...


async def pair_records(
    left: AsyncIterator[CatalogueRecord], right: AsyncIterator[CatalogueRecord]
) -> AsyncIterator[tuple[CatalogueRecord | None, CatalogueRecord | None]]:
    """Yield pairs of records of the same image; None where one side has no record.

    Both inputs must be in order of image id, and so are the pairs.
    """
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
