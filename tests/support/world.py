"""A complete MapSeek beside a simulated Discord, for end-to-end tests, and helpers to inspect the results."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import Fact, ImageIndexed, ImagePosted
from contracts.ports import CatalogueEntry, ImageEncoder
from contracts.stage import Stage
from contracts.subjects import FAILURES, guild_filter, kind_filter, stream_of, variant_filter
from infra.clip.calibration import FINE_UNTRAINED_MODEL
from infra.nats.connection import connect
from infra.nats.projections import FollowedGenerations, read_generations
from infra.nats.reader import decode_or_warn, follow_log
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Message, Simulator, VisibleAnswer
from infra.vision.distortions import encode_png
from pipeline.engine.consumers import plan_consumers
from pipeline.engine.job import Backoff, Policy
from pipeline.engine.registry import STAGES
from pipeline.generations.drop import erase_generation
from pipeline.generations.encoders import open_model_encoder
from pipeline.generations.lifecycle import build_generation_activated, build_generation_started
from pipeline.process import Process, open_log_server, open_process
from pipeline.settings import Settings
from tests.support.bench_stage import count_messages, count_unsettled
from tests.support.waiting import eventually

SHORT_DELAY = Backoff(0.05, 1, 0.05)
IMPATIENT_POLICY = Policy(image_retry=SHORT_DELAY, search_retry=SHORT_DELAY, hold=SHORT_DELAY, keep_alive_every=0.5)

F = TypeVar("F", bound=Fact)

shared_world = pytest.mark.asyncio(loop_scope="module")
"""Marks a test that shares a MapSeek with the other tests of its module, and has its own guild in it."""


@dataclass(frozen=True)
class Discord:
    """The simulator with one guild, a channel and two members. A test adds anything else itself."""

    simulator: Simulator
    guild: Guild
    gallery: Channel
    alex: Member
    steve: Member

    def settings(self, folder: Path, **more: object) -> Settings:
        """Build settings for a process of the test."""
        values = {"data_dir": folder, "discord_token": self.simulator.token, "http_port": 0, "_env_file": None}
        origins = {"discord_api": self.simulator.api_base, "cdn_origins": self.simulator.cdn_origin, "channels": "all"}
        return Settings(**{**values, **origins, **more})  # type: ignore[arg-type]

    def environment(self, folder: Path, **more: str) -> dict[str, str]:
        """Build the same settings as an environment, for a program."""
        return {
            "MAPSEEK_DATA_DIR": str(folder),
            "DISCORD_TOKEN": self.simulator.token,
            "MAPSEEK_DISCORD_API": self.simulator.api_base,
            "MAPSEEK_CDN_ORIGINS": self.simulator.cdn_origin,
            "MAPSEEK_CHANNELS": "all",
            **more,
        }

    async def post(self, *files: tuple[str, bytes], channel: Channel | None = None, author: Member | None = None) -> Message:
        return await self.simulator.post(channel or self.gallery, author or self.steve, "my newest map", files=files)

    async def ask(self, picture: bytes, *, channel: Channel | None = None, member: Member | None = None) -> Interaction:
        """Use /find with a picture, by default as Alex."""
        query = ("question.png", picture)
        return await self.simulator.slash(channel or self.gallery, member or self.alex, "find", attachments={"image": query})


@asynccontextmanager
async def simulated_discord(**options: object) -> AsyncIterator[Discord]:
    async with Simulator(**options) as simulator:  # type: ignore[arg-type]
        yield enter_new_guild(simulator)


def enter_new_guild(simulator: Simulator) -> Discord:
    guild = simulator.add_guild("Cartographers")
    gallery = simulator.add_text_channel(guild, "gallery")
    return Discord(simulator, guild, gallery, simulator.add_member(guild, "Alex"), simulator.add_member(guild, "Steve"))


@dataclass(frozen=True)
class Log:
    """The recorded facts, of one guild if `guild_id` is set, and the work that the stages have left."""

    client: Client
    guild_id: str | None = None

    def _filter(self, kind: type[Fact]) -> str:
        return kind_filter(kind) if self.guild_id is None else guild_filter(kind, self.guild_id)

    async def count(self, kind: type[Fact]) -> int:
        return await count_messages(self.client, stream_of(kind), self._filter(kind))

    async def facts(self, kind: type[F]) -> list[F]:
        """Return every fact of a type, in the order of the log."""
        wanted, found = await self.count(kind), []
        if wanted:
            async with aclosing(follow_log(self.client, stream_of(kind), [self._filter(kind)])) as messages:
                async for message in messages:
                    recorded = decode_or_warn(message)
                    assert recorded is not None
                    found.append(recorded.fact)
                    if len(found) == wanted:
                        break
        return found  # type: ignore[return-value]

    async def dead_letters(self, number: int = 0, timeout: float = 30) -> list[dict[str, str]]:
        """Wait until there are at least `number` dead letters, and return the headers of all."""

        async def enough() -> bool:
            return await count_messages(self.client, FAILURES) >= number

        await eventually(enough, timeout)
        js = self.client.jetstream()
        state = (await js.stream_info(FAILURES)).state
        numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        return [(await js.get_msg(FAILURES, number)).headers or {} for number in numbers]

    async def wait_for(self, kind: type[Fact], number: int, timeout: float = 30) -> None:
        """Wait until `number` facts of a type are recorded."""

        async def enough() -> bool:
            return await self.count(kind) >= number

        await eventually(enough, timeout)

    async def wait_until_idle(self, family: str = "image", timeout: float = 30) -> None:
        """Wait until no stage has work left in a lane. A stage is checked after the stages that feed it."""

        async def nothing_left() -> bool:
            for durable in plan_consumers(STAGES, await read_generations(self.client)):
                if durable.family == family and await count_unsettled(self.client, durable.stream, durable.name):
                    return False
            return True

        await eventually(nothing_left, timeout)


@dataclass(frozen=True)
class World:
    """Discord, and a complete MapSeek in this process.

    If it is `shared` with other tests, it sees only the facts of its own guild.
    """

    discord: Discord
    process: Process
    settings: Settings
    shared: bool = False
    log: Log = field(init=False)

    def __post_init__(self) -> None:
        own = str(self.discord.guild.id) if self.shared else None
        object.__setattr__(self, "log", Log(self.process.container.client, own))

    def with_new_guild(self) -> "World":
        """Return the same MapSeek with a new guild, which has another Alex and Steve."""
        return World(enter_new_guild(self.discord.simulator), self.process, self.settings, shared=True)

    async def archived(self, posted: int, timeout: float = 30) -> None:
        """Wait until `posted` images are posted in all and each is processed."""
        await self.log.wait_for(ImagePosted, posted, timeout)
        await self.log.wait_until_idle(timeout=timeout)

    async def entries(self) -> dict[str, CatalogueEntry]:
        """Return the whole catalogue by file name."""
        catalogue = await self.process.container.catalogue()
        found = [(entry.document["metadata"], entry) async for entry in catalogue.scan()]
        return {metadata["filename"]: entry for metadata, entry in found if self.log.guild_id in (None, metadata["guild_id"])}

    async def indexed(self) -> list[str]:
        """Return the ids of the indexed images, one for each time an image was indexed."""
        return [fact.image_id for fact in await self.log.facts(ImageIndexed)]


@asynccontextmanager
async def whole_world(folder: Path, encoders: Sequence[ImageEncoder] = ()) -> AsyncIterator[World]:
    """Run a simulated Discord with MapSeek logged in."""
    async with simulated_discord() as discord, mapseek_beside(discord, folder, encoders=encoders) as world:
        yield world


@asynccontextmanager
async def mapseek_beside(
    discord: Discord,
    folder: Path,
    *,
    stages: Sequence[Stage[Any]] = STAGES,
    policy: Policy = IMPATIENT_POLICY,
    encoders: Sequence[ImageEncoder] = (),
    **more: object,
) -> AsyncIterator[World]:
    """Run MapSeek, logged in to a Discord that continues afterwards. By default with every stage."""
    settings = discord.settings(folder, **more)
    async with (
        open_log_server(settings) as address,
        open_process(settings, address, stages, with_gateway=True, policy=policy, encoders=encoders) as process,
    ):
        await discord.simulator.wait_for_command("find")
        yield World(discord, process, settings)


@cache
def art_png(seed: int) -> bytes:
    """Return a piece of map art as a PNG file, different for each seed."""
    return encode_png(draw_piece(seed))


async def begin_generation(world: World, name: str, *, model: str = FINE_UNTRAINED_MODEL, preprocessing: str = "p1") -> None:
    """Start a generation, and wait until the process has its encoder."""
    encoder = await open_model_encoder(model, None, "auto", Settings(_env_file=None))  # type: ignore[call-arg]
    await _record(world, build_generation_started(name, encoder.encoder, model, None, preprocessing))
    await encoder.close()
    await eventually(lambda: world.process.container.encoders.of(name) is not None)


async def switch_generation(world: World, name: str) -> None:
    """Activate a generation, whether it is complete or not."""
    generations = await _generations(world)
    await _record(world, build_generation_activated(generations.now, name))
    await generations.until(lambda now: now.active is not None and now.active.name == name)


async def drop_whole_generation(world: World, name: str) -> None:
    """Drop a generation with its data."""
    await erase_generation(world.process.container, name)


async def wait_for_facts(world: World, kind: type[Fact], generation: str, number: int) -> None:
    """Wait until `number` facts of a type are recorded for a generation."""

    async def enough() -> bool:
        return await count_messages(world.process.container.client, stream_of(kind), variant_filter(kind, generation)) >= number

    await eventually(enough)


async def _generations(world: World) -> FollowedGenerations:
    return await world.process.container.generations()


async def _record(world: World, fact: Fact) -> None:
    assert await world.process.container.journal.record(fact, Origin("test"))


async def reset_all_stages(discord: Discord, folder: Path, *, emptied: bool = True) -> None:
    """Delete the consumers of all stages and, if `emptied`, catalogue and indexes, so that the stages start from the beginning."""
    async with open_log_server(discord.settings(folder)) as address:
        client = await connect(address, "test")
        for durable in plan_consumers(STAGES, await read_generations(client)):
            await client.jetstream().delete_consumer(durable.stream, durable.name)
        await client.close()
    if not emptied:
        return
    for file in folder.glob("catalogue.sqlite*"):
        file.unlink()
    for index in ("vectors", "features"):
        shutil.rmtree(folder / index)


def read_headline(answer: VisibleAnswer) -> str:
    """Return the title of an answer, which is one embed."""
    [embed] = answer.embeds
    return str(embed["title"])


def read_link(answer: VisibleAnswer) -> str | None:
    """Return the link of the title: it leads to the first post of the piece."""
    [embed] = answer.embeds
    return embed.get("url")


def read_words(answer: VisibleAnswer) -> str:
    """Return the whole text of an answer."""
    [embed] = answer.embeds
    footer = embed.get("footer", {}).get("text", "")
    return "\n".join(part for part in (answer.content, embed["title"], embed.get("description", ""), footer) if part)


def read_lines(answer: VisibleAnswer) -> list[str]:
    """Return the lines under the title."""
    [embed] = answer.embeds
    return str(embed.get("description", "")).split("\n")


def list_labels(answer: VisibleAnswer) -> list[str]:
    """List the labels of the enabled buttons."""
    return [button.label for button in answer.buttons.values() if not button.disabled]
