"""Holding the stages that write to the catalogue for a moment, so that it stands at a known place of the log. Reads go on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from contracts.subjects import IMAGES, RETRIES
from infra.nats.connection import Client
from infra.nats.consumers import Consumer, list_consumers, pause_consumer, resume_consumer
from infra.tasks import cancel, end_if_cancelled
from pipeline.clock import utc_now
from pipeline.rebuild.filling import Place
from stages import erase, persist

PAUSED_FOR = timedelta(minutes=1)
"""Renewed while it lasts: a process that is killed in it leaves nothing paused for longer."""

RENEWED_EVERY_S = 15.0
IDLE_WITHIN_S = 1.0
SETTLES_WITHIN_S = 5.0
REDELIVERED_WITHIN_S = 35.0
"""What was being tried again, or was in a process that died, comes once more within so long."""

_KINDS = {kind.type_name() for kind in persist.STAGE.consumes}


@asynccontextmanager
async def standstill(client: Client) -> AsyncIterator[tuple[list[Place], int]]:
    """The places at which the writers stand while they are held, and how many facts are still unsettled: tried again and again.

    Those have been delivered, so a catalogue that is filled up to these places has them. Raises Unavailable.
    """
    await _settled(client, IDLE_WITHIN_S, idle=True)  # a moment without work is the best one, but there may be none
    for last in (False, True):
        async with _paused(client):
            unsettled = await _settled(client, SETTLES_WITHIN_S)
            if last or not unsettled:
                yield await places(client), unsettled
                return
        await _settled(client, REDELIVERED_WITHIN_S)


async def places(client: Client, *, settled: bool = False) -> list[Place]:
    """How far each writer has come: up to what is delivered to it, or up to where everything is `settled`."""
    found = []
    for writer in await _writers(client, IMAGES):
        ours = tuple(each for each in writer.filters if ".".join(each.split(".")[1:3]) in _KINDS)
        found.append(Place(writer.name, ours, writer.settled if settled else writer.delivered))
    return found


@asynccontextmanager
async def _paused(client: Client) -> AsyncIterator[None]:
    held = await _pause(client)
    renewing = asyncio.create_task(_keep_paused(client))
    try:
        yield
    finally:
        await cancel(renewing)
        for stream, name in held:
            await resume_consumer(client, stream, name)


async def _keep_paused(client: Client) -> None:
    while True:
        end_if_cancelled()
        await asyncio.sleep(RENEWED_EVERY_S)
        await _pause(client)


async def _pause(client: Client) -> list[tuple[str, str]]:
    until = utc_now() + PAUSED_FOR
    names = [(stream, writer.name) for stream in (IMAGES, RETRIES) for writer in await _writers(client, stream)]
    for stream, name in names:
        await pause_consumer(client, stream, name, until)
    return names


async def _settled(client: Client, within: float, *, idle: bool = False) -> int:
    """Wait until everything that was delivered to persist is settled, or until it is `idle`; what is left after that time."""
    left = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while left := await _left(client, idle=idle):
                end_if_cancelled()
                await asyncio.sleep(0.05)
    return left


async def _left(client: Client, *, idle: bool) -> int:
    writers = await _writers(client, IMAGES, (persist.STAGE.name,))
    return sum(writer.unsettled if idle else writer.in_flight for writer in writers)


async def _writers(client: Client, stream: str, stages: Sequence[str] = (persist.STAGE.name, erase.STAGE.name)) -> list[Consumer]:
    """Their durables, by name: so the posts come before the vectors, which have the generation's name behind it."""
    names = tuple(f"{stage}-" for stage in stages)
    return [consumer for consumer in await list_consumers(client, stream) if consumer.name.startswith(names)]
