"""The vector search on MongoDB's `$vectorSearch`: Atlas, or a server with its search process (atlas-local)."""

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymongo.errors import OperationFailure
from pymongo.operations import SearchIndexModel

from contracts.errors import MapSeekError, Unavailable
from contracts.ports import Neighbour
from infra.mongo.catalogue import IMAGE_COLLECTION, ensure_indexes
from infra.mongo.client import Database, from_binary, open_database, to_binary, translate_outages

_GUILD, _CHANNEL, _THREAD_OF = "metadata.guild_id", "metadata.channel_id", "metadata.thread_of"
_HIDDEN = "visibility.hidden"
_NOT_HIDDEN = {_HIDDEN: {"$ne": True}}  # true also of a document without this field
_MAX_CANDIDATES = 10_000  # the server accepts no more
_FIRST_NEIGHBOURS = 16  # requested at first by find_similar: most pieces have fewer posts
_BUILDING = "BUILDING"  # also the status of a changed index, which answers by its old definition meanwhile
_ANY_VECTOR = struct.pack("<f", 1.0)
_NO_SEARCH = frozenset({59, 115, 31082, 40324})
"""CommandNotFound, CommandNotSupported, SearchNotEnabled, unknown pipeline stage."""
_NO_SEARCH_TEXTS = ("$listSearchIndexes is not allowed", "'$vectorSearch' not supported")
"""Error texts without a code of their own, from Atlas tiers and from other servers that support MongoDB's protocol."""


async def open_atlas_search(uri: str, database: str = "mapseek", *, timeout_s: float = 2.0) -> "AtlasSearch":
    """Open the vector search on the catalogue's documents. Raises MapSeekError if the connection string cannot be used."""
    return AtlasSearch(open_database(uri, database, timeout_s=timeout_s))


def index_name(generation: str) -> str:
    """Return the name of the search index of a generation. Each generation has its own index."""
    return f"clip_embedding_{generation}"


def index_definition(generation: str, dimensions: int) -> dict[str, Any]:
    """Build the definition of a search index: the vectors of one generation, and the fields that searches filter by."""
    path = f"clip_embedding.{generation}"
    return {
        "fields": [
            {"type": "vector", "path": path, "numDimensions": dimensions, "similarity": "cosine"},
            {"type": "filter", "path": _GUILD},
            {"type": "filter", "path": _CHANNEL},
            {"type": "filter", "path": _THREAD_OF},
            {"type": "filter", "path": _HIDDEN},
        ]
    }


def search_pipeline(
    guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
) -> list[dict[str, Any]]:
    """Build the aggregation that yields `{_id, score}`, best first. MongoDB advises at least 20 candidates for each result.

    Whoever may read a channel may read its public threads, so `channels` may contain the thread or its channel.
    """
    narrowed: list[dict[str, Any]] = [{_GUILD: guild_id}, _NOT_HIDDEN]
    if channels is not None:
        named = {"$in": sorted(channels)}
        narrowed.append({"$or": [{_CHANNEL: named}, {_THREAD_OF: named}]})
    return [
        {
            "$vectorSearch": {
                "index": index_name(generation),
                "path": f"clip_embedding.{generation}",
                "queryVector": to_binary(vector),
                "numCandidates": min(max(20 * top, 200), _MAX_CANDIDATES),
                "limit": top,
                "filter": {"$and": narrowed},
            }
        },
        {"$project": {"_id": 1, "score": {"$meta": "vectorSearchScore"}}},
    ]


def cosine_from_score(vector_search_score: float) -> float:
    """Convert a score of MongoDB, which is (1 + cosine) / 2, to the cosine."""
    return 2 * vector_search_score - 1


