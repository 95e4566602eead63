"""The vector index that follows a real log: channels limit what is found, and removed images are not found."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import Calibration, ImageEmbedded, ImageFingerprinted, ImageRemoved, ImageReposted
from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology
from pipeline.projections.snapshots import open_vector_projection
from pipeline.projections.vectors import VectorProjection
from stages import link
from stages.matching import ArchiveFingerprints
from tests.support.facts import MOMENT
from tests.support.fakes import FixedComparer, MemoryBlobs, MemoryCatalogue, MemoryFeatures
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


async def record(journal: JetStreamJournal, *facts: ImageEmbedded | ImageRemoved) -> None:
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


async def test_a_repost_is_linked_to_a_post_that_was_just_embedded(index: VectorProjection, journal: JetStreamJournal) -> None:
    catalogue = MemoryCatalogue()
    for day, image_id in [(1, "1"), (2, "2")]:
        metadata = {"upload_timestamp": f"2026-01-{day:02}T12:00:00+00:00"}
        catalogue.documents[image_id] = {"discord_message_id": f"m{image_id}", "metadata": metadata}
    await record(journal, embedded("1", "70"), embedded("2", "72", degrees=3))
    blobs = MemoryBlobs()
    prints = ArchiveFingerprints(MemoryFeatures(), FixedComparer(), blobs)
    deps = link.Deps(journal, index, catalogue, prints, Calibration(match_at=0.9, possible_at=0.6), lambda: True)
    plain = {"guild_id": "7", "channel_id": "70", "generation": "g1", "method": "f1", "hash": "0" * 64, "quality": 0, "features": 0}
    blob = await blobs.put(b"a print of no features")
    first, second = (ImageFingerprinted(**plain, image_id=each, fingerprint=blob) for each in ("1", "2"))
    assert await link.handle(first, deps) == ()
    (fact,) = await link.handle(second, deps)
    assert isinstance(fact, ImageReposted)
    assert (fact.image_id, fact.same_as) == ("2", "1")
