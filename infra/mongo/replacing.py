"""One catalogue in the place of another, document by document.

Renaming the collections would be quicker, but it would take the search indexes of the old ones with it: Atlas would find nothing
until it has built them anew. And it is not one step either, for two collections. So what differs is changed where it stands, each
document at once: whoever reads meanwhile finds every image, as it was or as it is now. If it is interrupted, doing it again
ends it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from contracts.ports import Kept
from contracts.ports.storage import side_by_side
from infra.mongo.client import Documents, outages
from infra.mongo.vector_binary import to_binary

AT_ONCE = 64
"""Documents that are changed at the same time."""


async def replace(images: Documents, tombstones: Documents, old: AsyncIterator[Kept], new: AsyncIterator[Kept]) -> None:
    """Make what is kept in these collections, `old`, the same as `new`; both come in order of image id."""
    changes: list[Awaitable[None]] = []
    async for was, now in side_by_side(old, new):
        if was != now:
            changes.append(_change(images, tombstones, was, now))
        if len(changes) == AT_ONCE:
            await asyncio.gather(*changes)
            changes.clear()
    await asyncio.gather(*changes)


async def _change(images: Documents, tombstones: Documents, was: Kept | None, now: Kept | None) -> None:
    with outages("catalogue"):
        if now is None:
            if was is not None:
                await (tombstones if was.removed else images).delete_one({"_id": was.image_id})
        elif now.removed:
            await tombstones.update_one({"_id": now.image_id}, {"$set": {"removed": True}}, upsert=True)
            await images.delete_one({"_id": now.image_id})
        else:
            await tombstones.delete_one({"_id": now.image_id})
            await images.update_one({"_id": now.image_id}, _update(was, now), upsert=True)


def _update(was: Kept | None, now: Kept) -> dict[str, Any]:
    fields, before = _fields(now), {} if was is None else _fields(was)
    gone = before.keys() - fields.keys()
    return {"$set": fields} | ({"$unset": dict.fromkeys(gone, "")} if gone else {})


def _fields(kept: Kept) -> dict[str, Any]:
    vectors = {generation: to_binary(vector) for generation, vector in kept.vectors.items()}
    return {**kept.document, **({"clip_embedding": vectors} if vectors else {})}


def as_it_was(fields: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """What matches a document only while those of its fields that are about to be set are as they were read."""
    query: dict[str, Any] = {}
    for field in fields:
        value = document.get(field)
        if field not in document:
            query[field] = {"$exists": False}
        elif isinstance(value, dict):
            query |= {f"{field}.{part}": inner for part, inner in value.items()}
        else:
            query[field] = value
    return query