class AtlasSearch:
    """VectorSearch on `$vectorSearch`. The server updates its index by itself, about a second after the documents.

    The first search in a generation creates its index. Searches raise Unavailable until the server has built it.
    """

    def __init__(self, database: Database) -> None:
        self._client = database.client
        self._images = database[IMAGE_COLLECTION]
        self._queryable: set[str] = set()

    async def ensure_index(self, generation: str, dimensions: int) -> None:
        """Create the generation's index, or update it to this definition. The server builds it in the background.

        Raises MapSeekError if the server has no vector search or refuses the index, Unavailable if it does not answer.
        """
        name, definition = index_name(generation), index_definition(generation, dimensions)
        with _vector_search():
            await ensure_indexes(self._images)  # this creates the collection, without which MongoDB refuses a search index
            existing = await self._index(generation)
            try:
                if existing is None:
                    await self._images.create_search_index(SearchIndexModel(definition, name=name, type="vectorSearch"))
                elif not _covers(existing["latestDefinition"], definition):
                    await self._images.update_search_index(name, definition)
            except OperationFailure as error:
                if _has_no_search(error):
                    raise
                raise MapSeekError(
                    f"MongoDB refuses the search index {name} ({error}): a free Atlas cluster has three at most, so drop one "
                    "that you no longer need."
                ) from error

    async def drop_index(self, generation: str) -> None:
        """Delete the generation's index, if there is one. Raises the same errors as `ensure_index`."""
        with _vector_search():
            if await self._index(generation) is not None:
                await self._images.drop_search_index(index_name(generation))
        self._queryable.discard(generation)

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """See the port. Raises Unavailable while the index is being built, MapSeekError if the server has no vector search."""
        if channels is not None and not channels:
            return ()
        with _vector_search():
            await self._expect_index(generation, dimensions=len(vector) // 4)
            pipeline = search_pipeline(guild_id, generation, vector, top=top, channels=channels)
            found = await self._images.aggregate(pipeline).to_list(None)
        return [Neighbour(image_id=document["_id"], score=min(1.0, cosine_from_score(document["score"]))) for document in found]

    async def find_similar(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        """See the port. Searches with the image's own vector. Raises the same errors as `search`."""
        path = f"clip_embedding.{generation}"
        with _vector_search():
            own = await self._images.find_one({"_id": image_id, _GUILD: guild_id, **_NOT_HIDDEN}, {path: 1})
        stored = (own or {}).get("clip_embedding", {}).get(generation)
        if stored is None:
            return ()
        vector = from_binary(stored)
        width = min(_FIRST_NEIGHBOURS, top)
        while True:
            nearest = await self.search(guild_id, generation, vector, top=width + 1, channels=channels)
            alike = [found for found in nearest if found.score >= at_least and found.image_id != image_id]
            if width == top or len(nearest) <= width or nearest[-1].score < at_least:
                return alike[:top]
            width = min(4 * width, top)

    async def ping(self) -> None:
        with _vector_search():
            await self._client.admin.command("ping")

    async def close(self) -> None:
        self._client.close()

    async def _expect_index(self, generation: str, dimensions: int) -> None:
        """Check before the first search that the index exists: MongoDB returns nothing at all if it does not."""
        if generation in self._queryable:
            return
        await self.ensure_index(generation, dimensions)
        index = await self._index(generation)
        if index is None or not index.get("queryable") or index.get("status") == _BUILDING:
            raise Unavailable("vector search", f"MongoDB is still building the index of generation {generation}")
        self._queryable.add(generation)

    async def _index(self, generation: str) -> Mapping[str, Any] | None:
        if indexes := await self._images.list_search_indexes(index_name(generation)).to_list(None):
            return indexes[0]
        # Some servers without vector search return an empty list here instead of an error. A search raises the error.
        await self._images.aggregate(search_pipeline("", generation, _ANY_VECTOR, top=1, channels=None)).to_list(None)
        return None


def _covers(latest: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an index has the wanted fields. The server adds options of its own to each field."""
    return all(any(field.items() <= other.items() for other in latest["fields"]) for field in wanted["fields"])


def _has_no_search(error: OperationFailure) -> bool:
    return error.code in _NO_SEARCH or any(text in str(error) for text in _NO_SEARCH_TEXTS)


@contextmanager
def _vector_search() -> Iterator[None]:
    with translate_outages("vector search"):
        try:
            yield
        except OperationFailure as error:
            if _has_no_search(error):
                raise MapSeekError(
                    "This MongoDB server has no vector search: use MongoDB Atlas or the mongodb-atlas-local image, "
                    "or choose the embedded index."
                ) from error
            raise
