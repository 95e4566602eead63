"""Dropping a generation deletes its fingerprint facts, and the blobs that no other generation shares."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import Fact, ImageFact, ImageFingerprinted, ImagePreprocessed
from infra.blobs.files import open_blob_store
from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from infra.sqlite.catalogue import open_sqlite_catalogue
from pipeline.cli.open import open_container
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.generations import drop as dropping
from pipeline.generations.drop import erase_generation
from pipeline.projections.rebuild_catalogue import rebuild_catalogue
from pipeline.settings import Settings
from stages import persist
from stages.erase import BLOB_GRACE
from tests.support.facts import BLOB, founding_facts, posted
from tests.support.world import Log


@dataclass
class Archive:
    """Images 1 and 2 in g1, which is dropped, and in g2, which is active. No stage runs."""

    client: Client
    journal: JetStreamJournal
    settings: Settings

    @property
    def folder(self) -> Path:
        return self.settings.data_dir

    async def put_old_blob(self, data: bytes) -> str:
        """Store a blob and make it old."""
        name = await open_blob_store(self.folder / "blobs").put(data)
        for path in self.folder.glob(f"blobs/*/*/{name}"):
            os.utime(path, (0, 0))
        return name

    async def make_fact(self, image_id: str, generation: str, method: str, data: bytes) -> ImageFingerprinted:
        fact = ImageFingerprinted(
            **posted(image_id).identity,
            generation=generation,
            method=method,
            fingerprint=await self.put_old_blob(data),
            hash=BLOB,
            quality=9,
            features=1,
        )
        await self.add(fact)
        return fact

    async def add(self, *facts: ImageFact) -> None:
        catalogue = await open_sqlite_catalogue(self.folder / "catalogue.sqlite")
        for fact in facts:
            assert await self.journal.record(fact, Origin("m"))
            await persist.handle(fact, persist.Deps(catalogue))
        await catalogue.close()

    async def record(self, *facts: Fact) -> None:
        for fact in facts:
            assert await self.journal.record(fact, Origin("m"))

    async def drop(self) -> None:
        async with open_container(self.settings) as container:
            await erase_generation(container, "g1")

    async def list_fingerprints(self) -> list[tuple[str, str]]:
        """Return image and generation of each fingerprint in the log."""
        return [(fact.image_id, fact.generation) for fact in await Log(self.client).facts(ImageFingerprinted)]

    async def blobs_exist(self, facts: Sequence[ImageFingerprinted]) -> list[bool]:
        return [await open_blob_store(self.folder / "blobs").exists(fact.fingerprint) for fact in facts]

    async def read_document_blobs(self) -> dict[str, str]:
        """Return the fingerprint blob of each document. Check that all documents are as a rebuild would make them."""
        await self.settle()
        async with open_container(self.settings) as container:
            catalogue = await container.catalogue()
            compared = await rebuild_catalogue(self.client, catalogue, verify=True, progress=lambda _done, _total: None)
            assert compared.comparison.before == compared.comparison.after, compared.comparison.examples
            return {entry.image_id: entry.document["fingerprint"]["blob"] async for entry in catalogue.scan()}

    async def settle(self) -> None:
        """Acknowledge the messages of persist: the tests do its work."""
        js = self.client.jetstream()
        subscription = await js.pull_subscribe_bind("persist-image", stream="IMAGES")
        while (await js.consumer_info("IMAGES", "persist-image")).num_pending:
            for message in await subscription.fetch(100):
                await message.ack_sync()
        await subscription.unsubscribe()


@pytest.fixture
async def archive(
    client: Client,
    log_address: LogAddress,
    journal: JetStreamJournal,
    settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> Archive:
    """No process works on the archive, so dropping does not wait."""
    monkeypatch.setattr(dropping, "RELEASE_TIMEOUT_S", 0.5)
    await topology.ensure_topology(client, [])
    here = Archive(client, journal, settings(nats_url=log_address.url, nats_nkey=log_address.nkey_file))
    for number, name in enumerate(("g1", "g2"), start=1):
        await here.record(*founding_facts(name, number, digest=name))
    await topology.ensure_topology(client, STAGES)
    for image_id in ("1", "2"):
        post = posted(image_id)
        pixels = await here.put_old_blob(image_id.encode())
        sizes = {"width": 1, "height": 1, "format": "PNG", "preprocessing": "p1"}
        await here.add(post, ImagePreprocessed(**post.identity, pixels=pixels, thumbnail=pixels, **sizes))  # type: ignore[arg-type]
    return here


async def test_shared_blobs_stay_and_the_facts_are_deleted(archive: Archive) -> None:
    first = [await archive.make_fact(image_id, "g1", "f1", image_id.encode() * 9) for image_id in ("1", "2")]
    await archive.add(*[fact.model_copy(update={"generation": "g2"}) for fact in first])
    await archive.drop()
    assert await archive.list_fingerprints() == [("1", "g2"), ("2", "g2")]
    assert await archive.blobs_exist(first) == [True, True]
    assert await archive.read_document_blobs() == {fact.image_id: fact.fingerprint for fact in first}
    await archive.drop()
    assert await archive.list_fingerprints() == [("1", "g2"), ("2", "g2")]


@pytest.mark.parametrize("methods", [("f1", "f2"), ("f2", "f1")], ids=["older", "newer"])
async def test_unshared_blobs_are_deleted_and_documents_get_the_other_fingerprint(
    archive: Archive, methods: tuple[str, str]
) -> None:
    first = [await archive.make_fact(image_id, "g1", methods[0], b"one" + image_id.encode()) for image_id in ("1", "2")]
    second = [await archive.make_fact(image_id, "g2", methods[1], b"two" + image_id.encode()) for image_id in ("1", "2")]
    await archive.drop()
    assert await archive.list_fingerprints() == [("1", "g2"), ("2", "g2")]
    assert await archive.blobs_exist([*first, *second]) == [False, False, True, True]
    assert await archive.read_document_blobs() == {fact.image_id: fact.fingerprint for fact in second}


async def test_a_fingerprint_stays_until_another_generation_has_one(archive: Archive) -> None:
    first = [await archive.make_fact(image_id, "g1", "f2", b"one" + image_id.encode()) for image_id in ("1", "2")]
    second = await archive.make_fact("1", "g2", "f1", b"two")
    await archive.drop()
    assert await archive.list_fingerprints() == [("2", "g1"), ("1", "g2")]
    assert await archive.blobs_exist([*first, second]) == [False, True, True]
    assert await archive.read_document_blobs() == {"1": second.fingerprint, "2": first[1].fingerprint}
    third = await archive.make_fact("2", "g2", "f1", b"three")
    await archive.drop()
    assert await archive.list_fingerprints() == [("1", "g2"), ("2", "g2")]
    assert await archive.blobs_exist([*first, second, third]) == [False, False, True, True]
    assert await archive.read_document_blobs() == {"1": second.fingerprint, "2": third.fingerprint}


async def test_a_new_blob_is_left_to_the_next_sweep(archive: Archive) -> None:
    first = await archive.make_fact("1", "g1", "f1", b"one")
    await archive.make_fact("1", "g2", "f2", b"two")
    await open_blob_store(archive.folder / "blobs").put(b"one")
    assert BLOB_GRACE.total_seconds() > 60
    await archive.drop()
    assert await archive.list_fingerprints() == [("1", "g2")]
    assert await archive.blobs_exist([first]) == [True]
