"""Building a generation: by several processes at once, with pause, cancellation and refusal."""

import asyncio
import os
from itertools import count as numbers

import pytest

from contracts.errors import MapSeekError
from contracts.events import ImageEmbedded, ImageFingerprinted, ImageIndexed
from contracts.subjects import IMAGES, variant_filter
from infra.tasks import cancel_tasks
from pipeline.engine.bulk_consumer import Limits
from pipeline.generations.progress import is_build_paused, read_generation_progress
from pipeline.replay.build import build, cancel_generation, pause_generation, resume_generation, start_or_join_generation
from tests.support.bench_stage import count_messages
from tests.support.replays import (
    IMAGES_TO_REPLAY,
    DigestEncoder,
    ReplayArchive,
    record_preprocessed,
    start_generation,
    wait_for_count,
)
from tests.support.waiting import eventually


async def test_a_build_completes_a_generation_without_other_processes(archive: ReplayArchive) -> None:
    model = DigestEncoder("second")
    async with archive.process(model) as process:
        client, journal = process.container.client, process.container.journal
        generation = await start_generation(process, model)
        assert generation.name == "g2"
        found = await read_generation_progress(client, generation)
        assert (found.total, found.done, found.missing) == (IMAGES_TO_REPLAY, 0, IMAGES_TO_REPLAY)
        await record_preprocessed(process, IMAGES_TO_REPLAY)  # one that is recorded during the build
        await build(process, generation, Limits(), 4)
        found = await read_generation_progress(client, generation)
        assert (found.total, found.done, found.missing) == (IMAGES_TO_REPLAY + 1, IMAGES_TO_REPLAY + 1, 0)
        for kind in (ImageFingerprinted, ImageIndexed):
            await wait_for_count(process, kind, IMAGES_TO_REPLAY + 1, "g2")
        assert len(model.given) == IMAGES_TO_REPLAY + 1
        catalogue = await process.container.catalogue()
        assert await catalogue.vector("000", "g2") is not None
        past = await client.jetstream().get_last_msg(IMAGES, "mapseek.image.embedded.v1.7.000.g2")
        new = await client.jetstream().get_last_msg(IMAGES, f"mapseek.image.embedded.v1.7.{IMAGES_TO_REPLAY:03}.g2")
        assert "mapseek-replayed" in (past.headers or {})
        assert "mapseek-replayed" not in (new.headers or {})
        assert await journal.holds(ImageEmbedded, "7", "000", "g1")
        known = [await journal.fetch(ImageFingerprinted, "7", "000", name) for name in ("g1", "g2")]
        assert known[0] is not None
        assert known[1] == known[0].model_copy(update={"generation": "g2"})
        with pytest.raises(MapSeekError, match="not being built"):
            await pause_generation(process.container, "g2")


async def test_two_processes_share_the_work_and_a_third_finds_nothing_left(archive: ReplayArchive) -> None:
    models = [DigestEncoder("second") for _ in range(3)]
    async with archive.process(models[0]) as one, archive.process(models[1]) as two, archive.process(models[2]) as three:
        generation = await start_generation(one, models[0])
        assert await start_generation(two, models[1]) == generation
        for model in models[:2]:
            model.open.clear()
        building = asyncio.gather(*(build(process, generation, Limits(), 4) for process in (one, two)))
        # Neither can finish before the other one has had its share, however busy the machine is.
        await eventually(lambda: all(model.given for model in models[:2]))
        for model in models[:2]:
            model.open.set()
        await building
        assert (await read_generation_progress(one.container.client, generation)).missing == 0
        assert len(models[0].given) + len(models[1].given) == IMAGES_TO_REPLAY
        await build(three, await start_generation(three, models[2]), Limits(), 4)
        assert models[2].given == []


