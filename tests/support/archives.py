"""Helpers for tests of the archive: many small pictures, delayed history, managers, and checks of what is archived."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import count, islice

import numpy as np
import pytest
from aiohttp import web
from nats.aio.client import Client
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError
from PIL import Image

from contracts.events import ImageEmbedded, ImageIndexed, ImagePosted, ImageRemoved
from contracts.subjects import INCIDENTS, STREAM_SUBJECTS
from infra.discord.archive import backfill
from infra.discord.archive import history as history_module
from infra.nats.erasure import LogErasure
from infra.sandbox.simulator import Channel, Interaction, Member, Message, Permission, Simulator
from infra.sandbox.simulator.faults import Handler
from pipeline.engine.consumers import ACK_WAIT_S
from stages.erase import list_blobs
from tests.support.waiting import eventually
from tests.support.world import IMPATIENT_POLICY, Discord, World, art_png

ERASE_AT_ONCE = replace(IMPATIENT_POLICY, blob_grace=timedelta(0))
"""A policy that erases the blobs of removed images at once."""


SMALL_PAGE = 10

ERASE_SOON = replace(IMPATIENT_POLICY, blob_grace=timedelta(seconds=0.5))
"""A policy that erases the blobs of removed images after half a second, so that a test can observe both states."""


@cache
def tiny_picture(number: int) -> bytes:
    """Return a PNG file that differs for each number. It is so narrow that its fingerprint needs almost no work."""
    pixels = np.random.default_rng(number).integers(0, 256, (2, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class PictureHistory:
    """Posts small pictures, each different, and remembers in `there` the messages that should be archived."""

    discord: Discord
    there: list[Message] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    async def post(
        self,
        channel: Channel,
        messages: int = 1,
        *,
        pictures: int = 1,
        begin: datetime | None = None,
        every: timedelta = timedelta(minutes=1),
    ) -> list[Message]:
        """Post `messages` messages, now or from `begin` on, one `every` interval."""
        posted = []
        for number in range(messages):
            files = [(f"{each}.png", tiny_picture(each)) for each in islice(self.numbers, pictures)]
            at = begin and begin + number * every
            posted.append(await self.discord.simulator.post(channel, self.discord.steve, files=files, at=at))
        self.there += posted
        return posted

    def forget(self, *messages: Message) -> None:
        """Remove messages from `there`: they are deleted, or must not be archived."""
        self.there = [message for message in self.there if message not in messages]


@dataclass
class HeldRequests:
    """A fault that delays requests until `released` is set, and then gives the right response."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.arrived.set()
        await self.released.wait()
        return await handler(request)


@dataclass
class HeldAfter:
    """A fault that lets `let_through` requests pass, and delays all later ones like HeldRequests."""

    let_through: int
    held: HeldRequests = field(default_factory=HeldRequests)
    seen: int = 0

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.seen += 1
        return await (handler(request) if self.seen <= self.let_through else self.held.answer(request, handler))


def hold_history(simulator: Simulator, channel: Channel, *, after_pages: int = 0) -> HeldRequests:
    """Delay the responses with a channel's history: all, or those after `after_pages` pages."""
    fault = HeldAfter(after_pages)
    simulator.faults.add(fault, f"*/channels/{channel.id}/messages", method="GET", times=None)
    return fault.held


