"""A build continues or waits if processes are killed or the log is away, and loses no new message."""

import asyncio
from pathlib import Path

from contracts.errors import Unavailable
from contracts.events import GenerationStarted, ImageEmbedded, ImageIndexed
from contracts.subjects import IMAGES, kind_filter, variant_filter
from infra.nats.erasure import LogErasure
from infra.nats.reader import read_last_sequence
from pipeline.engine import consumers
from pipeline.engine.bulk_consumer import Concurrency, Limits, ReplaySpan, replay_span
from pipeline.engine.job import Job
from pipeline.failures.letters import list_letters, retry_letter
from pipeline.generations.progress import read_generation_progress
from pipeline.replay.build import build
from pipeline.stage_dependencies import open_dependencies
from stages import embed
from tests.support.archives import tiny_picture
from tests.support.bench_stage import count_messages
from tests.support.impatient import NICENESS_VARIABLE
from tests.support.programs import IMPATIENT_MAPSEEK, log_environment, run_program
from tests.support.replays import (
    IMAGES_TO_REPLAY,
    DigestEncoder,
    ReplayArchive,
    record_preprocessed,
    start_generation,
    wait_for_count,
)
from tests.support.waiting import eventually


async def test_a_killed_build_continues_where_it_was(impatient_log: None, archive: ReplayArchive, tmp_path: Path) -> None:
    environment = {
        "MAPSEEK_DATA_DIR": str(archive.folder),
        **log_environment(archive.address),
        "MAPSEEK_BATCH_SIZE": "4",
        NICENESS_VARIABLE: "0",
    }

    async def run_to_end(*arguments: str) -> str:
        async with run_program(tmp_path / "log", *arguments, environment=environment, command=IMPATIENT_MAPSEEK) as replay:
            assert await asyncio.wait_for(replay.process.wait(), 60) == 0, replay.log.read_text()
            return replay.log.read_text()

    async with archive.process(DigestEncoder("first")) as process:
        client = process.container.client
        before = await read_last_sequence(client, IMAGES)
        assert "pictures to embed" in await run_to_end("replay", "--encoder", "mapseek-untrained", "--dry-run")
        assert await read_last_sequence(client, IMAGES) == before
        arguments = ("replay", "--encoder", "mapseek-untrained", "--rate", "10")
        async with run_program(tmp_path / "killed", *arguments, environment=environment, command=IMPATIENT_MAPSEEK) as replay:

            async def some() -> bool:
                return await count_messages(client, IMAGES, variant_filter(ImageEmbedded, "g2")) >= 8

            await eventually(some, 60, every=0.2)
            await replay.kill()
        assert 8 <= await count_messages(client, IMAGES, variant_filter(ImageEmbedded, "g2")) < IMAGES_TO_REPLAY
        assert "mapseek activate g2" in await run_to_end("replay", "--name", "g2")
        for kind in (ImageEmbedded, ImageIndexed):
            assert await count_messages(client, IMAGES, variant_filter(kind, "g2")) == IMAGES_TO_REPLAY
        assert await count_messages(client, IMAGES, kind_filter(GenerationStarted)) == 2
        assert await count_messages(client, "FAILURES") == 0


async def test_new_messages_are_processed_while_a_build_helps_other_processes(archive: ReplayArchive) -> None:
    """A build must not acknowledge messages unprocessed on consumers that it shares with other processes."""
    model = DigestEncoder("first")
    async with archive.process(model) as process:
        container = process.container
        client = container.client
        now = (await container.generations()).now
        durable = consumers.plan_generation_consumer(embed.STAGE, "image", now.known["g1"], now)
        track = ReplaySpan(durable.stream, durable.name, await read_last_sequence(client, IMAGES), patience=5)
        await record_preprocessed(process, IMAGES_TO_REPLAY)
        job = Job(embed.STAGE, "image", await open_dependencies(embed.STAGE, "image", container, now.known["g1"]), "g1")
        await replay_span(client, track, job, process.runtime, Limits(), Concurrency(1, 4))
        await wait_for_count(process, ImageEmbedded, IMAGES_TO_REPLAY + 1)


async def test_a_dead_letter_of_a_build_names_the_build_and_is_retried_in_its_generation(archive: ReplayArchive) -> None:
    model = DigestEncoder("second")
    model.cannot = tiny_picture(7)
    async with archive.process(model) as process:
        client, journal = process.container.client, process.container.journal
        generation = await start_generation(process, model)
        await build(process, generation, Limits(), 4)
        assert (await read_generation_progress(client, generation)).missing == 1
        [letter] = await list_letters(client)
        assert letter.id.startswith("embed/image/")
        assert letter.id.endswith("/g2")
        assert letter.worker.consumer == "embed-image-g2-past"
        incidents = await client.jetstream().stream_info("INCIDENTS", subjects_filter="mapseek.incident.*.*.7.007.>")
        # While the archive was filled, its vector may have reached the catalogue before its post. That is an incident too.
        told_of = {subject.split(".")[6] for subject in incidents.state.subjects or {}} - {"persist-image-g1"}
        assert told_of == {"embed-image-g2-past"}
        model.cannot = None
        await retry_letter(letter, journal, LogErasure(client))
    async with archive.live(model, DigestEncoder("first")) as process:
        await wait_for_count(process, ImageIndexed, IMAGES_TO_REPLAY, "g2")
        told = await process.container.client.jetstream().get_last_msg(IMAGES, "mapseek.image.embedded.v1.7.007.g2")
        assert "mapseek-replayed" in (told.headers or {})


async def test_a_build_waits_for_the_log_while_it_checks_what_is_done(impatient_log: None, archive: ReplayArchive) -> None:
    model = DigestEncoder("second")
    async with archive.process(model) as process:
        generation = await start_generation(process, model)
        away = 3

        async def skip(_: object) -> bool:
            nonlocal away
            away -= 1
            if away >= 0:
                raise Unavailable("log", "no acknowledgement within 5 s")
            return False

        durable = consumers.plan_build_consumer(embed.STAGE, "image", generation)
        await consumers.ensure_consumer(process.container.client, durable)
        job = Job(
            embed.STAGE,
            "image",
            await open_dependencies(embed.STAGE, "image", process.container, generation),
            "g2",
            replay=durable.name,
        )
        track = ReplaySpan(durable.stream, durable.name, generation.sequence)
        await replay_span(process.container.client, track, job, process.runtime, Limits(), Concurrency(2, 4), skip=skip)
        await wait_for_count(process, ImageEmbedded, IMAGES_TO_REPLAY, "g2")
