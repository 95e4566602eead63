"""The feature index that follows a real log: up to date, restarted, rebuilt, and not stopped by damaged fingerprints."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from contracts.envelope import Origin
from contracts.events import Fact, GenerationDropped, ImageFingerprinted, ImageRemoved
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.features.snapshot import load
from infra.nats.journal import JetStreamJournal
from infra.vision.prints import unpack_print
from pipeline.engine import topology
from pipeline.projections.features import FeatureProjection, build_feature_kind, open_feature_projection
from pipeline.projections.rebuild_index import ask_processes, rebuild_snapshot
from pipeline.projections.snapshots import RebuildReport, open_vector_projection
from tests.support.facts import MOMENT, posted
from tests.support.feature_search import archived_fingerprint, ids_of, query_fingerprint
from tests.support.posts import hidden, removed, shown
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
async def logs(client: Client) -> None:
    await topology.ensure_topology(client, [])


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobStore:
    return open_blob_store(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "features"


@pytest.fixture
async def index(client: Client, folder: Path, blobs: FileBlobStore) -> AsyncIterator[FeatureProjection]:
    async with open_feature_projection(client, folder, blobs) as projected:
        yield projected


async def record(journal: JetStreamJournal, *facts: Fact) -> None:
    for fact in facts:
        assert await journal.record(fact, Origin("1"))


async def put_fingerprint(
    blobs: FileBlobStore, number: int, *, channel_id: str = "70", thread_of: str | None = None, generation: str = "g1"
) -> ImageFingerprinted:
    data = archived_fingerprint(number)
    made = unpack_print(data)
    return ImageFingerprinted(
        guild_id="7",
        channel_id=channel_id,
        image_id=str(number),
        thread_of=thread_of,
        generation=generation,
        method="f1",
        fingerprint=await blobs.put(data),
        hash=made.hash.hex(),
        quality=made.quality,
        features=len(made.words),
    )


async def find_best(index: FeatureProjection, number: int, channels: list[str] | None = None) -> list[str]:
    return ids_of(await index.candidates("7", "g1", query_fingerprint(number), top=1, channels=channels))


async def ask_all_processes(client: Client, *, verify: bool) -> list[RebuildReport]:
    return await ask_processes(client, verify=verify, on_report=lambda _: None)


async def test_a_search_finds_what_was_just_recorded_and_only_in_its_channels(
    index: FeatureProjection, journal: JetStreamJournal, blobs: FileBlobStore
) -> None:
    await record(journal, *[await put_fingerprint(blobs, number) for number in range(1, 6)])
    await record(journal, await put_fingerprint(blobs, 6, channel_id="71", thread_of="70"))
    assert await find_best(index, 6) == await find_best(index, 6, ["70"]) == ["6"]
    assert await find_best(index, 6, ["71"]) == []
    assert await index.size("7", "g1") == 6
    assert set(await index.fingerprints("7", "g1", ["3", "99"])) == {"3"}


async def test_removed_images_and_dropped_generations_are_not_found(
    index: FeatureProjection, journal: JetStreamJournal, blobs: FileBlobStore
) -> None:
    await record(
        journal, await put_fingerprint(blobs, 1), await put_fingerprint(blobs, 2), await put_fingerprint(blobs, 3, generation="g2")
    )
    assert await find_best(index, 1) == ["1"]
    await record(
        journal,
        ImageRemoved(guild_id="7", channel_id="70", image_id="1", message_id="9", removed_at=MOMENT, cause="deleted"),
        GenerationDropped(generation="g2"),
    )

    async def forgotten() -> bool:
        return await index.size("7", "g1") == 1 and await index.size("7", "g2") == 0

    await eventually(forgotten)
    assert "1" not in await find_best(index, 1)


async def test_a_hidden_image_is_not_found_at_once_nor_after_a_restart_or_a_rebuild(
    client: Client, folder: Path, journal: JetStreamJournal, blobs: FileBlobStore
) -> None:
    post = posted("1")
    async with open_feature_projection(client, folder, blobs) as index:
        await record(journal, await put_fingerprint(blobs, 1), await put_fingerprint(blobs, 2))
        for fact, found in ((hidden(post), False), (shown(post), True), (hidden(post, 2), False)):
            await record(journal, fact)
            assert ("1" in await find_best(index, 1)) is found
            assert ("1" in await index.fingerprints("7", "g1", ["1"])) is found
        compared = await index.rebuild(verify=False, progress=lambda _, __: None)
        assert compared.before == compared.after
        assert "1" not in await find_best(index, 1)
    async with open_feature_projection(client, folder, blobs) as index:
        assert "1" not in await find_best(index, 1)
        await record(journal, shown(post, 2))
        assert await find_best(index, 1) == ["1"]
        await record(journal, removed(post))
        assert "1" not in await find_best(index, 1)


async def test_a_missing_or_damaged_fingerprint_is_left_out_with_a_warning(
    index: FeatureProjection, journal: JetStreamJournal, blobs: FileBlobStore
) -> None:
    missing, good = await put_fingerprint(blobs, 1), await put_fingerprint(blobs, 3)
    await blobs.delete(missing.fingerprint)
    rubbish = (await put_fingerprint(blobs, 2)).model_copy(update={"fingerprint": await blobs.put(b"rubbish")})
    with capture_logs() as logs:
        await record(journal, missing, rubbish, good)
        assert await find_best(index, 3) == ["3"]
    assert await index.size("7", "g1") == 1
    warned = [line["image_id"] for line in logs if line["event"] == "fingerprint_not_indexed"]
    assert warned == ["1", "2"]


async def test_a_restart_continues_from_the_snapshot_without_reading_its_blobs_again(
    client: Client, folder: Path, journal: JetStreamJournal, blobs: FileBlobStore
) -> None:
    first = await put_fingerprint(blobs, 1)
    async with open_feature_projection(client, folder, blobs) as index:
        await record(journal, first)
        assert await find_best(index, 1) == ["1"]
    await blobs.delete(first.fingerprint)
    await record(journal, await put_fingerprint(blobs, 2))
    async with open_feature_projection(client, folder, blobs) as index:
        assert await find_best(index, 1) == ["1"]
        assert await find_best(index, 2) == ["2"]
    saved = load(folder)
    assert saved is not None
    assert len(saved) == 2


async def test_both_indexes_are_compared_with_the_log_and_a_rebuild_repairs_a_difference(
    client: Client, tmp_path: Path, index: FeatureProjection, journal: JetStreamJournal, blobs: FileBlobStore
) -> None:
    await record(journal, await put_fingerprint(blobs, 1), await put_fingerprint(blobs, 2))
    assert await find_best(index, 2) == ["2"]
    async with open_vector_projection(client, tmp_path / "vectors"):
        reports = await ask_all_processes(client, verify=True)
    assert sorted(report.index for report in reports) == ["feature index", "vector index"]
    assert {report.state for report in reports} == {"done"}
    assert all(report.comparison and report.comparison.before == report.comparison.after for report in reports)
    index.index.remove("1")
    for verify, identical in ((True, False), (False, False), (True, True)):
        (report,) = await ask_all_processes(client, verify=verify)
        assert report.comparison is not None
        assert (report.comparison.before == report.comparison.after) is identical
    assert await find_best(index, 1) == ["1"]


async def test_the_snapshot_of_an_index_that_no_process_holds_is_rebuilt(
    client: Client, folder: Path, journal: JetStreamJournal, blobs: FileBlobStore
) -> None:
    await record(journal, await put_fingerprint(blobs, 1), await put_fingerprint(blobs, 2))
    kind = build_feature_kind(blobs)
    for verify, found in ((True, None), (False, 2), (True, 2)):
        comparison = await rebuild_snapshot(client, folder, kind, verify=verify, progress=lambda _, __: None)
        assert (comparison.vectors if comparison else None) == found
    assert comparison is not None
    assert comparison.before == comparison.after
