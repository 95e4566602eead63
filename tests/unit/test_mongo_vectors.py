"""AtlasSearch: the `$vectorSearch` pipeline, and that an index which cannot answer is never taken for an empty archive."""

import struct
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest
from bson.binary import Binary, BinaryVectorDtype
from nats.aio.client import Client
from pymongo.errors import OperationFailure

from contracts.errors import MapSeekError, Unavailable
from contracts.ports import Neighbour
from infra.mongo.client import Database, from_binary, to_binary
from infra.mongo.vectors import AtlasSearch, cosine_from_score, index_definition, search_pipeline
from infra.nats.journal import JetStreamJournal
from pipeline.container import Container
from pipeline.settings import Settings

VECTOR = struct.pack("<2f", 0.6, -0.8)


def test_the_pipeline_searches_one_generation_in_one_guild() -> None:
    search, project = search_pipeline("7", "g1", VECTOR, top=50, channels=None)
    assert search["$vectorSearch"] == {
        "index": "clip_embedding_g1",
        "path": "clip_embedding.g1",
        "queryVector": Binary.from_vector([0.6, -0.8], BinaryVectorDtype.FLOAT32),
        "numCandidates": 1000,
        "limit": 50,
        "filter": {"$and": [{"metadata.guild_id": "7"}, {"visibility.hidden": {"$ne": True}}]},
    }
    assert project == {"$project": {"_id": 1, "score": {"$meta": "vectorSearchScore"}}}


def test_the_pipeline_filters_by_readable_channels() -> None:
    search, _ = search_pipeline("7", "g1", VECTOR, top=3, channels={"71", "70"})
    named = {"$in": ["70", "71"]}
    assert search["$vectorSearch"]["filter"] == {
        "$and": [
            {"metadata.guild_id": "7"},
            {"visibility.hidden": {"$ne": True}},
            {"$or": [{"metadata.channel_id": named}, {"metadata.thread_of": named}]},
        ]
    }


@pytest.mark.parametrize("top", [1, 3, 10, 100, 500, 9000])
def test_there_are_enough_candidates_but_not_more_than_the_server_accepts(top: int) -> None:
    stage = search_pipeline("7", "g1", VECTOR, top=top, channels=None)[0]["$vectorSearch"]
    assert stage["numCandidates"] >= min(20 * top, 10_000)
    assert stage["limit"] <= stage["numCandidates"] <= 10_000


def test_every_filtered_field_is_declared_in_the_index() -> None:
    fields = index_definition("g1", 512)["fields"]
    assert fields[0] == {"type": "vector", "path": "clip_embedding.g1", "numDimensions": 512, "similarity": "cosine"}
    declared = {field["path"] for field in fields if field["type"] == "filter"}
    guild, hidden, channels = search_pipeline("7", "g1", VECTOR, top=1, channels=["70"])[0]["$vectorSearch"]["filter"]["$and"]
    assert {field for clause in (guild, hidden, *channels["$or"]) for field in clause} == declared


@pytest.mark.parametrize(("score", "similarity"), [(1.0, 1.0), (0.5, 0.0), (0.0, -1.0), (0.95, 0.9)])
def test_scores_are_converted_to_cosines(score: float, similarity: float) -> None:
    assert cosine_from_score(score) == pytest.approx(similarity)


def test_vectors_keep_every_bit() -> None:
    vector = struct.pack("<4f", 0.1, -0.0, 3.4028235e38, 1e-45)
    assert from_binary(to_binary(vector)) == vector
    assert from_binary(bytes(to_binary(vector))) == vector


