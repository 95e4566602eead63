"""What is removed from an installation is removed from its export too."""

from datetime import timedelta
from pathlib import Path

from contracts.state import ForgetRequest
from contracts.subjects import FAILURES, IMAGES, INCIDENTS, JUDGEMENTS, RETRIES, forgotten_key
from infra.nats.erasure import LogErasure
from infra.nats.state import open_state
from pipeline.backup.archive_file import BLOBS
from pipeline.clock import utc_now
from tests.support.backups import Installation, list_blob_names, record_removal, record_sample_log, record_vote_and_alert


async def test_an_image_removed_between_two_exports_is_not_in_the_archive(
    source: Installation, target: Installation, archive: Path
) -> None:
    """It does not matter whether the image is already erased from the log."""
    await record_sample_log(source)
    await source.export(archive)
    traces = [b"map-2.png", b"Steve the 2th", b"pixels of 2", b"thumbnail of 2", b"file of 2"]
    assert all(trace in archive.read_bytes() for trace in traces)
    await record_removal(source, 2)
    await record_removal(source, 3)
    await LogErasure(source.client).erase_image("7", "image-2", 10_000)
    exported = await source.export(archive)
    assert exported.missing == []
    data = archive.read_bytes()
    assert [trace for trace in [*traces, b"map-3.png", b"pixels of 3"] if trace in data] == []
    assert b"map-1.png" in data
    await target.restore(archive)
    subjects = [subject for subject, _, _ in await target.dump(IMAGES)]
    assert [subject.split(".")[2] for subject in subjects if "image-2" in subject or "image-3" in subject] == ["removed", "removed"]
    for stream in (FAILURES, RETRIES, INCIDENTS):
        left = str(await target.dump(stream))
        assert ("image-1" in left, "image-2" in left, "image-3" in left) == (True, False, False)
    assert [entry.image_id async for entry in target.catalogue.scan()] == ["image-1"]
    assert await target.catalogue.is_removed("image-2")
    assert len((await list_blob_names(target))[BLOBS]) == 4


async def test_votes_and_alerts_of_forgotten_people_are_not_in_the_archive(source: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await record_vote_and_alert(source, "6", 2)
    await source.export(archive)
    assert b"Alex the 1th" in archive.read_bytes()
    until = ForgetRequest(until=utc_now() + timedelta(seconds=1))
    await (await open_state(source.client)).put(forgotten_key("7", "5"), until.model_dump_json().encode())
    await source.export(archive)
    data = archive.read_bytes()
    assert b"Alex the 1th" not in data
    assert b"voted 1" not in data
    assert b"Alex the 2th" in data


async def test_entries_purged_from_the_log_are_deleted_from_the_archive(source: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.export(archive)
    await source.client.jetstream().purge_stream(JUDGEMENTS)
    await source.client.jetstream().purge_stream(FAILURES)
    await source.client.jetstream().purge_stream(RETRIES)
    await source.export(archive)
    data = archive.read_bytes()
    assert b"voted 1" not in data
    assert b"mapseek.failure." not in data
    assert b"mapseek.retry." not in data
    assert b"awaited 1" in data
