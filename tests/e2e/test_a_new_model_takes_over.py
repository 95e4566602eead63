"""A new model takes over an archive while members search and processes are killed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.events import GenerationActivated, ImageEmbedded, ImageFingerprinted, ImageIndexed, StoredFile
from contracts.ports import Journal
from contracts.subjects import IMAGES as IMAGES_STREAM
from contracts.subjects import variant_filter
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.clip.calibration import UNTRAINED_MODEL
from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.projections import read_generations
from infra.nats.reader import count_entries
from infra.nats.server import embedded_server
from infra.sandbox.art.generate import draw_piece
from infra.tasks import cancel_tasks, raise_if_cancelled
from infra.vision.distortions import encode_jpeg, encode_png
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.process import open_process
from pipeline.settings import Settings
from tests.support.asking import Asker, SearchOutcome, open_asker, p95_seconds
from tests.support.facts import posted
from tests.support.impatient import NICENESS_VARIABLE
from tests.support.programs import IMPATIENT_MAPSEEK, Program, find_announced_log, log_environment, run_program, run_to_end
from tests.support.waiting import eventually
from tests.support.world import Log

LATE_IMAGES = 20
"""Images that are posted while the new generation is built."""

QUERY_COUNT = 40
"""Different queries, which are searched one after the other and then again."""

GUILD = "7"
SECOND_MODEL = f"{UNTRAINED_MODEL}-fine"
FILE_STAGES, MODEL_STAGES, ANSWER_STAGES = "download preprocess persist", "fingerprint embed", "match reply link alert"


@dataclass
class Installation:
    """The stages as processes that are killed and started again, the log server beside them, and one data folder."""

    stack: AsyncExitStack
    folder: Path
    environment: dict[str, str]
    client: Client
    journal: Journal
    programs: dict[str, Program]

    @property
    def log(self) -> Log:
        return Log(self.client)

    async def start(self, *command: str) -> Program:
        name = " ".join(command)
        log = self.folder / f"{name.replace('/', '-')}.log"
        started = await self.stack.enter_async_context(
            run_program(log, *command, environment=self.environment, command=IMPATIENT_MAPSEEK)
        )
        self.programs[name] = started
        return started

    async def kill_and_start(self, *command: str) -> None:
        await self.programs[" ".join(command)].kill()
        await self.start(*command)

    async def kill_log_server(self) -> None:
        """Kill the log server, which its keeper starts again, and return when it answers."""
        os.kill(int((self.folder / "nats" / "server.pid").read_text()), signal.SIGKILL)
        await eventually(lambda: not self.client.is_connected)

        async def back() -> bool:
            with suppress(NatsError, JetStreamError, TimeoutError):
                return bool(await self.client.jetstream(timeout=1).stream_info(IMAGES_STREAM))
            return False

        await eventually(back)

    async def count_embedded(self, generation: str) -> int:
        """Count the images with a vector in a generation; 0 while the server is away."""
        with suppress(Unavailable):
            return await count_entries(self.client, IMAGES_STREAM, [variant_filter(ImageEmbedded, generation)])
        return 0

    async def post(self, numbers: range, blobs: FileBlobStore) -> None:
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(2) as pool:
            pictures = [loop.run_in_executor(pool, draw_picture, number) for number in numbers]
            for number, drawn in zip(numbers, pictures, strict=True):
                image = posted(f"{number:05}").model_copy(update={"source": StoredFile(blob=await blobs.put(await drawn))})
                await self.journal.record(image, Origin(f"message-{number}"))

    async def run(self, *command: str) -> str:
        """Run a command that must succeed and return what it printed."""
        done = await run_to_end(*command, environment=self.environment, command=IMPATIENT_MAPSEEK)
        assert done.code == 0, done.err
        return done.out


def draw_picture(number: int) -> bytes:
    return encode_png(draw_piece(number))


def make_query(number: int) -> tuple[str, bytes]:
    return f"{number:05}", encode_jpeg(draw_piece(number), 85)


@asynccontextmanager
async def open_installation(folder: Path, **environment: str) -> AsyncIterator[Installation]:
    async with embedded_server(folder / "nats") as address, AsyncExitStack() as stack:
        client = await connect(address, "test")
        stack.push_async_callback(client.close)
        await topology.ensure_topology(client, STAGES)
        journal = JetStreamJournal(client, source="test", now=utc_now)
        ours = {"MAPSEEK_DATA_DIR": str(folder), **log_environment(address), **environment}
        yield Installation(stack, folder, ours, client, journal, {})


@asynccontextmanager
async def search_continuously(
    asking: Asker, questions: list[tuple[str, bytes]], pause: float = 0.1
) -> AsyncIterator[list[SearchOutcome]]:
    """Search in the background, one query after the other; yield the outcomes so far."""
    told: list[SearchOutcome] = []

    async def ask() -> None:
        while True:
            for expected, file in questions:
                told.append(await asking.ask(expected, file))
                raise_if_cancelled()
                await asyncio.sleep(pause)

    task = asyncio.create_task(ask())
    try:
        yield told
        assert not task.done(), task.exception()
    finally:
        await cancel_tasks(task)


async def act_once(
    reached: Callable[[], Coroutine[Any, Any, int]], number: int, below: int, act: Callable[[], Coroutine[Any, Any, Any]]
) -> None:
    """Act once `number` images are done, while fewer than `below` are done."""

    async def enough() -> bool:
        return await reached() >= number

    await eventually(enough, timeout=600)
    assert await reached() < below, "the work was done before it could be disturbed"
    await act()


async def expect_takeover(
    here: Installation, images: int, meanwhile: list[SearchOutcome], while_built: int, activated_at: float
) -> None:
    """Expect every image in both generations, only right answers, and each from the generation that was active then."""
    for generation in ("g1", "g2"):
        assert await here.count_embedded(generation) == images
    assert await here.log.count(GenerationActivated) == 2
    assert await here.log.dead_letters() == []
    generations = await read_generations(here.client)
    assert generations.active is not None
    assert generations.active.name == "g2"
    assert [each for each in meanwhile if not each.right] == []
    assert {each.matched_in for each in meanwhile[:while_built]} == {"g1"}
    assert {each.matched_in for each in meanwhile if each.asked_at > activated_at + 1} == {"g2"}


@pytest.mark.timeout(240)
async def test_a_few_images_are_taken_over_while_people_ask_and_the_replay_and_the_log_server_are_killed(
    tmp_path: Path, settings: Callable[..., Settings], impatient_log: None
) -> None:
    """The stages run in this process."""
    images, later = 16, 3
    async with (
        open_installation(tmp_path, **{NICENESS_VARIABLE: "0"}) as here,
        open_process(settings(data_dir=tmp_path), find_announced_log(tmp_path), STAGES),
    ):
        blobs, asked_with = open_blob_store(tmp_path / "blobs"), open_blob_store(tmp_path / "questions")
        await here.post(range(images), blobs)
        await here.log.wait_for(ImageFingerprinted, images)
        await here.log.wait_for(ImageIndexed, images)
        questions = [make_query(number) for number in range(0, images, images // 4)]

        async def done() -> int:
            return await here.count_embedded("g2")

        async with (
            open_asker(here.client, here.journal, asked_with, GUILD) as asking,
            search_continuously(asking, questions, pause=0.5) as meanwhile,  # a replay pauses while a search waits
        ):
            replay = ("replay", "--encoder", SECOND_MODEL, "--name", "g2", "--rate", "3")
            await here.start(*replay)
            await act_once(done, 3, images, lambda: here.kill_and_start(*replay))
            await here.post(range(images, images + later), blobs)
            await act_once(done, images // 2, images, here.kill_log_server)
            assert await asyncio.wait_for(here.programs[" ".join(replay)].process.wait(), 60) == 0
            await here.log.wait_for(ImageIndexed, 2 * (images + later))
            while_built = len(meanwhile)
            assert while_built
            assert "g2" in await here.run("activate", "g2")
            activated_at = asyncio.get_running_loop().time()
            await eventually(lambda: any(each.asked_at > activated_at + 1 for each in meanwhile))
        await expect_takeover(here, images + later, meanwhile, while_built, activated_at)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("images", "rate"), [(200, 5), (2_000, 40)])
async def test_no_search_fails_or_mixes_generations_while_a_new_one_is_built_and_switched_on(
    tmp_path: Path, impatient_log: None, images: int, rate: int
) -> None:
    """The rate of the replay is limited, so that the rest of two cores is left for searches."""
    async with open_installation(tmp_path) as here:
        blobs, asked_with = open_blob_store(tmp_path / "blobs"), open_blob_store(tmp_path / "questions")
        for stages in (FILE_STAGES, MODEL_STAGES, ANSWER_STAGES):
            await here.start("run", *stages.split())
        await here.post(range(images), blobs)
        await here.log.wait_for(ImageFingerprinted, images, timeout=1_200)
        await here.log.wait_for(ImageIndexed, images)
        questions = [await asyncio.to_thread(make_query, number) for number in range(0, images, images // QUERY_COUNT)]

        async with open_asker(here.client, here.journal, asked_with, GUILD) as asking:
            idle = await asking.ask_all(questions)
            assert all(each.right for each in idle), [each for each in idle if not each.right][:3]

            async def done() -> int:
                return await here.count_embedded("g2")

            async with search_continuously(asking, questions) as meanwhile:
                replay = ("replay", "--encoder", SECOND_MODEL, "--name", "g2", "--rate", str(rate))
                await here.start(*replay)
                await act_once(done, images // 10, images, lambda: here.kill_and_start(*replay))
                await here.post(range(images, images + LATE_IMAGES), blobs)
                await act_once(done, images * 3 // 10, images, here.kill_log_server)
                await act_once(done, images // 2, images, lambda: here.kill_and_start("run", *MODEL_STAGES.split()))
                await act_once(done, images * 7 // 10, images, lambda: here.kill_and_start("run", *ANSWER_STAGES.split()))
                assert await asyncio.wait_for(here.programs[" ".join(replay)].process.wait(), 1_200) == 0
                await here.log.wait_for(ImageIndexed, 2 * (images + LATE_IMAGES), timeout=60)
                while_built = len(meanwhile)
                assert "g2" in await here.run("activate", "g2")
                activated_at = asyncio.get_running_loop().time()
                await eventually(lambda: len(meanwhile) >= while_built + 30, timeout=60)

        await expect_takeover(here, images + LATE_IMAGES, meanwhile, while_built, activated_at)
        busy = meanwhile[:while_built]
        print(f"p95: idle {p95_seconds(idle):.3f} s, while it was built {p95_seconds(busy):.3f} s ({while_built} questions)")
        assert p95_seconds(meanwhile[:while_built]) <= 2 * p95_seconds(idle)
