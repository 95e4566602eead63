"""Holding the stages that write to the catalogue for a moment, so that it stands at a known place of the log. Reads go on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from contracts.subjects import IMAGES, RETRIES
from infra.nats.consumers import consumers_of
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
async def standstill(js: JetStreamContext) -> AsyncIterator[tuple[list[Place], int]]:
    """The places at which the writers stand while they are held, and how many facts are still unsettled: tried again and again.

    Those have been delivered, so a catalogue that is filled up to these places has them. Raises nats-py's errors.
    """
    await _settled(js, IDLE_WITHIN_S, idle=True)  # a moment without work is the best one, but there may be none
    for last in (False, True):
        async with _paused(js):
            unsettled = await _settled(js, SETTLES_WITHIN_S)
            if last or not unsettled:
                yield await places(js), unsettled
                return
        await _settled(js, REDELIVERED_WITHIN_S)


async def places(js: JetStreamContext, *, settled: bool = False) -> list[Place]:
    """How far each writer has come: up to what is delivered to it, or up to where everything is `settled`."""
    found = []
    for info in await _writers(js, IMAGES):
        sequence = info.ack_floor if settled else info.delivered
        filters = info.config.filter_subjects or [str(info.config.filter_subject)]
        ours = tuple(each for each in filters if ".".join(each.split(".")[1:3]) in _KINDS)
        found.append(Place(info.name, ours, sequence.stream_seq if sequence else 0))
    return found


@asynccontextmanager
async def _paused(js: JetStreamContext) -> AsyncIterator[None]:
    held = await _pause(js)
    renewing = asyncio.create_task(_keep_paused(js))
    try:
        yield
    finally:
        await cancel(renewing)
        for stream, name in held:
            with suppress(NotFoundError):
                await js.resume_consumer(stream, name)


async def _keep_paused(js: JetStreamContext) -> None:
    while True:
        end_if_cancelled()
        await asyncio.sleep(RENEWED_EVERY_S)
        await _pause(js)


async def _pause(js: JetStreamContext) -> list[tuple[str, str]]:
    until = (utc_now() + PAUSED_FOR).isoformat().replace("+00:00", "Z")
    names = [(stream, info.name) for stream in (IMAGES, RETRIES) for info in await _writers(js, stream)]
    for stream, name in names:
        with suppress(NotFoundError):
            await js.pause_consumer(stream, name, until)
    return names


async def _settled(js: JetStreamContext, within: float, *, idle: bool = False) -> int:
    """Wait until everything that was delivered to persist is settled, or until it is `idle`; what is left after that time."""
    left = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while left := await _left(js, idle=idle):
                end_if_cancelled()
                await asyncio.sleep(0.05)
    return left


async def _left(js: JetStreamContext, *, idle: bool) -> int:
    infos = await _writers(js, IMAGES, (persist.STAGE.name,))
    return sum((info.num_ack_pending or 0) + (info.num_pending or 0 if idle else 0) for info in infos)


async def _writers(
    js: JetStreamContext, stream: str, stages: Sequence[str] = (persist.STAGE.name, erase.STAGE.name)
) -> list[ConsumerInfo]:
    """Their durables, by name: so the posts come before the vectors, which have the generation's name behind it."""
    names = tuple(f"{stage}-" for stage in stages)
    return [info for info in await consumers_of(js, stream) if info.name.startswith(names)]