def use_small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read history in pages of ten messages instead of a hundred, so that a dozen messages need two pages."""
    for module in (history_module, backfill):
        monkeypatch.setattr(module, "MESSAGES_PER_PAGE", SMALL_PAGE)


def add_manager(discord: Discord, name: str = "Mia") -> Member:
    """Add a member who may manage the guild."""
    role = discord.simulator.add_role(discord.guild, "managers", Permission.MANAGE_GUILD)
    return discord.simulator.add_member(discord.guild, name, [role])


def list_file_ids(messages: Sequence[Message]) -> list[str]:
    """List the ids of all pictures of messages, sorted."""
    return sorted(str(file.id) for message in messages for file in message.attachments)


async def wait_for_exactly(world: World, messages: Sequence[Message], timeout: float = 30) -> None:
    """Wait until no work is left. Then check that log, catalogue and index contain each picture of the messages exactly once."""
    wanted = list_file_ids(messages)
    await world.log.wait_for(ImagePosted, len(wanted), timeout)
    for family in ("removal", "image", "alert"):
        await world.log.wait_until_idle(family, timeout)
    assert [letter["mapseek-reason"] for letter in await world.log.dead_letters()] == []
    for kind in (ImagePosted, ImageIndexed):
        assert sorted(fact.image_id for fact in await world.log.facts(kind)) == wanted, kind
    catalogue = await world.process.container.catalogue()
    assert [entry.image_id async for entry in catalogue.scan()] == wanted
    assert sorted(await list_indexed(world)) == wanted


async def list_indexed(world: World) -> list[str]:
    """List the ids of all images of the guild in the vector index."""
    embedded = (await world.log.facts(ImageEmbedded))[0]
    vectors = await world.process.container.vectors()
    everything = {"top": 10_000, "channels": None}
    found = await vectors.search(embedded.guild_id, embedded.generation, embedded.vector, **everything)  # type: ignore[arg-type]
    return [neighbour.image_id for neighbour in found]


async def wait_for_text(discord: Discord, interaction: Interaction, *, words: str = "", timeout: float = 30) -> str:
    """Wait until an answer contains `words` (by default any text), and return its text, content and embeds."""
    await discord.simulator.until(lambda: bool(text := message_text(interaction.original)) and words in text, timeout=timeout)
    return message_text(interaction.original)


def message_text(message: Message | None) -> str:
    """Return the whole text of a message, content and embeds."""
    if message is None:
        return ""
    lines = [message.content]
    for embed in message.embeds:
        lines += [embed.get("title", ""), embed.get("description", "")]
        lines += [part for each in embed.get("fields", ()) for part in (each["name"], each["value"])]
    return "\n".join(line for line in lines if line)


@dataclass(frozen=True)
class ImageTrace:
    """What identifies an archived image in the log, the blob store and the index."""

    guild_id: str
    image_id: str
    filename: str
    blobs: frozenset[str]
    generation: str
    vector: bytes


async def collect_traces(world: World, *messages: Message) -> list[ImageTrace]:
    """Collect the traces of every attachment of archived messages, to check later that none is left."""
    log = LogErasure(world.process.container.client)
    found = []
    for message in messages:
        for attachment in message.attachments:
            guild_id, image_id = str(message.channel.guild.id), str(attachment.id)
            history, _ = await log.history(guild_id, image_id)
            [embedded] = [fact for fact in history if isinstance(fact, ImageEmbedded)]
            blobs = frozenset(list_blobs(history))
            found.append(ImageTrace(guild_id, image_id, attachment.filename, blobs, embedded.generation, embedded.vector))
            assert blobs
            assert image_id in await find_neighbours(world, found[-1])
    return found


async def wait_until_archive_idle(world: World, timeout: float = 2 * ACK_WAIT_S) -> None:
    """Wait until no stage has work left. Removals are checked first, since they cause more work.

    A message that was delivered and never acknowledged counts as work until its ack wait is over and it is delivered again.
    """
    for family in ("removal", "image", "alert"):
        await world.log.wait_until_idle(family, timeout)
    assert await world.log.dead_letters() == []


async def wait_until_removed(world: World, image_ids: Iterable[str], timeout: float = 2 * ACK_WAIT_S) -> None:
    """Wait until images are removed and no stage has work left."""
    wanted = set(image_ids)

    async def recorded() -> bool:
        return wanted <= {fact.image_id for fact in await world.log.facts(ImageRemoved)}

    await eventually(recorded, timeout)
    await wait_until_archive_idle(world, timeout)


async def expect_nothing_left(world: World, traces: Iterable[ImageTrace]) -> None:
    """Wait until images are removed, and check that no trace of them is left anywhere."""
    traces = list(traces)
    await wait_until_removed(world, [trace.image_id for trace in traces])
    catalogue, blobs = await world.process.container.catalogue(), await world.process.container.blobs()
    catalogued = {entry.image_id async for entry in catalogue.scan()}
    recorded = [message async for message in iter_messages(world.process.container.client)]
    incidents = [message.subject or "" async for message in iter_messages(world.process.container.client, INCIDENTS)]
    for trace in traces:
        assert trace.image_id not in catalogued
        assert await catalogue.is_removed(trace.image_id)
        assert await catalogue.vector(trace.image_id, trace.generation) is None
        assert trace.image_id not in await find_neighbours(world, trace)
        assert [blob for blob in trace.blobs if await blobs.exists(blob) and not await catalogue.uses(blob)] == []
        history, _ = await LogErasure(world.process.container.client).history(trace.guild_id, trace.image_id)
        assert [type(fact) for fact in history] == [ImageRemoved]
        assert [message.subject for message in recorded if trace.filename.encode() in (message.data or b"")] == []
        assert [subject for subject in incidents if trace.image_id in subject.split(".")] == []


async def find_neighbours(world: World, trace: ImageTrace) -> list[str]:
    """List the images of the guild in the index, in all channels."""
    vectors = await world.process.container.vectors()
    found = await vectors.search(trace.guild_id, trace.generation, trace.vector, top=1_000, channels=None)
    return [neighbour.image_id for neighbour in found]


async def iter_messages(client: Client, *streams: str) -> AsyncIterator[RawStreamMsg]:
    """Iterate over every message of the streams (none given: of all)."""
    js = client.jetstream()
    for stream in streams or STREAM_SUBJECTS:
        state = (await js.stream_info(stream)).state
        for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
            try:
                yield await js.get_msg(stream, sequence)
            except NotFoundError:
                continue


def list_stored_blobs(world: World) -> set[str]:
    """List the names of all blobs in the store."""
    return {path.name for path in (world.settings.data_dir / "blobs").rglob("*") if path.is_file()}


async def search_link(world: World, seed: int) -> str | None:
    """Search with a picture as Alex, and return the link in the answer, None if there is no match."""
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(seed)), embedded=True)
    return answer.embeds[0].get("url")
