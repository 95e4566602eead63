"""The catalogue in MongoDB: a document an image with its vectors under `clip_embedding.<generation>`, and tombstones."""

from collections.abc import AsyncIterator, Collection
from typing import Any

from contracts.ports import CatalogueEntry, Document
from infra.mongo.client import Database, Documents, connect, outages
from infra.mongo.vector_binary import from_binary, to_binary

IMAGES = "images"
TOMBSTONES = "removed_images"

_PAGE = 500
_BLOBS = ("original.blob", "media.pixels", "media.thumbnail")
_WITHOUT_VECTORS = {"clip_embedding": 0}


async def open_mongo_catalogue(uri: str, database: str = "mapseek", *, patience: float = 2.0) -> "MongoCatalogue":
    """Connect and make the indexes that the catalogue needs. `patience` is how many seconds a call waits for a server.

    Raises MapSeekError for a connection string that cannot be used, Unavailable when the server does not answer.
    """
    connection = connect(uri, database, patience=patience)
    try:
        with outages("catalogue"):
            await ensure_indexes(connection[IMAGES])
    except BaseException:
        connection.client.close()
        raise
    return MongoCatalogue(connection)


async def ensure_indexes(images: Documents) -> None:
    """Make the collection and its indexes where they are missing."""
    for field in ("metadata.guild_id", *_BLOBS):
        await images.create_index(field)


class MongoCatalogue:
    """Catalogue on MongoDB, for any number of processes.

    A removal is final without transactions: it writes the tombstone first and then deletes the document, while a write sets its
    fields first and then looks for the tombstone and deletes what it wrote. Whichever way the two overlap, the last step deletes;
    and a write that dies before its last step is not acknowledged, so it is done again.
    """

    def __init__(self, database: Database) -> None:
        self._client = database.client
        self._images = database[IMAGES]
        self._tombstones = database[TOMBSTONES]

    async def merge(self, image_id: str, fields: Document) -> bool:
        return await self._set(image_id, dict(fields))

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        await self._set(image_id, {f"clip_embedding.{generation}": to_binary(vector)})

    async def vector(self, image_id: str, generation: str) -> bytes | None:
        with outages("catalogue"):
            document = await self._images.find_one({"_id": image_id}, {"clip_embedding": 1})
        stored = (document or {}).get("clip_embedding", {}).get(generation)
        return None if stored is None else from_binary(stored)

    async def remove(self, image_id: str) -> None:
        with outages("catalogue"):
            await self._tombstones.update_one({"_id": image_id}, {"$set": {"removed": True}}, upsert=True)
            await self._images.delete_one({"_id": image_id})

    async def removed(self, image_id: str) -> bool:
        with outages("catalogue"):
            return await self._tombstones.find_one({"_id": image_id}) is not None

    async def entries(self, image_ids: Collection[str]) -> dict[str, CatalogueEntry]:
        with outages("catalogue"):
            documents = await self._images.find({"_id": {"$in": list(image_ids)}}, _WITHOUT_VECTORS).to_list(None)
        return {document["_id"]: _entry(document) for document in documents}

    async def scan(self, guild_id: str | None = None) -> AsyncIterator[CatalogueEntry]:
        last = ""
        while documents := await self._page(guild_id, last):  # pages by key, not one cursor: a cursor dies with its server
            for document in documents:
                yield _entry(document)
            last = documents[-1]["_id"]

    async def count(self, guild_id: str | None = None) -> int:
        with outages("catalogue"):
            return await self._images.count_documents(_of_guild(guild_id))

    async def uses(self, blob: str) -> bool:
        with outages("catalogue"):
            for field in _BLOBS:  # one after the other: each is answered by its own index
                if await self._images.find_one({field: blob}, {"_id": 1}) is not None:
                    return True
        return False

    async def clear(self) -> None:
        with outages("catalogue"):
            await self._images.delete_many({})
            await self._tombstones.delete_many({})

    async def ping(self) -> None:
        with outages("catalogue"):
            await self._client.admin.command("ping")

    async def close(self) -> None:
        self._client.close()

    async def _set(self, image_id: str, fields: dict[str, Any]) -> bool:
        """Whether the image is there to have them."""
        with outages("catalogue"):
            await self._images.update_one({"_id": image_id}, {"$set": fields}, upsert=True)
            if await self._tombstones.find_one({"_id": image_id}) is None:
                return True
            await self._images.delete_one({"_id": image_id})
        return False

    async def _page(self, guild_id: str | None, after: str) -> list[dict[str, Any]]:
        query = _of_guild(guild_id) | {"_id": {"$gt": after}}
        with outages("catalogue"):
            return await self._images.find(query, _WITHOUT_VECTORS).sort("_id", 1).limit(_PAGE).to_list(None)


def _of_guild(guild_id: str | None) -> dict[str, Any]:
    return {} if guild_id is None else {"metadata.guild_id": guild_id}


def _entry(document: dict[str, Any]) -> CatalogueEntry:
    return CatalogueEntry(image_id=document["_id"], document={field: value for field, value in document.items() if field != "_id"})
