"""The catalogue in MongoDB: a document for each image with its vectors under `clip_embedding.<generation>`, and tombstones.

Records are read page by page, each page after the last id, since a cursor is lost when its server stops.

A replacement is applied document by document. Renaming collections would be quicker, but it would delete the search indexes of the
old ones, and Atlas would find nothing until it has built them again. Nor is it atomic for two collections. So the documents that
differ are changed in place, each one atomically: readers find every image, either in its old or in its new state. If the
replacement is interrupted, it can be repeated.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

from pymongo.errors import DuplicateKeyError

from contracts.ports import Catalogue, CatalogueEntry, CatalogueRecord, Document, is_hidden
from contracts.ports.storage import pair_records
from infra.mongo.client import Database, Documents, from_binary, open_database, to_binary, translate_outages

RECORDS_PER_PAGE = 500

CONCURRENT_CHANGES = 64
"""How many documents are changed at the same time."""

IMAGE_COLLECTION = "images"
TOMBSTONE_COLLECTION = "removed_images"
REPLACEMENT_SUFFIX = "_beside"
"""Suffix of the replacement collections, which are filled while the live ones are in use."""

_BLOBS = ("original.blob", "media.pixels", "media.thumbnail", "fingerprint.blob")
_WITHOUT_VECTORS = {"clip_embedding": 0}


async def read_page(
    documents: Documents, last: str, query: dict[str, Any] | None = None, projection: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Read the next documents after an id that match a query. Empty at the end."""
    with translate_outages("catalogue"):
        found = documents.find((query or {}) | {"_id": {"$gt": last}}, projection)
        return await found.sort("_id", 1).limit(RECORDS_PER_PAGE).to_list(None)


async def read_records(images: Documents, tombstones: Documents) -> AsyncIterator[CatalogueRecord]:
    """Yield documents with vectors, and tombstones, in order of image id."""
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


async def _kept(images: Documents) -> AsyncIterator[CatalogueRecord]:
    last = ""
    while page := await read_page(images, last):
        for document in page:
            last = document.pop("_id")
            vectors = document.pop("clip_embedding", {})
            yield CatalogueRecord(last, document, {generation: from_binary(vector) for generation, vector in vectors.items()})


async def _removed(tombstones: Documents) -> AsyncIterator[CatalogueRecord]:
    last = ""
    while page := await read_page(tombstones, last, projection={"_id": 1}):
        for tombstone in page:
            last = tombstone["_id"]
            yield CatalogueRecord(last, {}, {}, removed=True)


async def apply_differences(
    images: Documents, tombstones: Documents, old: AsyncIterator[CatalogueRecord], new: AsyncIterator[CatalogueRecord]
) -> None:
    """Change these collections, whose records are `old`, so that they have the records `new`. Both in order of image id."""
    changes: list[Awaitable[None]] = []
    async for was, now in pair_records(old, new):
        if was != now:
            changes.append(_change(images, tombstones, was, now))
        if len(changes) == CONCURRENT_CHANGES:
            await asyncio.gather(*changes)
            changes.clear()
    await asyncio.gather(*changes)


async def _change(images: Documents, tombstones: Documents, was: CatalogueRecord | None, now: CatalogueRecord | None) -> None:
    with translate_outages("catalogue"):
        if now is None:
            if was is not None:
                await (tombstones if was.removed else images).delete_one({"_id": was.image_id})
        elif now.removed:
            await tombstones.update_one({"_id": now.image_id}, {"$set": {"removed": True}}, upsert=True)
            await images.delete_one({"_id": now.image_id})
        else:
            await tombstones.delete_one({"_id": now.image_id})
            await images.update_one({"_id": now.image_id}, _update(was, now), upsert=True)


def _update(was: CatalogueRecord | None, now: CatalogueRecord) -> dict[str, Any]:
    fields, before = _fields(now), {} if was is None else _fields(was)
    gone = before.keys() - fields.keys()
    return {"$set": fields} | ({"$unset": dict.fromkeys(gone, "")} if gone else {})


def _fields(kept: CatalogueRecord) -> dict[str, Any]:
    vectors = {generation: to_binary(vector) for generation, vector in kept.vectors.items()}
    return {**kept.document, **({"clip_embedding": vectors} if vectors else {})}


