"""Whatever is killed, the projections equal those of an undisturbed run: nothing lost, doubled, or in FAILURES."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from contracts.envelope import Origin
from contracts.events import (
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    SearchAnswered,
    SearchMatched,
    SearchRequested,
    StoredFile,
)
from contracts.subjects import IMAGES as IMAGES_STREAM
from infra.blobs.files import open_blob_store
from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.server import embedded_server
from infra.sandbox.simulator import Message
from pipeline.clock import utc_now
from pipeline.container import open_catalogue
from pipeline.engine import topology
from pipeline.engine.job import Policy
from pipeline.engine.registry import STAGES
from pipeline.process import open_process
from pipeline.settings import Settings
from tests.support.facts import QUESTION, posted
from tests.support.impatient import ACK_WAIT_S, DIE_AFTER_VARIABLE, DIE_BEFORE_VARIABLE
from tests.support.mongo_server import MongoDouble
from tests.support.programs import IMPATIENT_MAPSEEK, Program, log_environment, run_program
from tests.support.waiting import eventually
from tests.support.world import Discord, Log, art_png, list_labels, mapseek_beside, read_headline, read_link

IMAGE_COUNT = 60
QUERY_COUNT = 12
KEEP_ALIVE_POLICY = Policy(keep_alive_every=ACK_WAIT_S / 4)
"""As in the programs that are killed: a message that is being handled does not time out."""

FACT_CHAIN = (ImagePosted, ImageDownloaded, ImagePreprocessed, ImageFingerprinted, ImageEmbedded, ImageIndexed)


@dataclass(frozen=True)
class Outcome:
    """The projections at the end: documents and vectors by image id, verdict and matches by search id."""

    documents: dict[str, Any]
    vectors: dict[str, bytes | None]
    answers: dict[str, Any]


async def record_posts(journal: JetStreamJournal, folder: Path, images: int) -> None:
    blobs = open_blob_store(folder / "blobs")
    for number in range(images):
        source = StoredFile(blob=await blobs.put(art_png(number)))
        image = posted(f"{number:03}").model_copy(update={"source": source, "filename": f"{number}.png"})
        await journal.record(image, Origin(f"message-{number}"))


async def record_searches(journal: JetStreamJournal, folder: Path, questions: int) -> None:
    blobs = open_blob_store(folder / "questions")
    for number in range(questions):
        source = StoredFile(blob=await blobs.put(art_png(number * 5)))
        fact = SearchRequested(guild_id="7", search_id=f"{number}", question=QUESTION, filename="q.png", source=source)
        await journal.record(fact, Origin(f"interaction-{number}"))


async def read_outcome(log: Log, settings: Settings, folder: Path) -> Outcome:
    catalogue = await open_catalogue(settings, folder)
    try:
        documents = {entry.image_id: entry.document async for entry in catalogue.scan()}
        vectors = {image_id: await catalogue.vector(image_id, "g1") for image_id in documents}
    finally:
        await catalogue.close()
    answers = {fact.search_id: (fact.verdict, fact.matches) for fact in await log.facts(SearchMatched)}
    return Outcome(documents, vectors, answers)


async def run_undisturbed(folder: Path, make: Any, images: int, questions: int) -> Outcome:
    settings = make(data_dir=folder, batch_size=1)
    async with (
        embedded_server(folder / "nats") as address,
        open_process(settings, address, STAGES, policy=KEEP_ALIVE_POLICY) as process,
    ):
        log = Log(process.container.client)
        await record_posts(process.container.journal, folder, images)
        await log.wait_for(ImageIndexed, images, timeout=60)
        await log.wait_until_idle(timeout=120)
        await record_searches(process.container.journal, folder, questions)
        await log.wait_for(SearchAnswered, questions, timeout=60)
        return await read_outcome(log, settings, folder)


@dataclass(frozen=True)
class Workers:
    """The stages in processes of their own, which are killed in the middle of their work and started again."""

    stack: AsyncExitStack
    folder: Path
    environment: dict[str, str]

    async def start(self, stages: str, *, dies: tuple[type[Fact], int] | None = None, at: str = DIE_AFTER_VARIABLE) -> Program:
        """Start stages.

        With `dies` they kill themselves once they have recorded so many facts of a kind, or are about to record them. More must be
        left to do.
        """
        environment = self.environment | ({at: f"{dies[0].type_name()}:{dies[1]}"} if dies else {})
        running = run_program(
            self.folder / f"{stages}.log", "run", *stages.split(), environment=environment, command=IMPATIENT_MAPSEEK
        )
        return await self.stack.enter_async_context(running)

    async def run_until_killed(self, stages: str, kind: type[Fact], number: int, at: str = DIE_AFTER_VARIABLE) -> None:
        """Run stages until they have killed themselves."""
        await (await self.start(stages, dies=(kind, number), at=at)).wait_killed()


async def expect_everything_once(log: Log, images: int, questions: int) -> None:
    for kind in FACT_CHAIN:
        assert await log.count(kind) == images, kind
    assert await log.count(SearchMatched) == await log.count(SearchAnswered) == questions
    assert await log.dead_letters() == []


async def test_a_process_killed_in_the_middle_of_its_work(tmp_path: Path, settings: Any, impatient_log: None) -> None:
    """It is killed before it records a result, then after it has recorded one. Then a process runs to the end."""
    images, questions, folder = 16, 3, tmp_path / "killed"
    expected = await run_undisturbed(tmp_path / "undisturbed", settings, images, questions)
    async with embedded_server(folder / "nats") as address, AsyncExitStack() as stack:
        client = await connect(address, "test")
        stack.push_async_callback(client.close)
        await topology.ensure_topology(client, STAGES)
        log, journal = Log(client), JetStreamJournal(client, source="test", now=utc_now)
        await record_posts(journal, folder, images)
        environment = {"MAPSEEK_DATA_DIR": str(folder), **log_environment(address), "MAPSEEK_BATCH_SIZE": "1"}
        workers = Workers(stack, folder, environment)
        stages = "download preprocess fingerprint embed persist"
        await workers.run_until_killed(stages, ImagePreprocessed, 6, DIE_BEFORE_VARIABLE)
        await workers.run_until_killed(stages, ImageIndexed, 5)
        ours = settings(data_dir=folder, batch_size=1)
        async with open_process(ours, address, STAGES, policy=KEEP_ALIVE_POLICY):
            await log.wait_for(ImageIndexed, images, timeout=60)
            await log.wait_until_idle(timeout=60)
            await record_searches(journal, folder, questions)
            await log.wait_for(SearchAnswered, questions, timeout=60)
            await log.wait_until_idle("search")
        await expect_everything_once(log, images, questions)
        assert await read_outcome(log, ours, folder) == expected


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_stages_killed_in_the_middle_of_their_work(tmp_path: Path, settings: Any, impatient_log: None) -> None:
    """Batches hold one image, since the last bits of a vector depend on the batch of its picture.

    The test is slow: ten processes are started, and all work is done twice.
    """
    expected = await run_undisturbed(tmp_path / "undisturbed", settings, IMAGE_COUNT, QUERY_COUNT)
    folder = tmp_path / "killed"
    async with embedded_server(folder / "nats") as address, AsyncExitStack() as stack:
        client = await connect(address, "test")
        stack.push_async_callback(client.close)
        await topology.ensure_topology(client, STAGES)
        log, journal = Log(client), JetStreamJournal(client, source="test", now=utc_now)
        await record_posts(journal, folder, IMAGE_COUNT)

        files, model, answers = "download preprocess persist", "fingerprint embed", "match reply link alert"
        environment = {"MAPSEEK_DATA_DIR": str(folder), **log_environment(address), "MAPSEEK_BATCH_SIZE": "1"}
        workers = Workers(stack, folder, environment)
        await workers.run_until_killed(files, ImageDownloaded, 10)
        await workers.run_until_killed(files, ImagePreprocessed, 15)
        await workers.run_until_killed(model, ImageEmbedded, 5)
        await workers.run_until_killed(files, ImageIndexed, 5)
        await workers.start(files)
        await workers.run_until_killed(model, ImageFingerprinted, 10)
        await workers.start(model)
        at_work = await workers.start(answers, dies=(SearchMatched, 4))
        await log.wait_for(ImageIndexed, IMAGE_COUNT, timeout=60)
        await log.wait_until_idle(timeout=120)
        await record_searches(journal, folder, QUERY_COUNT)
        await at_work.wait_killed()
        await workers.run_until_killed(answers, SearchAnswered, 2)
        await workers.start(answers)
        await log.wait_for(SearchAnswered, QUERY_COUNT, timeout=60)
        await log.wait_until_idle()
        await log.wait_until_idle("search")

        await expect_everything_once(log, IMAGE_COUNT, QUERY_COUNT)
        result = await read_outcome(log, settings(data_dir=folder), folder)
    assert result.documents == expected.documents
    assert result.vectors == expected.vectors
    assert result.answers == expected.answers


@pytest.mark.parametrize(("kills_at", "messages"), [((4,), 3), pytest.param((10, 40), 5, marks=pytest.mark.slow)])
async def test_the_log_server_killed_under_load(
    discord: Discord, tmp_path: Path, impatient_log: None, kills_at: tuple[int, ...], messages: int
) -> None:
    """The server is started again on its port. Posts made in between wait in the gateway."""
    async with mapseek_beside(discord, tmp_path) as world:
        client = world.log.client

        async def back() -> bool:
            with suppress(NatsError, JetStreamError, TimeoutError):
                return bool(await client.jetstream(timeout=1).stream_info(IMAGES_STREAM))
            return False

        posts: list[Message] = []
        for kill_at in kills_at:
            for _ in range(messages):
                posts.append(await discord.post(*((f"{len(posts)}-{seed}.png", art_png(seed)) for seed in range(8))))
            await world.log.wait_for(ImageIndexed, kill_at)
            assert await world.log.count(ImageIndexed) < 8 * len(posts)
            os.kill(int((tmp_path / "nats" / "server.pid").read_text()), signal.SIGKILL)
            posts.append(await discord.post(("meanwhile.png", art_png(9))))
            await eventually(lambda: not client.is_connected)
            await eventually(back)
        images = sorted(str(file.id) for post in posts for file in post.attachments)
        await world.log.wait_for(ImageIndexed, len(images), timeout=60)
        await world.archived(len(images), timeout=60)
        for kind in FACT_CHAIN:
            assert await world.log.count(kind) == len(images), kind
        assert sorted(await world.indexed()) == images
        catalogue = await world.process.container.catalogue()
        assert [entry.image_id async for entry in catalogue.scan()] == images
        assert await world.log.dead_letters() == []
        answer = await discord.simulator.answer(await discord.ask(art_png(3)), embedded=True)
        assert read_headline(answer) == "Found it: first posted by Steve"
        assert read_link(answer) == posts[0].jump_url
        assert f"Posted {messages * len(kills_at)} times" in list_labels(answer)


async def test_the_catalogues_database_down_for_a_while(discord: Discord, tmp_path: Path) -> None:
    (tmp_path / "mongo").mkdir()
    mongo = MongoDouble(tmp_path / "mongo")
    await asyncio.to_thread(mongo.start)
    try:
        async with mapseek_beside(discord, tmp_path, catalogue="mongodb", mongodb_uri=mongo.uri) as world:
            posts = [await discord.post(*((f"{seed}.png", art_png(seed)) for seed in range(10)))]
            await world.log.wait_for(ImageIndexed, 5)
            mongo.kill()
            posts.append(await discord.post(*((f"{seed}.png", art_png(seed)) for seed in range(10, 20))))
            await world.log.wait_for(ImageEmbedded, 20)
            await eventually(lambda: world.process.runtime.waiting_for.get("persist") == "catalogue")
            assert await world.log.count(ImageIndexed) < 20
            await asyncio.to_thread(mongo.start)
            await world.archived(20, timeout=60)
            images = sorted(str(file.id) for post in posts for file in post.attachments)
            assert sorted(await world.indexed()) == images
            catalogue = await world.process.container.catalogue()
            assert [entry.image_id async for entry in catalogue.scan()] == images
            assert {fact.image_id: fact.vector for fact in await world.log.facts(ImageEmbedded)} == {
                image_id: await catalogue.vector(image_id, "g1") for image_id in images
            }
            assert await world.log.dead_letters() == []
            assert "persist" not in world.process.runtime.waiting_for
            answer = await discord.simulator.answer(await discord.ask(art_png(3)), embedded=True)
            assert read_link(answer) == posts[0].jump_url
    finally:
        mongo.kill()
