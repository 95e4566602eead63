"""What there is of an image, everywhere, and that nothing of it is left."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from nats.aio.client import Client
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from contracts.events import ImageEmbedded, ImageRemoved
from contracts.subjects import INCIDENTS, STREAM_SUBJECTS
from infra.nats.erasure import LogErasure
from infra.sandbox.simulator import Message
from pipeline.engine.consumers import ACK_WAIT_S
from stages.erase import blobs_of
from tests.suites.waiting import eventually
from tests.suites.world import IMPATIENT, World, art

SOON = replace(IMPATIENT, blob_grace=timedelta(seconds=0.5))
"""Blobs of removed images go soon, so that a test sees it."""


@dataclass(frozen=True)
class Trace:
    """An archived image: what the log knew it by, its blobs, and its vector of a generation."""

    guild_id: str
    image_id: str
    filename: str
    blobs: frozenset[str]
    generation: str
    vector: bytes


async def traces_of(world: World, *messages: Message) -> list[Trace]:
    """What there is of every attachment of archived messages, to be looked for once they are gone."""
    log = LogErasure(world.process.wiring.client)
    found = []
    for message in messages:
        for attachment in message.attachments:
            guild_id, image_id = str(message.channel.guild.id), str(attachment.id)
            history, _ = await log.history(guild_id, image_id)
            [embedded] = [fact for fact in history if isinstance(fact, ImageEmbedded)]
            blobs = frozenset(blobs_of(history))
            found.append(Trace(guild_id, image_id, attachment.filename, blobs, embedded.generation, embedded.vector))
            assert blobs
            assert image_id in await neighbours(world, found[-1])
    return found


async def at_rest(world: World, timeout: float = 2 * ACK_WAIT_S) -> None:
    """Wait until no stage has anything left to do, of removals first, since they lead to more.

    What is delivered and never acknowledged counts as held until the ack wait is over, and is done again only then.
    """
    for family in ("removal", "image", "alert"):
        await world.log.quiet(family, timeout)
    assert await world.log.dead_letters() == []


async def removed(world: World, image_ids: Iterable[str], timeout: float = 2 * ACK_WAIT_S) -> None:
    """Wait until images are removed and all that follows from it is done."""
    wanted = set(image_ids)

    async def recorded() -> bool:
        return wanted <= {fact.image_id for fact in await world.log.facts(ImageRemoved)}

    await eventually(recorded, timeout)
    await at_rest(world, timeout)


async def nothing_left(world: World, traces: Iterable[Trace]) -> None:
    """Wait until images are removed, and look everywhere."""
    traces = list(traces)
    await removed(world, [trace.image_id for trace in traces])
    catalogue, blobs = await world.process.wiring.catalogue(), await world.process.wiring.blobs()
    catalogued = {entry.image_id async for entry in catalogue.scan()}
    recorded = [message async for message in everything(world.process.wiring.client)]
    incidents = [message.subject or "" async for message in everything(world.process.wiring.client, INCIDENTS)]
    for trace in traces:
        assert trace.image_id not in catalogued
        assert await catalogue.removed(trace.image_id)
        assert await catalogue.vector(trace.image_id, trace.generation) is None
        assert trace.image_id not in await neighbours(world, trace)
        assert [blob for blob in trace.blobs if await blobs.exists(blob) and not await catalogue.uses(blob)] == []
        history, _ = await LogErasure(world.process.wiring.client).history(trace.guild_id, trace.image_id)
        assert [type(fact) for fact in history] == [ImageRemoved]
        assert [message.subject for message in recorded if trace.filename.encode() in (message.data or b"")] == []
        assert [subject for subject in incidents if trace.image_id in subject.split(".")] == []


async def neighbours(world: World, trace: Trace) -> list[str]:
    """The images that the index has in the guild, whoever may read them."""
    vectors = await world.process.wiring.vectors()
    found = await vectors.search(trace.guild_id, trace.generation, trace.vector, top=1_000, channels=None)
    return [neighbour.image_id for neighbour in found]


async def everything(client: Client, *streams: str) -> AsyncIterator[RawStreamMsg]:
    """Every message of these logs (none given: of all)."""
    js = client.jetstream()
    for stream in streams or STREAM_SUBJECTS:
        state = (await js.stream_info(stream)).state
        for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
            try:
                yield await js.get_msg(stream, sequence)
            except NotFoundError:
                continue


def stored(world: World) -> set[str]:
    """The names of all blobs in the store."""
    return {path.name for path in (world.settings.data_dir / "blobs").rglob("*") if path.is_file()}


async def finds(world: World, seed: int) -> str | None:
    """The link that Alex is given to a picture, None where there is no match."""
    answer = await world.discord.simulator.answer(await world.discord.ask(art(seed)), embedded=True)
    return answer.embeds[0].get("url")
