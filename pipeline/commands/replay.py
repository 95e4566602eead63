"""`mapseek replay`: building a generation, and pausing, resuming and cancelling that."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress, TaskID

from contracts.errors import Unavailable, counted
from contracts.generations import Generation, Generations
from contracts.ports import ImageEncoder
from infra.tasks import cancel, end_if_cancelled
from pipeline.cli.open import archive_server, wired
from pipeline.console.replay import bar, estimate_page, headline
from pipeline.engine.bulk_consumer import Limits, be_nice, give_way
from pipeline.generations.encoders import open_encoder_wished, refuse_missing_checkpoint
from pipeline.generations.lifecycle import living
from pipeline.generations.progress import is_paused, standing
from pipeline.process import Process, running
from pipeline.replay.beginning import begin, require_pictures, to_join, unused_name
from pipeline.replay.building import build
from pipeline.replay.control import cancel_generation, pause_generation, resume_generation
from pipeline.replay.estimating import estimate
from pipeline.settings import Settings

LOOK_EVERY_S = 1.0
LOOKING_SHARE = 0.1
"""Counting takes no more than this share of the time, however many images there are."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of the machine a replay may have: messages a second, and the load above which it begins nothing."""

    rate: float | None = None
    max_load: float | None = None

    def batch(self, most: int) -> int:
        """A slow one works in small batches, rather than in bursts."""
        return most if self.rate is None else max(1, min(most, math.floor(self.rate)))


@asynccontextmanager
async def at_work(settings: Settings, pace: Pace) -> AsyncIterator[tuple[Process, Limits]]:
    """A process that gives way to whoever asks, with no stages but what is played."""
    async with archive_server(settings) as url:
        be_nice()
        async with running(settings, url, ()) as process:
            limits = Limits(pace.rate, pace.max_load)
            watching = asyncio.create_task(give_way(process.wiring.client, limits.questions))
            try:
                yield process, limits
            finally:
                await cancel(watching)


async def build_generation(
    settings: Settings, model: str | None, pretrained: str | None, name: str | None, *, pace: Pace, out: Console, err: Console
) -> int:
    """Build a generation, or go on with it. 1 if pictures are missing in it at the end."""
    refuse_missing_checkpoint(pretrained)
    async with at_work(settings, pace) as (process, limits):
        generations = await process.wiring.generations()
        if model is None:
            generation = living(generations.now, name or "")
            encoder = await process.wiring.encoders.open(generation)
        else:
            await require_pictures(process.wiring.client)
            encoder = await open_encoder_wished(model, pretrained, settings)
            generation = await _begun(process, encoder, model, pretrained, name)
        err.print(headline(generation.name, generation.encoder, generation.digest), highlight=False)
        with bar(err) as bars:
            task = bars.add_task(generation.name)
            looking = asyncio.create_task(_follow_build(process, generation, bars, task))
            try:
                await build(process, generation, limits, pace.batch(settings.batch_size))
            except asyncio.CancelledError:
                bars.console.print(f"Stopped: `mapseek replay --name {generation.name}` goes on where it was.", highlight=False)
                raise
            finally:
                await cancel(looking)
            found = await _show(process, generation, bars, task)
        return _tell_end(generation, found, generations.now, out)


async def _begun(process: Process, encoder: ImageEncoder, model: str, pretrained: str | None, name: str | None) -> Generation:
    try:
        return await begin(process, encoder, model, pretrained, name)
    except BaseException:
        await encoder.close()
        raise


def _tell_end(generation: Generation, missing: int, now: Generations, out: Console) -> int:
    if missing:
        lacks = counted(missing, "picture")
        out.print(f"[red]Generation {generation.name} lacks {lacks}[/]: `mapseek failures list` says why.", highlight=False)
        return 1
    out.print(f"Generation {generation.name} is complete.", highlight=False)
    if now.active is not None and not now.serves(generation.name):
        both = f"{now.active.name} {generation.name}"
        out.print(f"Next: `mapseek compare {both}` shows what would change, `mapseek activate {generation.name}` switches.")
    return 0


async def _follow_build(process: Process, generation: Generation, bars: Progress, task: TaskID) -> None:
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await _show(process, generation, bars, task)
        except Unavailable:
            bars.update(task, description=f"{generation.name} (the log is out of reach)")
        end_if_cancelled()
        await asyncio.sleep(max(LOOK_EVERY_S, (loop.time() - began) / LOOKING_SHARE))


async def _show(process: Process, generation: Generation, bars: Progress, task: TaskID) -> int:
    found = await standing(process.wiring.client, generation)
    paused = " (paused)" if await is_paused(process.wiring.client, generation) else ""
    bars.update(task, description=f"{generation.name}{paused}", total=found.total, completed=min(found.done, found.total))
    return found.missing


async def estimate_generation(
    settings: Settings, model: str | None, pretrained: str | None, name: str | None, *, out: Console
) -> int:
    """Print what building a generation would take. Nothing is recorded."""
    refuse_missing_checkpoint(pretrained)
    async with at_work(settings, Pace()) as (process, _):
        now = (await process.wiring.generations()).now
        pictures = await require_pictures(process.wiring.client)
        if model is None:
            generation = living(now, name or "")
            encoder = await process.wiring.encoders.open(generation)
            title, pictures = generation.name, (await standing(process.wiring.client, generation)).missing
            out.print(estimate_page(encoder.encoder, title, await estimate(process, encoder, pictures, settings.batch_size)))
            return 0
        encoder = await open_encoder_wished(model, pretrained, settings)
        try:
            joined = to_join(now, encoder, name)
            if joined is not None:
                pictures = (await standing(process.wiring.client, joined)).missing
            title = joined.name if joined else name or unused_name(now)
            out.print(estimate_page(encoder.encoder, title, await estimate(process, encoder, pictures, settings.batch_size)))
        finally:
            await encoder.close()
    return 0


async def pause_build(settings: Settings, name: str, out: Console) -> int:
    """Pause, and say what that means."""
    async with wired(settings) as wiring:
        await pause_generation(wiring, name)
    out.print(f"The build of {name} is paused, in every process: `mapseek replay resume {name}` goes on.", highlight=False)
    return 0


async def resume_build(settings: Settings, name: str, out: Console) -> int:
    """Resume, and say what that means."""
    async with wired(settings) as wiring:
        await resume_generation(wiring, name)
    out.print(f"The build of {name} goes on where `mapseek replay --name {name}` runs.", highlight=False)
    return 0


async def cancel_build(settings: Settings, name: str, out: Console) -> int:
    """Give a build up, and say how much of it there was."""
    async with wired(settings) as wiring:
        erased = await cancel_generation(wiring, name)
    out.print(f"Generation {name} is given up: {counted(erased, 'vector')} erased.", highlight=False)
    return 0