class Answers:
    """A stand-in for a cursor, since a server with vector search is not available in every test run."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self._documents = documents

    async def to_list(self, length: int | None) -> list[dict[str, Any]]:
        return list(self._documents)


class SearchServer:
    """A stand-in for a database with one collection, which stores search indexes and finds two images."""

    client = Mock()

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.found: list[dict[str, Any]] = [{"_id": "1", "score": 1.0000001}, {"_id": "2", "score": 0.75}]
        self.limits: list[int] = []
        self.indexes: list[dict[str, Any]] = []
        self.changed: list[str] = []
        self.refusal: OperationFailure | None = None
        self.full = False

    def __getitem__(self, collection: str) -> "SearchServer":
        return self

    async def create_index(self, field: str) -> None: ...

    def list_search_indexes(self, name: str) -> Answers:
        if self.refusal is not None:
            raise self.refusal
        return Answers(*(index for index in self.indexes if index["name"] == name))

    async def create_search_index(self, model: Any) -> None:
        if self.full:
            raise OperationFailure("maximum number reached", code=8)
        self.changed.append(model.document["name"])
        self.indexes.append(model.document | {"queryable": False, "latestDefinition": model.document["definition"]})

    async def update_search_index(self, name: str, definition: dict[str, Any]) -> None:
        self.changed.append(name)

    async def drop_search_index(self, name: str) -> None:
        self.indexes.remove(*(index for index in self.indexes if index["name"] == name))

    def aggregate(self, pipeline: list[dict[str, Any]]) -> Answers:
        if not any(index["queryable"] for index in self.indexes):
            return Answers()
        limit = pipeline[0]["$vectorSearch"]["limit"]
        self.limits.append(limit)
        return Answers(*self.found[:limit])

    async def find_one(self, wanted: dict[str, Any], fields: dict[str, int]) -> dict[str, Any] | None:
        return self.documents.get(wanted["_id"]) if wanted["metadata.guild_id"] == "7" else None


@pytest.fixture
def server() -> SearchServer:
    return SearchServer()


@pytest.fixture
def vectors(server: SearchServer) -> AtlasSearch:
    return AtlasSearch(cast(Database, server))


async def test_the_first_search_creates_the_index_and_is_unavailable_until_it_is_built(
    server: SearchServer, vectors: AtlasSearch
) -> None:
    for _ in range(2):
        with pytest.raises(Unavailable, match="still building"):
            await vectors.search("7", "g1", VECTOR, top=3, channels=None)
    assert [index["definition"] for index in server.indexes] == [index_definition("g1", 2)]
    server.indexes[0]["queryable"] = True
    assert await vectors.search("7", "g1", VECTOR, top=3, channels=None) == [Neighbour("1", 1.0), Neighbour("2", 0.5)]


async def test_an_index_that_is_being_changed_is_waited_for(server: SearchServer, vectors: AtlasSearch) -> None:
    await vectors.ensure_index("g1", 2)
    server.indexes[0] |= {"queryable": True, "status": "BUILDING"}  # it still answers by its old definition
    with pytest.raises(Unavailable, match="still building"):
        await vectors.search("7", "g1", VECTOR, top=3, channels=["70"])
    server.indexes[0]["status"] = "READY"
    assert len(await vectors.search("7", "g1", VECTOR, top=3, channels=["70"])) == 2


@pytest.fixture
async def built(server: SearchServer, vectors: AtlasSearch) -> SearchServer:
    await vectors.ensure_index("g1", 2)
    server.indexes[0]["queryable"] = True
    server.documents["1"] = {"_id": "1", "clip_embedding": {"g1": bytes(to_binary(VECTOR))}}
    server.documents["2"] = {"_id": "2"}
    return server


async def find_similar(
    vectors: AtlasSearch, image_id: str, *, guild: str = "7", at_least: float = 0.5, top: int = 200
) -> list[Neighbour]:
    return list(await vectors.find_similar(guild, "g1", image_id, at_least=at_least, top=top, channels=None))


@pytest.mark.usefixtures("built")
async def test_an_image_is_no_neighbour_of_itself(vectors: AtlasSearch) -> None:
    assert await find_similar(vectors, "1") == [Neighbour("2", 0.5)]
    assert await find_similar(vectors, "1", at_least=0.51) == []


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("guild", "image_id"), [("7", "2"), ("7", "3"), ("8", "1")], ids=["no vector", "unknown", "elsewhere"])
async def test_an_image_without_a_vector_has_no_similar_ones(vectors: AtlasSearch, guild: str, image_id: str) -> None:
    assert await find_similar(vectors, image_id, guild=guild) == []


async def test_similar_images_are_requested_until_there_are_enough(built: SearchServer, vectors: AtlasSearch) -> None:
    built.found = [{"_id": str(number), "score": 0.9} for number in range(1, 500)]
    assert [found.image_id for found in await find_similar(vectors, "1", top=100)] == [str(number) for number in range(2, 102)]
    assert built.limits == [17, 65, 101]
    built.found[20:] = [{"_id": "x", "score": 0.6}] * 100
    assert [found.image_id for found in await find_similar(vectors, "1", top=100)] == [str(number) for number in range(2, 21)]
    assert built.limits[3:] == [17, 65]


async def test_an_asker_without_readable_channels_finds_nothing(vectors: AtlasSearch) -> None:
    assert await vectors.search("7", "g1", VECTOR, top=3, channels=[]) == ()


async def test_an_index_is_created_once_and_updated_only_if_it_differs(server: SearchServer, vectors: AtlasSearch) -> None:
    for _ in range(2):
        await vectors.ensure_index("g1", 2)
    for field in server.indexes[0]["latestDefinition"]["fields"]:
        field["quantization"] = "none"  # as servers do
    await vectors.ensure_index("g1", 2)
    assert server.changed == ["clip_embedding_g1"]
    await vectors.ensure_index("g1", 3)
    assert server.changed == ["clip_embedding_g1"] * 2


async def test_the_index_of_a_dropped_generation_is_deleted_and_no_other(built: SearchServer, vectors: AtlasSearch) -> None:
    await vectors.ensure_index("g2", 2)
    assert len(await vectors.search("7", "g1", VECTOR, top=3, channels=None)) == 2
    for _ in range(2):  # an earlier call may have been interrupted afterwards
        await vectors.drop_index("g1")
        assert [index["name"] for index in built.indexes] == ["clip_embedding_g2"]
    with pytest.raises(Unavailable, match="still building"):  # a deleted index is not taken for a queryable one
        await vectors.search("7", "g1", VECTOR, top=3, channels=None)


@pytest.mark.parametrize(("searched_by", "left"), [("atlas", []), ("embedded", ["clip_embedding_g1"])])
async def test_dropping_a_generation_deletes_its_index_if_the_server_searches(
    built: SearchServer,
    vectors: AtlasSearch,
    settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    searched_by: str,
    left: list[str],
) -> None:
    monkeypatch.setattr("pipeline.container.open_atlas_search", AsyncMock(return_value=vectors))
    chosen = settings(vectors=searched_by, mongodb_uri="mongodb://localhost")
    async with AsyncExitStack() as stack:
        container = Container(chosen, tmp_path, cast(Client, None), cast(JetStreamJournal, None), stack)
        await container.drop_vector_index("g1")
        assert [index["name"] for index in built.indexes] == left


@pytest.mark.parametrize(
    "refusal",
    [
        OperationFailure("Using Atlas Search requires additional configuration.", code=31082),
        OperationFailure("no such command: 'createSearchIndexes'", code=59),
        OperationFailure("Unrecognized pipeline stage name: '$listSearchIndexes'", code=40324),
        OperationFailure("$listSearchIndexes is not allowed or the syntax is incorrect", code=8000),
    ],
)
async def test_a_server_without_vector_search_is_reported_with_advice(
    server: SearchServer, vectors: AtlasSearch, refusal: OperationFailure
) -> None:
    server.refusal = refusal
    with pytest.raises(MapSeekError, match="use MongoDB Atlas or the mongodb-atlas-local image"):
        await vectors.ensure_index("g1", 2)


async def test_a_refused_index_is_reported_with_a_sentence(server: SearchServer, vectors: AtlasSearch) -> None:
    server.full = True
    with pytest.raises(MapSeekError, match="refuses the search index clip_embedding_g1"):
        await vectors.ensure_index("g1", 2)


async def test_any_other_refusal_is_a_bug(server: SearchServer, vectors: AtlasSearch) -> None:
    server.refusal = OperationFailure("bad value", code=2)
    with pytest.raises(OperationFailure):
        await vectors.search("7", "g1", VECTOR, top=3, channels=None)
