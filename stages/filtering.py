"""Which archived posts a question may be answered with: those that its asker may read, and that its filters let through."""

from collections.abc import Collection
from datetime import datetime

from contracts.events import Filters
from contracts.ports import Catalogue, Document


def passes(document: Document, filters: Filters) -> bool:
    """Whether a post is by the author and of the time that the question is limited to."""
    metadata = document.get("metadata")
    if metadata is None:
        return False
    posted_at = datetime.fromisoformat(metadata["upload_timestamp"])
    return (
        filters.author_id in (None, metadata["user_id"])
        and (filters.after is None or posted_at >= filters.after)
        and (filters.before is None or posted_at < filters.before)
    )


def may_be_seen(document: Document, guild_id: str, readable: Collection[str] | None) -> bool:
    """Whether the post is of this guild and in a channel, or in a public thread of a channel, that may be read (None: all)."""
    metadata = document.get("metadata")
    if metadata is None or metadata["guild_id"] != guild_id:
        return False
    return readable is None or (metadata.get("thread_of") or metadata["channel_id"]) in readable


async def allowed(image_ids: Collection[str], filters: Filters | None, catalogue: Catalogue) -> Collection[str]:
    """Those that the filters let through: without filters all, and no document is read."""
    if filters is None or not image_ids:
        return frozenset(image_ids)
    entries = await catalogue.entries(image_ids)
    return {image_id for image_id, entry in entries.items() if passes(entry.document, filters)}
