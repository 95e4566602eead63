"""The stage persist: writes the facts about an image into its catalogue document.

Replay-safe: fields are set, not added to, and a removal is final.

A stage that is working on an image while it is removed may record one more fact after the erasure. Nearly every fact passes through
this stage, so it records ImageResurfaced then, and that fact is erased too. This cannot loop: ImageResurfaced leads to nothing but
an erasure. A late ImageIndexed may stay; it says no more than the tombstone.

Facts are handled in parallel and in any order, and the document must be the same in the end. So if two facts set the same field,
their content decides which one counts, never their order: the pictures of the latest preprocessing, the fingerprint of the latest
method, the highest turn that hides or shows the image, and, if several generations link an image as a repost, the link to the
earliest image, since that is the first post.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from contracts.errors import Retry
from contracts.events import (
    DiscordFile,
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImageFingerprinted,
    ImageHidden,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    ImageReposted,
    ImageResurfaced,
    ImageShown,
    ImageTurn,
)
from contracts.ports import Catalogue, Document
from contracts.stage import Stage

_MAX_ATTEMPTS = 12
"""A vector may be handled before its post is catalogued. The post is earlier in the log, so it will be.

After a restart of the NATS server that takes up to half a minute.
"""


@dataclass(frozen=True, slots=True)
class Deps:
    """The catalogue to write to."""

    catalogue: Catalogue


async def handle(event: ImageFact, deps: Deps) -> Sequence[Fact]:
    """Write this fact into the catalogue. Raises Retry for a vector whose post is not catalogued yet."""
    match event:
        case ImageRemoved():
            await deps.catalogue.remove(event.image_id)
            return ()
        case ImageEmbedded():
            return await _index_vector(event, deps.catalogue)
        case _:
            kept = await deps.catalogue.merge(event.image_id, build_fields(event), unless=build_outrank_check(event))
            return () if kept else _report_late_fact(event)


async def _index_vector(event: ImageEmbedded, catalogue: Catalogue) -> Sequence[Fact]:
    entry = (await catalogue.entries([event.image_id], with_hidden=True)).get(event.image_id)
    if entry is None or "metadata" not in entry.document:
        if await catalogue.is_removed(event.image_id):
            return _report_late_fact(event)
        raise Retry(f"image {event.image_id} has a vector, but its post is not catalogued yet")
    await catalogue.put_vector(event.image_id, event.generation, event.vector)
    return (ImageIndexed(**event.identity, generation=event.generation),)


def _report_late_fact(event: ImageFact) -> Sequence[Fact]:
    """Report a fact about a removed image. A post is never late: the log refuses a post after the tombstone."""
    return () if isinstance(event, ImagePosted) else (ImageResurfaced(**event.identity, late=event.name),)


def build_outrank_check(event: ImageFact) -> Callable[[Document], bool] | None:
    """Build the check whether a document's field outranks this fact. None if there can only be one fact for that field."""
    match event:
        case ImagePreprocessed():
            own = _version_key(event.preprocessing)
            return lambda document: "media" in document and _version_key(document["media"]["preprocessing"]) > own
        case ImageFingerprinted():
            ours = _fingerprint_key(build_fields(event)["fingerprint"])
            return lambda document: "fingerprint" in document and _fingerprint_key(document["fingerprint"]) > ours
        case ImageTurn():
            rank = event.rank
            return lambda document: "visibility" in document and _read_rank(document["visibility"]) > rank
        case ImageReposted():
            link = _link_key(build_fields(event)["repost_of"])
            return lambda document: "repost_of" in document and _link_key(document["repost_of"]) < link
        case _:
            return None


def _version_key(version: str) -> tuple[int, str]:
    """Sort key of a version of preprocessing or method: `p10` is after `p9`."""
    digits = version[1:]
    return (int(digits) if digits.isdecimal() else 0, version)


def _fingerprint_key(fingerprint: Mapping[str, Any]) -> tuple[tuple[int, str], str]:
    """Sort key of a fingerprint. With the same method and preprocessing the blobs are equal; else the blob's name decides."""
    return _version_key(fingerprint["method"]), fingerprint["blob"]


def _read_rank(visibility: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the rank of the fact that the field was set from."""
    return visibility["turn"], not visibility["hidden"]


def _link_key(repost_of: Mapping[str, Any]) -> tuple[int, str, str]:
    """Sort key of a link: the earlier image first, then by generation. Ids are snowflakes, so a shorter id is earlier."""
    image_id = repost_of["image_id"]
    return len(image_id), image_id, repost_of["generation"]


def build_fields(event: ImageFact) -> dict[str, Any]:
    """Build the top-level fields of the catalogue document that this fact sets. JSON values only."""
    match event:
        case ImagePosted():
            return _post_fields(event)
        case ImageDownloaded():
            return {"original": {"blob": event.blob, "size": event.size}}
        case ImagePreprocessed():
            media = ("pixels", "thumbnail", "width", "height", "format", "preprocessing")
            return {"media": {field: getattr(event, field) for field in media}}
        case ImageFingerprinted():
            known_by = ("method", "hash", "quality", "features")
            return {"fingerprint": {"blob": event.fingerprint, **{field: getattr(event, field) for field in known_by}}}
        case ImageRejected():
            return {"rejection": {"stage": event.stage, "code": event.code.value, "reason": event.reason}}
        case ImageHidden():
            return {"visibility": {"turn": event.turn, "hidden": True, "spoiler": False}}
        case ImageShown():
            return {"visibility": {"turn": event.turn, "hidden": False, "spoiler": event.spoiler}}
        case ImageReposted():
            return {"repost_of": {"image_id": event.same_as, "score": event.score, "generation": event.generation}}
        case _:
            raise TypeError(f"{event.type_name()} sets no field of the catalogue document")


def _post_fields(event: ImagePosted) -> dict[str, Any]:
    known = event.width is not None and event.height is not None
    return {
        "discord_message_id": event.message_id,
        "message_link": event.message_link,
        "image_url": event.source.url if isinstance(event.source, DiscordFile) else event.message_link,
        "metadata": {
            "upload_timestamp": event.posted_at.astimezone(UTC).isoformat(),
            "image_dimensions": [event.width, event.height] if known else None,
            "file_size": event.size,
            "guild_id": event.guild_id,
            "channel_id": event.channel_id,
            "thread_of": event.thread_of,
            "user_id": event.author.id,
            "user_name": event.author.name,
            "filename": event.filename,
            "content_type": event.content_type,
            "spoiler": event.spoiler,
        },
    }


STAGE = Stage(
    name="persist",
    consumes=(
        ImagePosted,
        ImageDownloaded,
        ImagePreprocessed,
        ImageFingerprinted,
        ImageEmbedded,
        ImageRejected,
        ImageReposted,
        ImageHidden,
        ImageShown,
        ImageRemoved,
    ),
    emits=(ImageIndexed, ImageResurfaced),
    handle=handle,
    deps=Deps,
    attempts=_MAX_ATTEMPTS,
    by_generation=(ImageEmbedded,),
)
