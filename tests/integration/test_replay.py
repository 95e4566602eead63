"""A generation is built by any number of processes that may be paused, cancelled or killed; and stages are played again."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from contracts.envelope import Origin
from contracts.errors import MapSeekError, Retry, Unavailable
from contracts.events import Calibration, GenerationStarted, ImageEmbedded, ImageIndexed, ImagePreprocessed, SearchAnswered
from contracts.generations import Generation
from contracts.ports import Encoder
from contracts.subjects import IMAGES, kind_filter, variant_filter
from infra.blobs.files import open_blob_store
from infra.nats.erasure import LogErasure
from infra.nats.tail import last_sequence
from pipeline import durables
from pipeline.dependencies import dependencies
from pipeline.failures.letters import letters, put_back
from pipeline.generations.standing import Standing, is_paused, standing
from pipeline.process import Process, running
from pipeline.registry import STAGES
from pipeline.replay import control
from pipeline.replay.building import begin, build, made
from pipeline.replay.limits import Limits, give_way
from pipeline.replay.parts import Part
from pipeline.replay.playing import Hands, Track, play
from pipeline.replay.staging import Tally, check_stage, legs, play_leg
from pipeline.runner import Job
from pipeline.settings import Settings
from stages import alert, embed, match, notify, persist, reply
from tests.suites import impatient
from tests.suites.archives import tiny
from tests.suites.bench_stage import count
from tests.suites.facts import QUESTION, posted, requested
from tests.suites.programs import IMPATIENT, program
from tests.suites.waiting import eventually
from tests.suites.world import IMPATIENT as SOON

IMAGES_THERE = 60
LIVE = (embed.STAGE, persist.STAGE)


@dataclass
class Model:
    """An encoder whose vectors are digests; it waits while it is closed, and knows what it was given and what it cannot do."""

    name: str
    given: list[bytes] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    cannot: bytes | None = None

    def __post_init__(self) -> None:
        self.open.set()

    @property
    def encoder(self) -> Encoder:
        return Encoder(f"open_clip/{self.name}/untrained/fp32", self.name, 8, False, Calibration(match_at=1, possible_at=1))

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        self.given.append(image)
        if image == self.cannot:
            raise Retry("out of memory")
        await self.open.wait()
        values = np.frombuffer(hashlib.sha256(self.name.encode() + image).digest(), "u1")[:8].astype("<f4") + 1
        return (values / np.linalg.norm(values)).astype("<f4").tobytes()

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Archive:
    """An archive with g1, in which some processes may build another generation."""

    url: str
    folder: Path
    make: Callable[..., Settings]

    def settings(self) -> Settings:
        return self.make(data_dir=self.folder, batch_size=4)

    @asynccontextmanager
    async def process(self, model: Model) -> AsyncIterator[Process]:
        async with running(self.settings(), self.url, (), encoders=[model], policy=SOON) as process:
            yield process

    @asynccontextmanager
    async def live(self, *models: Model) -> AsyncIterator[Process]:
        """A process as `mapseek up` is one."""
        async with running(self.settings(), self.url, LIVE, encoders=models, policy=SOON) as process:
            yield process


@pytest.fixture
async def archive(nats_url: str, tmp_path: Path, settings: Callable[..., Settings]) -> Archive:
    """Sixty pictures, embedded and in the catalogue."""
    archive = Archive(nats_url, tmp_path / "data", settings)
    async with archive.live(Model("first")) as process:
        for number in range(IMAGES_THERE):
            await post(process, number)
        await holds(process, ImageIndexed, IMAGES_THERE)
    return archive


async def post(process: Process, number: int) -> None:
    """A picture that has come as far as to its embedding."""
    blobs = open_blob_store(process.wiring.folder / "blobs")
    pixels = await blobs.put(tiny(number))
    image = posted(f"{number:03}")
    fact = ImagePreprocessed(**image.identity, pixels=pixels, thumbnail=pixels, width=8, height=8, format="PNG", preprocessing="p1")
    for each in (image, fact):
        await process.wiring.journal.record(each, Origin(image.image_id))


async def holds(process: Process, kind: type[ImageEmbedded] | type[ImageIndexed], number: int, generation: str = "g1") -> None:
    async def enough() -> bool:
        return await count(process.wiring.client, IMAGES, variant_filter(kind, generation)) == number

    await eventually(enough)


async def started(process: Process, model: Model) -> Generation:
    return await begin(process, model, "fake", None, None)  # type: ignore[arg-type]


async def test_a_generation_is_complete_at_the_end_though_nothing_else_runs(archive: Archive) -> None:
    model = Model("second")
    async with archive.process(model) as process:
        client, journal = process.wiring.client, process.wiring.journal
        generation = await started(process, model)
        assert generation.name == "g2"
        assert await standing(client, generation) == Standing(IMAGES_THERE, 0)
        await post(process, IMAGES_THERE)  # one that comes meanwhile
        await build(process, generation, Limits(), 4)
        assert await standing(client, generation) == Standing(IMAGES_THERE + 1, IMAGES_THERE + 1)
        await holds(process, ImageIndexed, IMAGES_THERE + 1, "g2")
        assert len(model.given) == IMAGES_THERE + 1
        catalogue = await process.wiring.catalogue()
        assert await catalogue.vector("000", "g2") is not None
        past = await client.jetstream().get_last_msg(IMAGES, "mapseek.image.embedded.v1.7.000.g2")
        new = await client.jetstream().get_last_msg(IMAGES, f"mapseek.image.embedded.v1.7.{IMAGES_THERE:03}.g2")
        assert "mapseek-replayed" in (past.headers or {})
        assert "mapseek-replayed" not in (new.headers or {})
        assert await journal.holds(ImageEmbedded, "7", "000", "g1")
        with pytest.raises(MapSeekError, match="not being built"):
            await control.pause(process.wiring, "g2")


async def test_two_processes_share_the_work_and_a_third_finds_nothing_left(archive: Archive) -> None:
    models = [Model("second") for _ in range(3)]
    async with archive.process(models[0]) as one, archive.process(models[1]) as two, archive.process(models[2]) as three:
        generation = await started(one, models[0])
        assert await started(two, models[1]) == generation
        await asyncio.gather(*(build(process, generation, Limits(rate=400), 4) for process in (one, two)))
        assert await standing(one.wiring.client, generation) == Standing(IMAGES_THERE, IMAGES_THERE)
        assert models[0].given
        assert models[1].given
        assert len(models[0].given) + len(models[1].given) == IMAGES_THERE
        await build(three, await started(three, models[2]), Limits(), 4)
        assert models[2].given == []


async def test_a_pause_holds_until_it_is_resumed(archive: Archive) -> None:
    model = Model("second")
    model.open.clear()
    async with archive.process(model) as process:
        generation = await started(process, model)
        building = asyncio.create_task(build(process, generation, Limits(), 4))
        await eventually(lambda: len(model.given) == 12)
        await control.pause(process.wiring, "g2")
        model.open.set()
        await holds(process, ImageEmbedded, 12, "g2")
        assert await is_paused(process.wiring.client, generation)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(building), 2)
        assert len(model.given) == 12
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
    async with archive.process(model) as process:
        assert await is_paused(process.wiring.client, generation)
        await control.resume(process.wiring, "g2")
        await build(process, generation, Limits(), 4)
        assert (await standing(process.wiring.client, generation)).missing == 0
        assert len(model.given) == IMAGES_THERE


async def test_what_is_cancelled_leaves_nothing_and_its_name_is_used_up(archive: Archive) -> None:
    model, other = Model("second"), Model("other")
    async with archive.process(model) as process, archive.process(other) as beside:
        generation = await started(process, model)
        building = asyncio.create_task(build(process, generation, Limits(rate=20), 4))
        await eventually(lambda: len(model.given) >= 12)
        await control.cancel(beside.wiring, "g2")
        with pytest.raises(MapSeekError, match="given up"):
            await building
        for kind in (ImageEmbedded, ImageIndexed):
            assert await count(process.wiring.client, IMAGES, variant_filter(kind, "g2")) == 0
        with pytest.raises(MapSeekError, match="used before"):
            await begin(beside, other, "fake", None, "g2")  # type: ignore[arg-type]
        assert (await started(beside, other)).name == "g3"
        with pytest.raises(MapSeekError, match="Searches were answered from generation g1"):
            await control.cancel(beside.wiring, "g1")


async def test_the_same_vectors_once_more_are_refused(archive: Archive) -> None:
    async with archive.process(Model("first")) as process:
        with pytest.raises(MapSeekError, match=r"g1 has these very vectors.*nothing to build"):
            await started(process, Model("first"))
        await started(process, Model("second"))
        with pytest.raises(MapSeekError, match=r"being built already.*--name g2"):
            await begin(process, Model("second"), "fake", None, "mine")  # type: ignore[arg-type]


async def test_what_a_build_held_when_it_was_interrupted_is_given_back_at_once(archive: Archive) -> None:
    model = Model("second")
    model.open.clear()
    async with archive.process(model) as process:
        generation = await started(process, model)
        building = asyncio.create_task(build(process, generation, Limits(), 4))
        await eventually(lambda: len(model.given) == 12)
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
        model.open.set()
        async with asyncio.timeout(10):  # and not after the half minute that a silent process gets
            await build(process, generation, Limits(), 4)
        assert await standing(process.wiring.client, generation) == Standing(IMAGES_THERE, IMAGES_THERE)


@pytest.fixture
def impatient_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durables, "ACK_WAIT_S", impatient.ACK_WAIT_S)


async def test_killed_in_the_middle_it_goes_on_where_it_was(impatient_log: None, archive: Archive, tmp_path: Path) -> None:
    environment = {"MAPSEEK_DATA_DIR": str(archive.folder), "NATS_URL": archive.url, "MAPSEEK_BATCH_SIZE": "4"}

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
        durable = durables.bound_durable(embed.STAGE, "image", now.known["g1"], now)
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
        assert {subject.split(".")[6] for subject in incidents.state.subjects or {}} == {"embed-image-g2-past"}
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

        durable = durables.past_durable(embed.STAGE, "image", generation)
        await made(process.wiring.client, durable)
        job = Job(
            embed.STAGE, "image", await dependencies(embed.STAGE, "image", process.wiring, generation), "g2", replay=durable.name
        )
        track = Track(durable.stream, durable.name, generation.sequence)
        await play(process.wiring.client, track, job, process.runtime, Limits(), Hands(2, 4), skip=skip)
        await holds(process, ImageEmbedded, IMAGES_THERE, "g2")


async def test_a_stage_replayed_again_goes_on_where_it_was_and_records_nothing_twice(archive: Archive) -> None:
    model = Model("first")
    async with archive.process(model) as process:
        client = process.wiring.client
        generations = (await process.wiring.generations()).now.alive
        before = await last_sequence(client, IMAGES)
        tally, part = Tally(), Part(guild="7")
        [leg] = await legs(client, embed.STAGE, part, generations)
        assert (leg.total, leg.left, leg.begun) == (IMAGES_THERE, IMAGES_THERE, False)
        model.open.clear()
        playing = asyncio.create_task(play_leg(process, tally.counting(embed.STAGE), leg, Limits(), Hands(1, 8)))
        await eventually(lambda: len(model.given) == 8)
        model.open.set()
        await eventually(lambda: len(model.given) > 8)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        [leg] = await legs(client, embed.STAGE, part, generations)
        assert leg.begun
        assert leg.left < IMAGES_THERE
        await play_leg(process, tally.counting(embed.STAGE), leg, Limits(), Hands(2, 8))
        assert len(set(model.given)) == IMAGES_THERE
        assert process.runtime.metrics.known.labels("embed", "image")._value.get() >= IMAGES_THERE
        assert await last_sequence(client, IMAGES) == before
        [leg] = await legs(client, embed.STAGE, part, generations)
        assert not leg.begun


async def test_a_part_is_what_was_asked_for(archive: Archive) -> None:
    async with archive.process(Model("first")) as process:
        client = process.wiring.client
        generations = (await process.wiring.generations()).now.alive

        async def entries(part: Part) -> int:
            return sum(leg.left for leg in await legs(client, persist.STAGE, part, generations))

        assert await entries(Part()) == 3 * IMAGES_THERE
        assert await entries(Part(image="007")) == 3
        assert await entries(Part(guild="8")) == 0
        assert await entries(Part(since="1d")) == 3 * IMAGES_THERE
        assert await entries(Part(until="1d")) == 0
        assert await entries(Part(since="2026-01-01", until="2999-01-01")) == 3 * IMAGES_THERE
        last = await last_sequence(client, IMAGES)
        assert await entries(Part(from_seq=last + 1)) == 0


@pytest.mark.parametrize("stage", [alert.STAGE, notify.STAGE, reply.STAGE])
def test_a_stage_that_speaks_to_people_is_not_replayed(stage: object) -> None:
    with pytest.raises(MapSeekError, match="cannot be replayed"):
        check_stage(stage, Part())  # type: ignore[arg-type]


def test_an_image_of_a_stage_that_has_none_is_refused() -> None:
    with pytest.raises(MapSeekError, match="search lane"):
        check_stage(match.STAGE, Part(image="9"))
    with pytest.raises(MapSeekError, match="one of them"):
        check_stage(persist.STAGE, Part(since="2d", from_seq=7))


async def test_no_batch_begins_while_a_question_is_worked_on_anywhere(archive: Archive) -> None:
    async with archive.process(Model("first")) as process:
        limits, journal = Limits(), process.wiring.journal
        watching = asyncio.create_task(give_way(process.wiring.client, limits.questions, patience=30))
        number = 0

        async def noticed() -> bool:
            nonlocal number
            number += 1
            await journal.record(requested(f"s{number}"), Origin("s"))
            try:
                await asyncio.wait_for(limits.turn(1), 0.2)
            except TimeoutError:
                return True
            return False

        await eventually(noticed)
        turn = asyncio.create_task(limits.turn(1))
        for each in range(1, number + 1):
            assert not turn.done()
            answer = SearchAnswered(guild_id="7", search_id=f"s{each}", question=QUESTION, verdict="none", outcome="local")
            await journal.record(answer, Origin("s"))
        await asyncio.wait_for(turn, 2)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_every_stage_that_may_be_replayed_has_a_lane() -> None:
    for stage in STAGES:
        if not stage.live_only:
            check_stage(stage, Part())