def build_unchanged_query(fields: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Build the query that matches a document only if the fields to be set still have the values that were read."""
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


async def open_mongo_catalogue(uri: str, database: str = "mapseek", *, timeout_s: float = 2.0) -> "MongoCatalogue":
    """Connect, and create the indexes that the catalogue needs. `timeout_s` is how long a call waits for a server.

    Raises MapSeekError if the connection string cannot be used, Unavailable if the server does not answer.
    """
    connection = open_database(uri, database, timeout_s=timeout_s)
    try:
        with translate_outages("catalogue"):
            await ensure_indexes(connection[IMAGE_COLLECTION])
    except BaseException:
        connection.client.close()
        raise
    return MongoCatalogue(connection)


async def ensure_indexes(images: Documents) -> None:
    """Create the collection and its indexes if they are missing."""
    for field in ("metadata.guild_id", *_BLOBS):
        await images.create_index(field)


class MongoCatalogue:
    """Catalogue on MongoDB, for any number of processes.

    A removal is final without transactions. It writes the tombstone first and then deletes the document. A write sets its fields
    first, then looks for the tombstone, and deletes what it wrote if there is one. However the two overlap, the last step deletes.
    If the process dies before the last step of a write, the message is not acknowledged, so the write is repeated.
    """

    def __init__(self, database: Database, ending: str = "") -> None:
        self._database = database
        self._ending = ending
        self._images = database[f"{IMAGE_COLLECTION}{ending}"]
        self._tombstones = database[f"{TOMBSTONE_COLLECTION}{ending}"]

    async def merge(self, image_id: str, fields: Document, *, unless: Callable[[Document], bool] | None = None) -> bool:
        if unless is None:
            return await self._set(image_id, dict(fields))
        while not await self._tried(image_id, dict(fields), unless):
            pass  # somebody else was faster: check again, with the current document
        return await self._not_removed(image_id)

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        await self._set(image_id, {f"clip_embedding.{generation}": to_binary(vector)})

    async def vector(self, image_id: str, generation: str) -> bytes | None:
        with translate_outages("catalogue"):
            document = await self._images.find_one({"_id": image_id}, {"clip_embedding": 1})
        stored = (document or {}).get("clip_embedding", {}).get(generation)
        return None if stored is None else from_binary(stored)

    async def remove(self, image_id: str) -> None:
        with translate_outages("catalogue"):
            await self._tombstones.update_one({"_id": image_id}, {"$set": {"removed": True}}, upsert=True)
            await self._images.delete_one({"_id": image_id})
            # A replacement must not keep the image either: it may never be applied or deleted.
            await self._database[f"{IMAGE_COLLECTION}{REPLACEMENT_SUFFIX}"].delete_one({"_id": image_id})

    async def is_removed(self, image_id: str) -> bool:
        with translate_outages("catalogue"):
            return await self._tombstones.find_one({"_id": image_id}) is not None

    async def entries(self, image_ids: Collection[str], *, with_hidden: bool = False) -> dict[str, CatalogueEntry]:
        with translate_outages("catalogue"):
            documents = await self._images.find({"_id": {"$in": list(image_ids)}}, _WITHOUT_VECTORS).to_list(None)
        return {document["_id"]: _entry(document) for document in documents if with_hidden or not is_hidden(document)}

    async def find_file(self, guild_id: str, blob: str) -> dict[str, CatalogueEntry]:
        with translate_outages("catalogue"):
            documents = await self._images.find({"original.blob": blob} | _of_guild(guild_id), _WITHOUT_VECTORS).to_list(None)
        return {document["_id"]: _entry(document) for document in documents if not is_hidden(document)}

    async def scan(self, guild_id: str | None = None) -> AsyncIterator[CatalogueEntry]:
        last = ""
        while documents := await read_page(self._images, last, _of_guild(guild_id), _WITHOUT_VECTORS):
            for document in documents:
                if not is_hidden(document):
                    yield _entry(document)
            last = documents[-1]["_id"]

    def contents(self) -> AsyncIterator[CatalogueRecord]:
        return read_records(self._images, self._tombstones)

    async def count(self, guild_id: str | None = None) -> int:
        with translate_outages("catalogue"):
            return await self._images.count_documents(_of_guild(guild_id))

    async def uses(self, blob: str) -> bool:
        with translate_outages("catalogue"):
            for field in _BLOBS:  # one query each, so that each uses its own index
                if await self._images.find_one({field: blob}, {"_id": 1}) is not None:
                    return True
        return False

    async def drop_generation(self, generation: str) -> int:
        path = f"clip_embedding.{generation}"
        with translate_outages("catalogue"):
            dropped = await self._images.update_many({path: {"$exists": True}}, {"$unset": {path: ""}})
        return dropped.modified_count

    async def clear(self) -> None:
        with translate_outages("catalogue"):
            await self._images.delete_many({})
            await self._tombstones.delete_many({})

    async def create_replacement(self) -> "MongoCatalogue":
        beside = MongoCatalogue(self._database, REPLACEMENT_SUFFIX)
        await beside._drop()
        return beside

    async def replace_with(self, other: Catalogue) -> None:
        await apply_differences(self._images, self._tombstones, self.contents(), other.contents())

    async def ping(self) -> None:
        with translate_outages("catalogue"):
            await self._database.client.admin.command("ping")

    async def close(self) -> None:
        """Close the connection. A replacement has no connection of its own; its collections are dropped."""
        if self._ending:
            await self._drop()
        else:
            self._database.client.close()

    async def _drop(self) -> None:
        with translate_outages("catalogue"):
            await self._images.drop()
            await self._tombstones.drop()

    async def _set(self, image_id: str, fields: dict[str, Any]) -> bool:
        """Set fields of a document. Return False if the image is removed."""
        with translate_outages("catalogue"):
            await self._images.update_one({"_id": image_id}, {"$set": fields}, upsert=True)
        return await self._not_removed(image_id)

    async def _tried(self, image_id: str, fields: dict[str, Any], unless: Callable[[Document], bool]) -> bool:
        """Set fields of a document unless `unless` says no. Return False if somebody changed the document meanwhile."""
        with translate_outages("catalogue"):
            stored = await self._images.find_one({"_id": image_id}, _WITHOUT_VECTORS)
            if stored is not None and unless(_entry(stored).document):
                return True
            unchanged = {"_id": image_id, **build_unchanged_query(fields, stored or {})}
            try:
                result = await self._images.update_one(unchanged, {"$set": fields}, upsert=stored is None)
            except DuplicateKeyError:
                return False
        return result.matched_count > 0 or result.upserted_id is not None

    async def _not_removed(self, image_id: str) -> bool:
        """Whether the image has no tombstone. If it has one, delete what was just written."""
        with translate_outages("catalogue"):
            if await self._tombstones.find_one({"_id": image_id}) is None:
                return True
            await self._images.delete_one({"_id": image_id})
        return False


def _of_guild(guild_id: str | None) -> dict[str, Any]:
    return {} if guild_id is None else {"metadata.guild_id": guild_id}


def _entry(document: dict[str, Any]) -> CatalogueEntry:
    return CatalogueEntry(image_id=document["_id"], document={field: value for field, value in document.items() if field != "_id"})
