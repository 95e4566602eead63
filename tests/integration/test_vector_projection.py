"""The vector index that follows a real log: channels limit what is found, and removed images are not found."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import Calibration, Fact, ImageEmbedded, ImageFingerprinted, ImageRemoved, ImageReposted
from infra.nats.journal import JetStreamJournal
from infra.vectors.index import EmbeddedIndex
from infra.vectors.snapshot import save
from pipeline.engine import topology
from pipeline.projections.snapshots import open_vector_projection
from pipeline.projections.vectors import VectorProjection
from stages import link
from stages.matching import ArchiveFingerprints
from tests.support.facts import MOMENT, posted
from tests.support.fakes import FixedComparer, MemoryBlobs, MemoryCatalogue, MemoryFeatures
from tests.support.posts import hidden, removed, shown
from tests.support.vector_search import ids_of
from tests.support.waiting import eventually


def vector(degrees: float = 0) -> bytes:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], "<f4").tobytes()


def embedded(image_id: str, channel_id: str, thread_of: str | None = None, degrees: float = 0) -> ImageEmbedded:
    return ImageEmbedded(
        guild_id="7", channel_id=channel_id, image_id=image_id, thread_of=thread_of, generation="g1", vector=vector(degrees)
    )


@pytest.fixture(autouse=True)
async def logs(client: Client) -> None:
    await topology.ensure_topology(client, [])


@pytest.fixture
async def index(client: Client, tmp_path: Path) -> AsyncIterator[VectorProjection]:
    async with open_vector_projection(client, tmp_path / "vectors") as projected:
        yield projected


async def record(journal: JetStreamJournal, *facts: Fact) -> None:
    for fact in facts:
        assert await journal.record(fact, Origin("1"))


@pytest.mark.parametrize(
    ("channels", "seen"),
    [
        (None, ["1", "2", "3"]),
        (["70"], ["1", "2"]),
        (["71"], []),
        (["72"], ["3"]),
    ],
    ids=["all", "a channel with its public thread", "the public thread's own id", "a private thread"],
)
async def test_readers_of_a_channel_find_its_public_threads_and_only_members_find_a_private_one(
    index: VectorProjection, journal: JetStreamJournal, channels: list[str] | None, seen: list[str]
) -> None:
    await record(journal, embedded("1", "70"), embedded("2", "71", "70", 5), embedded("3", "72", degrees=10))
    assert ids_of(await index.search("7", "g1", vector(), top=5, channels=channels)) == seen
    alike = await index.find_similar("7", "g1", "1", at_least=0.9, top=5, channels=channels)
    assert ids_of(alike) == [image_id for image_id in seen if image_id != "1"]


async def test_a_removed_image_is_similar_to_nothing(index: VectorProjection, journal: JetStreamJournal) -> None:
    await record(journal, embedded("1", "70"), embedded("2", "70"))
    await index.search("7", "g1", vector(), top=5, channels=None)
    gone = ImageRemoved(guild_id="7", channel_id="70", image_id="2", message_id="9", removed_at=MOMENT, cause="deleted")
    await record(journal, gone)

    async def forgotten() -> bool:
        return not await index.find_similar("7", "g1", "1", at_least=0.9, top=5, channels=None)

    await eventually(forgotten)
    assert list(await index.find_similar("7", "g1", "2", at_least=0.9, top=5, channels=None)) == []


async def find_all(index: VectorProjection) -> list[str]:
    return ids_of(await index.search("7", "g1", vector(), top=5, channels=None))


async def test_what_hides_shows_or_removes_an_image_holds_at_once(index: VectorProjection, journal: JetStreamJournal) -> None:
    post = posted("2")
    await record(journal, embedded("1", "70"), embedded("2", "70", degrees=5))
    for fact, found in (
        (hidden(post), ["1"]),
        (shown(post), ["1", "2"]),
        (shown(post, 2, spoiler=True), ["1", "2"]),
        (hidden(post, 3), ["1"]),
        (shown(post, 3), ["1", "2"]),
        (removed(post), ["1"]),
        (hidden(posted("1")), []),
    ):
        await record(journal, fact)
        assert await find_all(index) == found


async def test_a_hidden_image_stays_hidden_after_a_restart(client: Client, journal: JetStreamJournal, tmp_path: Path) -> None:
    post = posted("2")
    async with open_vector_projection(client, tmp_path / "vectors") as index:
        await record(journal, embedded("1", "70"), embedded("2", "70"), hidden(post, 2))
        assert await find_all(index) == ["1"]
    async with open_vector_projection(client, tmp_path / "vectors") as index:
        assert (await find_all(index), len(index)) == (["1"], 2)
        await record(journal, shown(post))
        assert await find_all(index) == ["1"]
    await record(journal, shown(post, 2))
    async with open_vector_projection(client, tmp_path / "vectors") as index:
        assert await find_all(index) == ["1", "2"]


async def test_what_was_hidden_before_an_older_snapshot_is_hidden(
    client: Client, journal: JetStreamJournal, tmp_path: Path
) -> None:
    """A version that did not know hidden images has saved a snapshot behind a fact that hides one."""
    older = EmbeddedIndex()
    await record(journal, embedded("1", "70"), hidden(posted("2")), embedded("2", "70"))
    for image_id in ("1", "2"):
        older.add("7", "g1", image_id, "70", vector())
    older.advance(3)
    save(older, tmp_path / "vectors")
    async with open_vector_projection(client, tmp_path / "vectors") as index:
        assert await find_all(index) == ["1"]


async def test_a_rebuilt_index_hides_the_same_images(client: Client, journal: JetStreamJournal, tmp_path: Path) -> None:
    async with open_vector_projection(client, tmp_path / "vectors") as index:
        await record(journal, embedded("1", "70"), hidden(posted("2")), embedded("2", "70"), embedded("3", "70"))
        await record(journal, hidden(posted("3")), shown(posted("3")), removed(posted("4")), hidden(posted("4")))
        assert await find_all(index) == ["1", "3"]
        for verify in (True, False, True):
            compared = await index.rebuild(verify=verify, progress=lambda _, __: None)
            assert (compared.before, await find_all(index)) == (compared.after, ["1", "3"])
        index.index.show("2", 5)
        compared = await index.rebuild(verify=True, progress=lambda _, __: None)
        assert compared.before != compared.after


async def test_a_repost_is_linked_to_a_post_that_was_just_embedded(index: VectorProjection, journal: JetStreamJournal) -> None:
    catalogue = MemoryCatalogue()
    for day, image_id in [(1, "1"), (2, "2")]:
        metadata = {"upload_timestamp": f"2026-01-{day:02}T12:00:00+00:00"}
        catalogue.documents[image_id] = {"discord_message_id": f"m{image_id}", "metadata": metadata}
    await record(journal, embedded("1", "70"), embedded("2", "72", degrees=3))
    blobs = MemoryBlobs()
    prints = ArchiveFingerprints(MemoryFeatures(), FixedComparer(), blobs)
    deps = link.Deps(journal, index, catalogue, prints, Calibration(match_at=0.9, possible_at=0.6), lambda: True)
    plain = {
        "guild_id": "7",
        "channel_id": "70",
        "generation": "g1",
        "method": "f1",
        "hash": "0" * 64,
        "quality": 40,
        "features": 0,
    }
    blob = await blobs.put(b"a print of no features")
    first, second = (ImageFingerprinted(**plain, image_id=each, fingerprint=blob) for each in ("1", "2"))
    assert await link.handle(first, deps) == ()
    (fact,) = await link.handle(second, deps)
    assert isinstance(fact, ImageReposted)
    assert (fact.image_id, fact.same_as) == ("2", "1")
