"""Pausing, resuming and cancelling a build. The server keeps a pause: it holds for every process, and after restarts."""

from nats.js.errors import NotFoundError

from contracts.errors import MapSeekError
from contracts.subjects import IMAGES
from infra.nats.outages import outages
from pipeline.generations.dropping import drop
from pipeline.generations.naming import known
from pipeline.generations.standing import build_name
from pipeline.wiring import Wiring

FOR_EVER = "9999-12-31T00:00:00Z"


async def pause(wiring: Wiring, name: str) -> None:
    """Let no process begin another batch of a build. Raises MapSeekError when that generation is not being built."""
    durable = await _past_of(wiring, name)
    with outages():
        await wiring.client.jetstream().pause_consumer(IMAGES, durable, FOR_EVER)


async def resume(wiring: Wiring, name: str) -> None:
    """Let a build go on. Raises MapSeekError when that generation is not being built."""
    durable = await _past_of(wiring, name)
    with outages():
        await wiring.client.jetstream().resume_consumer(IMAGES, durable)


async def cancel(wiring: Wiring, name: str) -> int:
    """Give up a generation that never answered; returns how many vectors were erased. Raises MapSeekError for one that did."""
    generations = await wiring.generations()
    known(generations.now, name)
    if name in generations.now.activations:
        raise MapSeekError(f"Searches were answered from generation {name}, so it is no build any more: see `mapseek drop {name}`.")
    return await drop(wiring, name)


async def _past_of(wiring: Wiring, name: str) -> str:
    known((await wiring.generations()).now, name)
    durable = build_name(name)
    with outages():
        try:
            await wiring.client.jetstream().consumer_info(IMAGES, durable)
        except NotFoundError:
            raise MapSeekError(f"Generation {name} is not being built: see `mapseek generations`.") from None
    return durable
