"""Download: a posted or asked image becomes a blob.

Replay-safe: the same bytes have the same name, and the fact recorded first stands even when Discord has since lost the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import BlobMissing, Reject, RejectCode
from contracts.events import DiscordFile, Fact, ImageDownloaded, ImagePosted, SearchDownloaded, SearchRequested, Source
from contracts.ports import BlobStore, Downloader
from contracts.stage import Stage


@dataclass(frozen=True, slots=True)
class Deps:
    """`downloader` fetches what lies on Discord's CDN, `blobs` keeps it."""

    downloader: Downloader
    blobs: BlobStore


async def handle(event: ImagePosted | SearchRequested, deps: Deps) -> Sequence[Fact]:
    """Record where the event's bytes are. Raises what the downloader raises, and Reject(GONE) for a stored file that is missing."""
    blob, size = await _stored(event.source, deps)
    if isinstance(event, ImagePosted):
        return [ImageDownloaded(**event.identity, blob=blob, size=size)]
    return [SearchDownloaded(guild_id=event.guild_id, search_id=event.search_id, question=event.question, blob=blob, size=size)]


async def _stored(source: Source, deps: Deps) -> tuple[str, int]:
    """The name and the size in bytes of the blob that holds a source."""
    if isinstance(source, DiscordFile):
        data = await deps.downloader.fetch(source)
        return await deps.blobs.put(data), len(data)
    try:
        return source.blob, len(await deps.blobs.get(source.blob))
    except BlobMissing:
        raise Reject(RejectCode.GONE, "The stored picture is no longer there.") from None


STAGE = Stage(
    name="download", consumes=(ImagePosted, SearchRequested), emits=(ImageDownloaded, SearchDownloaded), handle=handle, deps=Deps
)
