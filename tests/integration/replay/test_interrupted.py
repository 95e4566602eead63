"""A build goes on, or waits, whatever is killed or goes away, and loses nothing that comes meanwhile."""

import asyncio
from pathlib import Path

from contracts.errors import Unavailable
from contracts.events import GenerationStarted, ImageEmbedded, ImageIndexed
from contracts.subjects import IMAGES, kind_filter, variant_filter
from infra.nats.erasure import LogErasure
from infra.nats.reader import last_sequence
from pipeline.engine import consumers
from pipeline.engine.bulk_consumer import Hands, Limits, Track, play
from pipeline.engine.job import Job
from pipeline.failures.letters import letters, put_back
from pipeline.generations.progress import standing
from pipeline.replay.build import build
from pipeline.stage_dependencies import dependencies
from stages import embed
from tests.support.archives import tiny
from tests.support.bench_stage import count
from tests.support.impatient import NICENESS
from tests.support.programs import IMPATIENT, program
from tests.support.replays import IMAGES_THERE, Archive, Model, holds, post, started
from tests.support.waiting import eventually


async def test_killed_in_the_middle_it_goes_on_where_it_was(impatient_log: None, archive: Archive, tmp_path: Path) -> None:
    environment = {"MAPSEEK_DATA_DIR": str(archive.folder), "NATS_URL": archive.url, "MAPSEEK_BATCH_SIZE": "4", NICENESS: "0"}

    async def to_the_end(*arguments: str) -> str:
        async with program(tmp_path / "log", *arguments, environment=environment, command=IMPATIENT) as replay:
            assert await asyncio.wait_for(replay.process.wait(), 60) == 0, replay.log.read_text()
            return replay.log.read_text()

    async with archive.process(Model("first")) as process:
        client = process.wiring.client
        before = await last_sequence(client, IMAGES)
        assert "pictures to embed" in await to_the_end("replay", "--encoder", "mapseek-untrained", "--dry-run")
        assert await last_sequence(client, IMAGES) == before
        arguments = ("replay", "--encoder", "mapseek-untrained", "--rate", "10")
        async with program(tmp_path / "killed", *arguments, environment=environment, command=IMPATIENT) as replay:

            async def some() -> bool:
                return await count(client, IMAGES, variant_filter(ImageEmbedded, "g2")) >= 8

            await eventually(some, 60, every=0.2)
            await replay.kill()
        assert 8 <= await count(client, IMAGES, variant_filter(ImageEmbedded, "g2")) < IMAGES_THERE
        assert "mapseek activate g2" in await to_the_end("replay", "--name", "g2")
        for kind in (ImageEmbedded, ImageIndexed):
            assert await count(client, IMAGES, variant_filter(kind, "g2")) == IMAGES_THERE
        assert await count(client, IMAGES, kind_filter(GenerationStarted)) == 2
        assert await count(client, "FAILURES") == 0


async def test_what_comes_while_a_build_helps_others_is_worked_on_too(archive: Archive) -> None:
    """The durables that a generation shares with every process are nobody's to acknowledge things away on."""
    model = Model("first")
    async with archive.process(model) as process:
        wiring = process.wiring
        client = wiring.client
        now = (await wiring.generations()).now
        durable = consumers.bound_durable(embed.STAGE, "image", now.known["g1"], now)
        track = Track(durable.stream, durable.name, await last_sequence(client, IMAGES), patience=5)
        await post(process, IMAGES_THERE)
        job = Job(embed.STAGE, "image", await dependencies(embed.STAGE, "image", wiring, now.known["g1"]), "g1")
        await play(client, track, job, process.runtime, Limits(), Hands(1, 4))
        await holds(process, ImageEmbedded, IMAGES_THERE + 1)


async def test_what_a_build_buries_names_the_build_and_is_retried_in_its_generation(archive: Archive) -> None:
    model = Model("second")
    model.cannot = tiny(7)
    async with archive.process(model) as process:
        client, journal = process.wiring.client, process.wiring.journal
        generation = await started(process, model)
        await build(process, generation, Limits(), 4)
        assert (await standing(client, generation)).missing == 1
        [letter] = await letters(client)
        assert letter.id.startswith("embed/image/")
        assert letter.id.endswith("/g2")
        assert letter.worker.consumer == "embed-image-g2-past"
        incidents = await client.jetstream().stream_info("INCIDENTS", subjects_filter="mapseek.incident.*.*.7.007.>")
        # While the archive was filled, its vector may have come to the catalogue before its post: that is told of as well.
        told_of = {subject.split(".")[6] for subject in incidents.state.subjects or {}} - {"persist-image-g1"}
        assert told_of == {"embed-image-g2-past"}
        model.cannot = None
        await put_back(letter, journal, LogErasure(client))
    async with archive.live(model, Model("first")) as process:
        await holds(process, ImageIndexed, IMAGES_THERE, "g2")
        told = await process.wiring.client.jetstream().get_last_msg(IMAGES, "mapseek.image.embedded.v1.7.007.g2")
        assert "mapseek-replayed" in (told.headers or {})


async def test_a_log_that_is_away_while_a_build_looks_what_is_done_is_waited_for(impatient_log: None, archive: Archive) -> None:
    model = Model("second")
    async with archive.process(model) as process:
        generation = await started(process, model)
        away = 3

        async def skip(_: object) -> bool:
            nonlocal away
            away -= 1
            if away >= 0:
                raise Unavailable("log", "no acknowledgement within 5 s")
            return False

        durable = consumers.past_durable(embed.STAGE, "image", generation)
        await consumers.make_durable(process.wiring.client, durable)
        job = Job(
            embed.STAGE, "image", await dependencies(embed.STAGE, "image", process.wiring, generation), "g2", replay=durable.name
        )
        track = Track(durable.stream, durable.name, generation.sequence)
        await play(process.wiring.client, track, job, process.runtime, Limits(), Hands(2, 4), skip=skip)
        await holds(process, ImageEmbedded, IMAGES_THERE, "g2")
