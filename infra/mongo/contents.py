"""All that the catalogue keeps, in order of image id: by pages behind a key, since a cursor dies with its server."""

from collections.abc import AsyncIterator
from typing import Any

from contracts.ports import Kept
from infra.mongo.client import Documents, outages
from infra.mongo.vector_binary import from_binary

PAGE = 500


async def page_behind(
    documents: Documents, last: str, query: dict[str, Any] | None = None, projection: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The next documents behind an id, of those that a query matches; empty at the end."""
    with outages("catalogue"):
        found = documents.find((query or {}) | {"_id": {"$gt": last}}, projection)
        return await found.sort("_id", 1).limit(PAGE).to_list(None)


async def contents(images: Documents, tombstones: Documents) -> AsyncIterator[Kept]:
    """Documents, vectors and tombstones, in order of image id."""
    removed = _removed(tombstones)
    next_removed = await anext(removed, None)
    async for kept in _kept(images):
        while next_removed is not None and next_removed.image_id <= kept.image_id:
            yield next_removed
            next_removed = await anext(removed, None)
        yield kept
    while next_removed is not None:
        yield next_removed
        next_removed = await anext(removed, None)


async def _kept(images: Documents) -> AsyncIterator[Kept]:
    last = ""
    while page := await page_behind(images, last):
        for document in page:
            last = document.pop("_id")
            vectors = document.pop("clip_embedding", {})
            yield Kept(last, document, {generation: from_binary(vector) for generation, vector in vectors.items()})


async def _removed(tombstones: Documents) -> AsyncIterator[Kept]:
    last = ""
    while page := await page_behind(tombstones, last, projection={"_id": 1}):
        for tombstone in page:
            last = tombstone["_id"]
            yield Kept(last, {}, {}, removed=True)
