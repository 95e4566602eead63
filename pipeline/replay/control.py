"""Pausing, resuming and cancelling a build. The server keeps a pause: it holds for every process, and after restarts."""

from collections.abc import Collection
from datetime import UTC, datetime

from contracts.errors import MapSeekError
from contracts.subjects import IMAGES
from infra.nats.consumers import pause_consumer, resume_consumer
from pipeline.container import Wiring
from pipeline.generations.drop import drop
from pipeline.generations.lifecycle import known
from pipeline.generations.progress import builds_of

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)


async def pause_generation(wiring: Wiring, name: str) -> None:
    """Let no process begin another batch of a build. Raises MapSeekError when that generation is not being built."""
    for durable in await _builds_of(wiring, name):  # one that has just come to its end is none any more
        await pause_consumer(wiring.client, IMAGES, durable, FOR_EVER)


async def resume_generation(wiring: Wiring, name: str) -> None:
    """Let a build go on. Raises MapSeekError when that generation is not being built."""
    for durable in await _builds_of(wiring, name):
        await resume_consumer(wiring.client, IMAGES, durable)


async def cancel_generation(wiring: Wiring, name: str) -> int:
    """Give up a generation that never answered; returns how many vectors were erased. Raises MapSeekError for one that did."""
    generations = await wiring.generations()
    known(generations.now, name)
    if name in generations.now.activations:
        raise MapSeekError(f"Searches were answered from generation {name}, so it is no build any more: see `mapseek drop {name}`.")
    return await drop(wiring, name)


async def _builds_of(wiring: Wiring, name: str) -> Collection[str]:
    known((await wiring.generations()).now, name)
    builds = await builds_of(wiring.client, name)
    if not builds:
        raise MapSeekError(f"Generation {name} is not being built: see `mapseek generations`.")
    return builds
