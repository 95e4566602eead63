"""The stage download: stores the file of a posted image or of a query as a blob.

Replay-safe: the same bytes have the same name, and the fact recorded first counts, even if Discord no longer has the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import BlobMissing, Reject, RejectCode
from contracts.events import DiscordFile, Fact, ImageDownloaded, ImagePosted, SearchDownloaded, SearchRequested, Source
from contracts.ports import BlobStore, Downloader
from contracts.stage import Stage


@dataclass(frozen=True, slots=True)
class Deps:
    """`downloader` fetches files from Discord's CDN, `blobs` stores them."""

    downloader: Downloader
    blobs: BlobStore


async def handle(event: ImagePosted | SearchRequested, deps: Deps) -> Sequence[Fact]:
    """Store the file. Raises what the downloader raises, and Reject(GONE) if a stored file is missing."""
    blob, size = await _store_source(event.source, deps)
    if isinstance(event, ImagePosted):
        return [ImageDownloaded(**event.identity, blob=blob, size=size)]
    search = {"guild_id": event.guild_id, "search_id": event.search_id, "question": event.question}
    return [SearchDownloaded(**search, blob=blob, size=size, spoiler=event.spoiler)]


async def _store_source(source: Source, deps: Deps) -> tuple[str, int]:
    """Return the name and the size in bytes of the blob with the file."""
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