async def test_a_paused_build_waits_until_it_is_resumed(archive: ReplayArchive) -> None:
    model = DigestEncoder("second")
    model.open.clear()
    async with archive.process(model) as process:
        generation = await start_generation(process, model)
        building = asyncio.create_task(build(process, generation, Limits(), 4))
        await eventually(lambda: len(model.given) == 12)
        await pause_generation(process.container, "g2")
        model.open.set()
        await wait_for_count(process, ImageEmbedded, 12, "g2")
        assert await is_build_paused(process.container.client, generation)
        fingerprinted = await count_messages(process.container.client, IMAGES, variant_filter(ImageFingerprinted, "g2"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(building), 2)
        assert len(model.given) == 12
        now = await count_messages(process.container.client, IMAGES, variant_filter(ImageFingerprinted, "g2"))
        assert now <= fingerprinted + 2 * (os.cpu_count() or 1), "no more than the work that had started"
        await cancel_tasks(building)
    async with archive.process(model) as process:
        assert await is_build_paused(process.container.client, generation)
        await resume_generation(process.container, "g2")
        await build(process, generation, Limits(), 4)
        assert (await read_generation_progress(process.container.client, generation)).missing == 0
        assert len(model.given) == IMAGES_TO_REPLAY


async def test_an_active_generation_without_fingerprints_gets_them(archive: ReplayArchive) -> None:
    """This happens when a release adds the stage: the vectors exist already and do not change."""
    model = DigestEncoder("first")
    async with archive.process(model) as process:
        client = process.container.client
        await client.jetstream().purge_stream(IMAGES, subject=variant_filter(ImageFingerprinted, "g1"))
        generation = (await process.container.generations()).now.known["g1"]
        assert (await read_generation_progress(client, generation)).missing == IMAGES_TO_REPLAY
        await build(process, generation, Limits(), 4)
        assert (await read_generation_progress(client, generation)).missing == 0
        assert model.given == []


async def test_a_cancelled_build_leaves_nothing_and_its_name_is_not_used_again(archive: ReplayArchive) -> None:
    model, other = DigestEncoder("second"), DigestEncoder("other")
    async with archive.process(model) as process, archive.process(other) as beside:
        generation = await start_generation(process, model)
        building = asyncio.create_task(build(process, generation, Limits(rate=20), 4))
        await eventually(lambda: len(model.given) >= 12)
        await cancel_generation(beside.container, "g2")
        with pytest.raises(MapSeekError, match="was cancelled"):
            await building
        for kind in (ImageEmbedded, ImageIndexed):
            assert await count_messages(process.container.client, IMAGES, variant_filter(kind, "g2")) == 0
        with pytest.raises(MapSeekError, match="used before"):
            await start_or_join_generation(beside, other, "fake", None, "g2")  # type: ignore[arg-type]
        assert (await start_generation(beside, other)).name == "g3"
        with pytest.raises(MapSeekError, match="Searches were answered from generation g1"):
            await cancel_generation(beside.container, "g1")


async def test_a_second_generation_of_the_same_vectors_is_refused(archive: ReplayArchive) -> None:
    async with archive.process(DigestEncoder("first")) as process:
        with pytest.raises(MapSeekError, match=r"g1 has the same vectors.*nothing to build"):
            await start_generation(process, DigestEncoder("first"))
        await start_generation(process, DigestEncoder("second"))
        with pytest.raises(MapSeekError, match=r"being built already.*--name g2"):
            await start_or_join_generation(process, DigestEncoder("second"), "fake", None, "mine")  # type: ignore[arg-type]


async def test_an_interrupted_build_gives_its_messages_back_at_once(archive: ReplayArchive) -> None:
    model = DigestEncoder("second")
    model.open.clear()
    async with archive.process(model) as process:
        generation = await start_generation(process, model)
        building = asyncio.create_task(build(process, generation, Limits(), 4))
        await eventually(lambda: len(model.given) == 12)
        await cancel_tasks(building)
        model.open.set()
        async with asyncio.timeout(20):  # and not only after the half minute of the acknowledgement timer
            await build(process, generation, Limits(), 4)
        assert (await read_generation_progress(process.container.client, generation)).missing == 0


@pytest.mark.parametrize("turn", [6, 9, 12])
async def test_an_interrupted_build_gives_messages_in_transit_back_at_once(archive: ReplayArchive, turn: int) -> None:
    turns = numbers(1)

    def interrupted_in_time() -> float:
        if next(turns) == turn:  # a worker fetches next, and others hold messages
            building.cancel()
        return 0.0

    model = DigestEncoder("second")
    async with archive.process(model) as process:
        generation = await start_generation(process, model)
        building = asyncio.create_task(build(process, generation, Limits(max_load=1, load=interrupted_in_time), 4))
        await asyncio.gather(building, return_exceptions=True)
        assert len(model.given) < IMAGES_TO_REPLAY
        async with asyncio.timeout(20):
            await build(process, generation, Limits(), 4)
        assert (await read_generation_progress(process.container.client, generation)).missing == 0
