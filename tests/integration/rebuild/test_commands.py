"""`mapseek rebuild` as an owner runs it: its output and its exit code."""

from collections.abc import Mapping

import pytest
from nats.aio.client import Client

from contracts.ports import Catalogue
from infra.nats.journal import JetStreamJournal
from tests.support.mongo_server import WITH_SLOW_MONGODB
from tests.support.programs import EndedProgram, run_to_end
from tests.support.replays import IMAGES_POSTED, OpenIndex, vector_at

SQLITE = pytest.mark.parametrize("environment", ["sqlite"], indirect=True)
VECTORS = 2 * (IMAGES_POSTED - 1)


async def rebuild(environment: Mapping[str, str], *arguments: str, code: int = 0) -> str:
    """Run the command and return its output. It writes only a progress bar to standard error, which disappears at the end."""
    found: EndedProgram = await run_to_end("rebuild", *arguments, environment=environment)
    assert (found.code, "Traceback" in found.err) == (code, False), found
    return found.out


@WITH_SLOW_MONGODB
async def test_the_catalogue_is_verified_and_rebuilt(client: Client, catalogue: Catalogue, environment: Mapping[str, str]) -> None:
    said = await rebuild(environment, "catalogue", "--verify")
    assert said.startswith("identical: ")
    assert said.endswith(f" ({IMAGES_POSTED} images)\n")
    digest = said.split()[1]

    await catalogue.put_vector("10", "g1", vector_at(77))
    await catalogue.remove("13")
    said = await rebuild(environment, "catalogue", "--verify", code=1)
    assert said.splitlines()[1:] == [
        f"log:    {digest} ({IMAGES_POSTED} images)",
        "2 images not as the log says:",
        "Image 10 is not as the log says: the vector of g1.",
        "Image 13 is removed, but the log says otherwise.",
        "Run `mapseek rebuild catalogue` to make it agree with the log.",
    ]

    said = await rebuild(environment, "catalogue")
    assert said.splitlines()[1:3] == [f"after:    {digest} ({IMAGES_POSTED} images)", "2 images not as the log says, corrected:"]
    assert await catalogue.vector("10", "g1") == vector_at(10)
    assert digest in await rebuild(environment, "catalogue", "--verify")


@SQLITE
async def test_the_snapshot_is_rebuilt_if_no_process_holds_the_index(log: JetStreamJournal, environment: Mapping[str, str]) -> None:
    nothing = "There is no snapshot of the index to compare: the next process that needs the index builds it from the log.\n"
    assert await rebuild(environment, "index", "--verify") == nothing
    assert f"({VECTORS} vectors, log up to " in await rebuild(environment, "index")
    assert (await rebuild(environment, "index", "--verify")).startswith("snapshot: identical: ")


@SQLITE
async def test_the_index_of_a_running_process_is_rebuilt(
    log: JetStreamJournal, environment: Mapping[str, str], open_index: OpenIndex
) -> None:
    async with open_index() as index:
        said = await rebuild(environment, "index", "--verify")
        assert ": identical: " in said
        assert not said.startswith("snapshot")
        index.index.add("7", "g1", "10", "8", vector_at(77))
        said = await rebuild(environment, "index", "--verify", code=1)
        assert said.endswith("Run `mapseek rebuild index` to make it agree with the log.\n")
        assert ": after: " in await rebuild(environment, "index")
        assert ": identical: " in await rebuild(environment, "index", "--verify")


@SQLITE
async def test_with_vectors_in_the_catalogue_the_feature_index_is_rebuilt(environment: Mapping[str, str]) -> None:
    atlas = {"MAPSEEK_CATALOGUE": "mongodb", "MAPSEEK_VECTORS": "atlas", "MONGODB_URI": "mongodb://127.0.0.1:9"}
    found = await run_to_end("rebuild", "index", environment={**environment, **atlas})
    assert (found.code, found.err.strip()) == (0, "")
    assert "`mapseek rebuild catalogue`" in found.out
    assert "There is no snapshot of the index" in found.out


@SQLITE
@pytest.mark.parametrize(
    ("projection", "more", "said"),
    [
        ("catalogue", {"NATS_URL": "nats://127.0.0.1:9"}, "127.0.0.1:9"),
        ("catalogue", {"MAPSEEK_CATALOGUE": "mongodb"}, "MONGODB_URI is not set"),
    ],
)
async def test_impossible_requests_are_one_sentence(
    environment: Mapping[str, str], projection: str, more: dict[str, str], said: str
) -> None:
    found = await run_to_end("rebuild", projection, environment={**environment, **more})
    assert (found.code, found.out, "Traceback" in found.err) == (1, "", False)
    assert said in found.err
