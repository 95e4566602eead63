"""Rebuilding the vector index from a real log, in every process that holds it, or on disk if none does."""

from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from contracts.errors import MapSeekError
from contracts.events import GenerationDropped, ImageEmbedded
from contracts.subjects import REBUILD_INDEX
from infra.nats.journal import JetStreamJournal
from infra.vectors.snapshot import load
from pipeline.projections.rebuild_index import ask_processes, rebuild_snapshot
from pipeline.projections.snapshots import RebuildReport
from tests.support.replays import IMAGES_POSTED, OpenIndex, image_history, keep_searching, record_facts, vector_at
from tests.support.vector_search import ids_of


def ignore_progress(_: int, __: int) -> None:
    """Do nothing with the progress."""


async def ask_without_progress(client: Client, *, verify: bool, **more: Any) -> list[RebuildReport]:
    return await ask_processes(client, verify=verify, on_report=lambda _: None, **more)


async def test_every_process_that_holds_the_index_compares_it_with_the_log(
    client: Client, log: JetStreamJournal, open_index: OpenIndex
) -> None:
    async with open_index() as one, open_index() as other, keep_searching(one), keep_searching(other):
        reports = await ask_without_progress(client, verify=True)
    assert [report.state for report in reports] == ["done", "done"]
    digests = {digest for report in reports if report.comparison for digest in (report.comparison.before, report.comparison.after)}
    assert len(digests) == 1
    assert {report.comparison.vectors for report in reports if report.comparison} == {2 * (IMAGES_POSTED - 1)}


async def test_a_rebuilt_index_answers_all_the_time_and_follows_the_log(
    client: Client, log: JetStreamJournal, open_index: OpenIndex, folder: Path
) -> None:
    async with open_index() as index:
        before = index.index
        async with keep_searching(index):
            (report,) = await ask_without_progress(client, verify=False)
        assert report.comparison is not None
        assert report.comparison.before == report.comparison.after
        assert index.index is not before
        (saved,) = [load(folder)]
        assert saved is not None
        assert saved.position == report.comparison.position
        await record_facts(log, *image_history("99"))
        assert ids_of(await index.search("7", "g1", vector_at(99), top=1, channels=None)) == ["99"]
        (after,) = await ask_without_progress(client, verify=True)
        assert after.comparison is not None
        assert after.comparison.before == after.comparison.after != report.comparison.after


async def test_a_planted_difference_in_an_index_is_found_and_a_rebuild_repairs_it(
    client: Client, log: JetStreamJournal, open_index: OpenIndex
) -> None:
    async with open_index() as index:
        index.index.add("7", "g1", "10", "8", vector_at(77))
        for verify, identical in ((True, False), (True, False), (False, False), (True, True)):
            (report,) = await ask_without_progress(client, verify=verify)
            assert report.comparison is not None
            assert (report.comparison.before == report.comparison.after) is identical


async def test_the_snapshot_is_rebuilt_if_no_process_holds_the_index(
    client: Client, log: JetStreamJournal, open_index: OpenIndex, folder: Path
) -> None:
    assert await ask_without_progress(client, verify=True) == []
    assert await rebuild_snapshot(client, folder, verify=True, progress=ignore_progress) is None
    made = await rebuild_snapshot(client, folder, verify=False, progress=ignore_progress)
    assert made is not None
    async with open_index() as index:
        index.index.remove("11")
        with pytest.raises(MapSeekError, match="has the vector index open"):
            await rebuild_snapshot(client, folder, verify=True, progress=ignore_progress)
        await record_facts(log, *image_history("99"))
        await index.search("7", "g1", vector_at(99), top=1, channels=None)
    for verify, identical in ((True, False), (False, False), (True, True)):
        found = await rebuild_snapshot(client, folder, verify=verify, progress=ignore_progress)
        assert found is not None
        assert (found.before == found.after) is identical
        assert found.vectors == made.vectors + 2


async def test_a_process_that_dies_during_a_rebuild_is_reported(client: Client, log: JetStreamJournal) -> None:
    async def report_and_die(message: Any) -> None:
        await message.respond(RebuildReport(process="elsewhere/1", index="vector index").model_dump_json().encode())

    await client.subscribe(REBUILD_INDEX, cb=report_and_die)
    (report,) = await ask_without_progress(client, verify=True, silent_for=0.5)
    assert report.state == "failed"
    assert "the process ended" in report.reason


async def test_a_dropped_generation_is_deleted_from_the_index_and_its_snapshot(
    client: Client, log: JetStreamJournal, open_index: OpenIndex, folder: Path
) -> None:
    async with open_index() as index:
        assert await index.search("7", "g2", vector_at(10), top=1, channels=None)
        await record_facts(log, GenerationDropped(generation="g2"))
        late = ImageEmbedded(guild_id="7", channel_id="8", image_id="99", generation="g2", vector=vector_at(99))
        await record_facts(log, late)
        assert list(await index.search("7", "g2", vector_at(10), top=1, channels=None)) == []
        assert index.count("g1") == IMAGES_POSTED - 1
    saved = load(folder)
    assert saved is not None
    assert saved.dropped == {"g2"}
    assert {generation for _, generation in saved.shards} == {"g1"}
    async with open_index() as index:
        await record_facts(log, late.model_copy(update={"image_id": "98"}))
        assert list(await index.search("7", "g2", vector_at(10), top=1, channels=None)) == []
        (report,) = await ask_without_progress(client, verify=True)
        assert report.comparison is not None
        assert report.comparison.before == report.comparison.after
