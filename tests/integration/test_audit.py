"""An audit on a real log, SQLite and blobs. Waiting work is in progress, missing work is a gap, and dead letters explain gaps."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import RejectCode
from contracts.events import (
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImageFingerprinted,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    StoredFile,
)
from contracts.subjects import FAILURES, IMAGES, RETRIES, failure_subject, kind_filter, retry_subject, subject_of
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.nats.journal import JetStreamJournal
from infra.nats.projections import read_generations
from infra.nats.reader import scan_subjects
from infra.nats.state import open_state
from infra.sqlite.catalogue import SqliteCatalogue, open_sqlite_catalogue
from pipeline.audit.audit import AuditReport, Sources, audit
from pipeline.audit.chain import Scope
from pipeline.audit.checks import FEATURE_INDEX, AuditedIndex
from pipeline.engine import topology
from pipeline.engine.consumers import plan_consumers
from pipeline.engine.registry import STAGES
from pipeline.projections.features import build_feature_kind
from pipeline.projections.rebuild_index import rebuild_snapshot
from stages import persist
from tests.support.facts import BLOB, MOMENT, VECTOR, founding_facts, posted
from tests.support.feature_search import archived_fingerprint

MODEL = {"encoder": "e", "digest": "d", "preprocessing": "p1", "dimensions": 4}


@dataclass
class Archive:
    """An archive without running stages: the tests record, catalogue and settle facts themselves."""

    client: Client
    journal: JetStreamJournal
    catalogue: SqliteCatalogue
    blobs: FileBlobStore
    folder: Path

    async def record(self, *facts: Fact) -> None:
        for fact in facts:
            assert await self.journal.record(fact, Origin("m"))

    async def add(self, *facts: ImageFact) -> None:
        """Record facts and add them to the catalogue."""
        await self.record(*facts)
        for fact in facts:
            if type(fact) in persist.STAGE.consumes:
                await persist.handle(fact, persist.Deps(self.catalogue))

    async def add_complete_image(self, image_id: str, guild_id: str = "7", fingerprint: bytes | None = None) -> list[ImageFact]:
        """Add an image with all facts of the archive lane."""
        post = posted(image_id, guild_id)
        picture = await self.blobs.put(image_id.encode())
        known_by = await self.blobs.put(fingerprint or f"of {image_id}".encode())
        media = {"pixels": picture, "thumbnail": picture, "width": 1, "height": 1, "format": "PNG", "preprocessing": "p1"}
        facts = [
            post.model_copy(update={"source": post.source.model_copy(update={"blob": picture})}),
            ImageDownloaded(**post.identity, blob=picture, size=1),
            ImagePreprocessed(**post.identity, **media),  # type: ignore[arg-type]
            ImageFingerprinted(
                **post.identity, generation="g1", method="f1", fingerprint=known_by, hash=BLOB, quality=9, features=0
            ),
            ImageEmbedded(**post.identity, generation="g1", vector=VECTOR),
            ImageIndexed(**post.identity, generation="g1"),
        ]
        await self.add(*facts)
        return facts

    async def settle(self) -> None:
        """Acknowledge all messages of the stages."""
        js = self.client.jetstream()
        for durable in plan_consumers(STAGES, await read_generations(self.client)):
            subscription = await js.pull_subscribe_bind(durable.name, stream=durable.stream)
            while (await js.consumer_info(durable.stream, durable.name)).num_pending:
                for message in await subscription.fetch(100):
                    await message.ack_sync()
            await subscription.unsubscribe()

    async def audit(self, guild: str | None = None, indexes: Mapping[AuditedIndex, Path] | None = None) -> AuditReport:
        generation = (await read_generations(self.client)).active
        assert generation is not None
        state = await open_state(self.client)
        scope = Scope(self.client, generation, guild)
        return await audit(
            Sources(scope, self.catalogue, self.blobs, 0, state, frozenset({"all"}), None, indexes or {}, whole=not indexes)
        )


@pytest.fixture
async def archive(client: Client, journal: JetStreamJournal, tmp_path: Path) -> AsyncIterator[Archive]:
    await topology.ensure_topology(client, [])
    for fact in founding_facts(**MODEL):
        await journal.record(fact, Origin("g1"))
    await topology.ensure_topology(client, STAGES)
    catalogue = await open_sqlite_catalogue(tmp_path / "catalogue.sqlite")
    yield Archive(client, journal, catalogue, open_blob_store(tmp_path / "blobs"), tmp_path / "blobs")
    await catalogue.close()


def list_gaps(report: AuditReport) -> dict[str, Sequence[str]]:
    return {gap.kind: gap.found for gap in report.gaps}


def count_in_progress(report: AuditReport) -> dict[str, int]:
    return {step.name: step.on_the_way for step in report.steps if step.on_the_way}


async def test_a_complete_archive_has_no_gaps_and_reports_its_counts(archive: Archive) -> None:
    await archive.add_complete_image("1")
    await archive.add_complete_image("2", guild_id="8")
    for _ in range(2):
        report = await archive.audit()
        assert report.clean, report.gaps
        there = {step.name: step.there for step in report.steps}
        assert {
            there[name]
            for name in (
                "posted",
                "downloaded",
                "preprocessed",
                "fingerprinted in g1",
                "embedded in g1",
                "indexed",
                "in the catalogue",
            )
        } == {2}
        await archive.settle()
    assert {step.there for step in (await archive.audit("8")).steps if step.name in ("posted", "indexed", "with their vector")} == {
        1
    }


async def test_waiting_work_is_in_progress_and_missing_work_is_a_gap(archive: Archive) -> None:
    await archive.add_complete_image("1")
    post = posted("2")
    await archive.add(post, ImageDownloaded(**post.identity, blob=await archive.blobs.put(b"2"), size=1))
    await archive.record(posted("3"))
    report = await archive.audit()
    assert report.clean, report.gaps
    assert count_in_progress(report) == {"downloaded": 1, "preprocessed": 1, "in the catalogue": 1}
    await archive.settle()
    report = await archive.audit()
    assert list_gaps(report) == {"not-downloaded": ("3",), "not-preprocessed": ("2",), "no-document": ("3",)}
    assert count_in_progress(report) == {}
    assert (await archive.audit("8")).clean


async def test_an_unsettled_image_is_in_progress_although_later_ones_are_settled(archive: Archive) -> None:
    await archive.add(posted("1"), posted("2"))
    js = archive.client.jetstream()
    subscription = await js.pull_subscribe_bind("download-image", stream=IMAGES)
    first, second = await subscription.fetch(2)
    await second.ack_sync()
    assert count_in_progress(await archive.audit())["downloaded"] == 2, (
        "an image behind the first unsettled one may be in progress too"
    )
    await first.ack_sync()
    assert list_gaps(await archive.audit()) == {"not-downloaded": ("1", "2")}


async def test_a_dead_letter_explains_a_gap_until_it_is_put_back(archive: Archive) -> None:
    post = posted("1")
    await archive.add(post)
    await archive.settle()
    js, headers = archive.client.jetstream(), {"mapseek-subject": subject_of(post)}
    await js.publish(failure_subject("download", "image", 3), b"{}", headers=headers, stream=FAILURES)
    report = await archive.audit()
    assert list_gaps(report) == {"not-downloaded-dead-letter": ("1",)}
    assert report.gaps[0].commands == ("mapseek failures retry download/image/3",)
    await js.publish(retry_subject("download", "image", 3), b"{}", headers=headers, stream=RETRIES)
    report = await archive.audit()
    assert report.clean
    assert count_in_progress(report) == {"downloaded": 1}


async def test_leftovers_of_a_removed_image_are_gaps(archive: Archive) -> None:
    facts = await archive.add_complete_image("1")
    await archive.settle()
    removal = ImageRemoved(**facts[0].identity, message_id="10", removed_at=MOMENT, cause="deleted")
    await archive.record(removal.model_copy(update={"message_id": "11"}))
    report = await archive.audit()
    assert report.clean, report.gaps
    await archive.settle()
    report = await archive.audit()
    assert list_gaps(report) == {"not-erased": ("1",), "removed-catalogued": ("1",)}
    assert {command for gap in report.gaps for command in gap.commands} == {"mapseek replay --stage erase --image 1"}
    js = archive.client.jetstream()
    for fact in facts:
        await js.purge_stream(IMAGES, subject=subject_of(fact))
    await archive.catalogue.remove("1")
    report = await archive.audit()
    assert list(list_gaps(report)) == ["blob-orphan"], "no fact names its image any more"


async def test_a_document_without_a_post_and_lost_blobs_are_found(archive: Archive) -> None:
    facts = await archive.add_complete_image("1")
    await archive.catalogue.merge("2", {"metadata": {"guild_id": "7"}})
    await archive.settle()
    assert isinstance(facts[1], ImageDownloaded)
    await archive.blobs.delete(facts[1].blob)
    assert isinstance(facts[3], ImageFingerprinted)
    await archive.blobs.delete(facts[3].fingerprint)
    orphan = await archive.blobs.put(b"nobody's")
    report = await archive.audit()
    assert list_gaps(report) == {
        "never-posted": ("2",),
        "blob-lost-download": ("1",),
        "blob-lost-preprocess": ("1",),
        "blob-lost-fingerprint": ("1",),
        "blob-orphan": (orphan,),
    }


async def test_a_local_file_that_waits_for_its_download_is_no_orphan(archive: Archive) -> None:
    blob = await archive.blobs.put(b"local")
    await archive.record(posted("1").model_copy(update={"source": StoredFile(blob=blob)}))
    report = await archive.audit()
    assert report.clean, report.gaps


async def test_pictures_of_a_preprocessing_that_no_generation_uses_are_not_missed(archive: Archive) -> None:
    """No stage can make them again."""
    *_, picture, known_by, _, _ = await archive.add_complete_image("1")
    await archive.record(
        picture.model_copy(update={"preprocessing": "p0", "pixels": "ab" * 32, "thumbnail": "cd" * 32}),
        known_by.model_copy(update={"generation": "g0", "fingerprint": "ef" * 32}),
    )
    await archive.settle()
    report = await archive.audit()
    assert report.clean, report.gaps


async def test_a_missing_fingerprint_is_a_gap_once_no_stage_works_on_it(archive: Archive) -> None:
    """This happens when a release adds the stage, and it fingerprints the whole archive in the background."""
    facts = await archive.add_complete_image("1")
    await archive.client.jetstream().purge_stream(IMAGES, subject=subject_of(facts[3]))
    report = await archive.audit()
    assert report.clean, report.gaps
    assert count_in_progress(report) == {"fingerprinted in g1": 1}
    await archive.settle()
    report = await archive.audit()
    assert list_gaps(report)["not-fingerprinted"] == ("1",)
    assert [gap.commands for gap in report.gaps if gap.kind == "not-fingerprinted"] == [
        ("mapseek replay --stage fingerprint --image 1",)
    ]


async def test_a_damaged_blob_is_reported_for_every_image_that_shares_it(archive: Archive) -> None:
    blob = await archive.blobs.put(b"shared")
    for image in ("1", "2", "3"):
        post = posted(image)
        await archive.add(post, ImageDownloaded(**post.identity, blob=blob, size=1))
    await archive.record(ImageRejected(**posted("1").identity, stage="preprocess", code=RejectCode.NOT_AN_IMAGE, reason="no"))
    (file,) = archive.folder.glob(f"*/*/{blob}")
    file.write_bytes(b"damaged")
    assert list_gaps(await archive.audit())["blob-lost-download"] == ("2", "3")


async def test_all_leftovers_of_removals_are_reported(archive: Archive) -> None:
    """The facts of a rejected image are erased too."""
    for number in range(3):
        post = posted(str(number))
        await archive.catalogue.remove(post.image_id)
        rejected = ImageRejected(**post.identity, stage="download", code=RejectCode.NOT_AN_IMAGE, reason="no")
        removal = ImageRemoved(**post.identity, message_id="11", removed_at=MOMENT, cause="deleted")
        await archive.record(rejected, removal, ImageIndexed(**post.identity, generation="g1"))
    await archive.settle()
    assert list_gaps(await archive.audit()) == {"not-erased": ("0", "1", "2")}


async def test_a_fingerprint_missing_in_the_feature_index_is_found_and_a_rebuild_adds_it(archive: Archive) -> None:
    """This happens after its blob was lost for a while: when the blob is made again, the fact is not recorded again."""
    folder, kind = archive.folder.parent / "features", build_feature_kind(archive.blobs)
    for number in (1, 2):
        *_, known_by, _, _ = await archive.add_complete_image(str(number), fingerprint=archived_fingerprint(number))
    await archive.settle()
    assert isinstance(known_by, ImageFingerprinted)
    await archive.blobs.delete(known_by.fingerprint)

    async def rebuild() -> None:
        await rebuild_snapshot(archive.client, folder, kind, verify=False, progress=lambda _done, _total: None)

    await rebuild()
    report = await archive.audit(indexes={FEATURE_INDEX: folder})
    assert list_gaps(report) == {"not-in-features": ("2",), "blob-lost-fingerprint": ("2",)}
    assert [command for gap in report.gaps for command in gap.commands] == [
        "mapseek replay --stage fingerprint --image 2",
        "mapseek rebuild index",
    ]
    await archive.blobs.put(archived_fingerprint(2))
    await rebuild()
    report = await archive.audit(indexes={FEATURE_INDEX: folder})
    assert report.clean, report.gaps
    assert {step.name: step.there for step in report.steps}["in the feature index"] == 2


async def test_subjects_are_listed_over_several_pages_of_the_servers_answer(archive: Archive) -> None:
    js = archive.client.jetstream()
    for number in range(100_002):
        await js.publish_async(f"mapseek.image.posted.v1.7.{number}.{number}", b"", stream=IMAGES)
    await js.publish_async_completed()
    subjects, last = await scan_subjects(js, IMAGES, [kind_filter(ImagePosted)])
    assert len(set(subjects)) == len(subjects) == 100_002
    assert last >= 100_002
    assert await scan_subjects(js, IMAGES, [kind_filter(ImageRemoved)]) == ([], last)
