"""`mapseek replay`: build, pause, resume and cancel a generation, or replay a stage; with progress bar, estimate and summary."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from contracts.errors import Unavailable, format_count
from contracts.generations import Generation, Generations
from contracts.ports import Encoder, ImageEncoder
from contracts.stage import Stage
from contracts.text import escape_controls
from infra.tasks import cancel_tasks, raise_if_cancelled
from pipeline.cli.open import open_archive_server, open_container
from pipeline.engine.bulk_consumer import Concurrency, Limits, lower_process_priority, yield_to_searches
from pipeline.engine.metrics import Metrics
from pipeline.engine.registry import find_stages
from pipeline.generations.encoders import encoder_label, open_requested_encoder, refuse_missing_checkpoint
from pipeline.generations.lifecycle import find_alive_generation
from pipeline.generations.progress import is_build_paused, read_generation_progress
from pipeline.process import Process, open_process
from pipeline.replay.build import (
    build,
    cancel_generation,
    choose_concurrency,
    find_build_to_join,
    find_unused_name,
    pause_generation,
    require_pictures,
    resume_generation,
    start_or_join_generation,
)
from pipeline.replay.estimate import Estimate, estimate_build
from pipeline.replay.stage_replay import Leg, Part, Tally, check_stage, plan_legs, play_leg
from pipeline.settings import Settings
from stages import embed

REFRESH_S = 1.0
MAX_COUNTING_SHARE = 0.1
"""The progress is counted seldom enough that counting takes at most this share of the time, however many images there are."""


class RateColumn(ProgressColumn):
    """A progress column: pictures or log entries a second, lately."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s", style="progress.data.speed")


def make_progress_bar(console: Console) -> Progress:
    """Return a progress bar with the rate and the remaining time, both computed from the last minute."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, speed_estimate_period=60)


def render_estimate(encoder: Encoder, name: str, estimate: Estimate) -> RenderableType:
    """Return a table of what building a generation will take."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("what the build needs")
    table.add_column("", justify="right")
    table.add_row("pictures to embed and fingerprint", f"{estimate.pictures:,}")
    table.add_row("space in the log", decimal(estimate.log_bytes))
    table.add_row("space in the blob store", decimal(estimate.blob_bytes))
    table.add_row("space in the catalogue", decimal(estimate.catalogue_bytes))
    table.add_row("space in the index (memory and snapshot)", decimal(estimate.index_bytes))
    table.add_row(f"pictures a second (measured with {estimate.sampled})", f"{estimate.rate:,.1f}")
    table.add_row("time, in one process", str(timedelta(seconds=ceil(estimate.seconds))))
    return Group(Text(format_headline(name, encoder.id, encoder.digest)), table)


def format_headline(name: str, encoder_id: str, digest: str) -> str:
    """Return the line that names a generation: its name, its encoder and the beginning of its digest."""
    return escape_controls(f"Generation {name}: {encoder_label(encoder_id)} {digest[:12]}")


def render_replay_summary(events: int, new: int, already_recorded: int, rejected: int, dead_letters: int) -> Table:
    """Return a table of the results of a replayed stage."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("handled", "new facts", "already recorded", "rejected", "dead letters"):
        table.add_column(heading, justify="right")
    letters = f"[red]{dead_letters:,}[/]" if dead_letters else "0"
    table.add_row(f"{events:,}", f"{new:,}", f"{already_recorded:,}", f"{rejected:,}", letters)
    return table


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of the machine a replay may use: messages a second, and the load average above which it begins no work."""

    rate: float | None = None
    max_load: float | None = None

    def limit_batch(self, most: int) -> int:
        """Return a batch size of at most `most`: a slow replay works in small batches instead of bursts."""
        return most if self.rate is None else max(1, min(most, math.floor(self.rate)))


@asynccontextmanager
async def open_replay_process(settings: Settings, pace: Pace) -> AsyncIterator[tuple[Process, Limits]]:
    """Open a process that runs only what is replayed and gives way to searches, with the limits of the pace."""
    async with open_archive_server(settings) as address:
        lower_process_priority()
        async with open_process(settings, address, ()) as process:
            limits = Limits(pace.rate, pace.max_load)
            watching = asyncio.create_task(yield_to_searches(process.container.client, limits.precedence))
            try:
                yield process, limits
            finally:
                await cancel_tasks(watching)


async def build_generation(
    settings: Settings, model: str | None, pretrained: str | None, name: str | None, *, pace: Pace, out: Console, err: Console
) -> int:
    """Build a generation, or resume its build. Return 1 if it lacks pictures at the end."""
    refuse_missing_checkpoint(pretrained)
    async with open_replay_process(settings, pace) as (process, limits):
        generations = await process.container.generations()
        if model is None:
            generation = find_alive_generation(generations.now, name or "")
            encoder = await process.container.encoders.open(generation)
        else:
            await require_pictures(process.container.client)
            encoder = await open_requested_encoder(model, pretrained, settings)
            generation = await _start_or_close(process, encoder, model, pretrained, name)
        err.print(format_headline(generation.name, generation.encoder, generation.digest), markup=False, highlight=False)
        with make_progress_bar(err) as bars:
            task = bars.add_task(generation.name)
            following = asyncio.create_task(_follow_build(process, generation, bars, task))
            try:
                await build(process, generation, limits, pace.limit_batch(settings.batch_size))
            except asyncio.CancelledError:
                bars.console.print(f"Stopped. Resume with `mapseek replay --name {generation.name}`.", highlight=False)
                raise
            finally:
                await cancel_tasks(following)
            found = await _update_bar(process, generation, bars, task)
        return _report_end(generation, found, generations.now, out)


async def _start_or_close(
    process: Process, encoder: ImageEncoder, model: str, pretrained: str | None, name: str | None
) -> Generation:
    try:
        return await start_or_join_generation(process, encoder, model, pretrained, name)
    except BaseException:
        await encoder.close()
        raise


def _report_end(generation: Generation, missing: int, now: Generations, out: Console) -> int:
    if missing:
        lacks = format_count(missing, "picture")
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
            await _update_bar(process, generation, bars, task)
        except Unavailable:
            bars.update(task, description=f"{generation.name} (cannot reach the log)")
        raise_if_cancelled()
        await asyncio.sleep(max(REFRESH_S, (loop.time() - began) / MAX_COUNTING_SHARE))


async def _update_bar(process: Process, generation: Generation, bars: Progress, task: TaskID) -> int:
    found = await read_generation_progress(process.container.client, generation)
    paused = " (paused)" if await is_build_paused(process.container.client, generation) else ""
    bars.update(task, description=f"{generation.name}{paused}", total=found.total, completed=min(found.done, found.total))
    return found.missing


async def estimate_generation(
    settings: Settings, model: str | None, pretrained: str | None, name: str | None, *, out: Console
) -> int:
    """Print what building a generation would take. Record nothing."""
    refuse_missing_checkpoint(pretrained)
    async with open_replay_process(settings, Pace()) as (process, _):
        now = (await process.container.generations()).now
        pictures = await require_pictures(process.container.client)
        if model is None:
            generation = find_alive_generation(now, name or "")
            encoder = await process.container.encoders.open(generation)
            title, pictures = generation.name, (await read_generation_progress(process.container.client, generation)).missing
            out.print(
                render_estimate(encoder.encoder, title, await estimate_build(process, encoder, pictures, settings.batch_size))
            )
            return 0
        encoder = await open_requested_encoder(model, pretrained, settings)
        try:
            joined = find_build_to_join(now, encoder, name)
            if joined is not None:
                pictures = (await read_generation_progress(process.container.client, joined)).missing
            title = joined.name if joined else name or find_unused_name(now)
            out.print(
                render_estimate(encoder.encoder, title, await estimate_build(process, encoder, pictures, settings.batch_size))
            )
        finally:
            await encoder.close()
    return 0


async def pause_build(settings: Settings, name: str, out: Console) -> int:
    """Pause a build, and print how to resume it."""
    async with open_container(settings) as container:
        await pause_generation(container, name)
    out.print(f"The build of {name} is paused in every process. Resume it with `mapseek replay resume {name}`.", highlight=False)
    return 0


async def resume_build(settings: Settings, name: str, out: Console) -> int:
    """Resume a paused build, and print which process continues it."""
    async with open_container(settings) as container:
        await resume_generation(container, name)
    out.print(f"The build of {name} is resumed. Processes that run `mapseek replay --name {name}` continue it.", highlight=False)
    return 0


async def cancel_build(settings: Settings, name: str, out: Console) -> int:
    """Cancel a build, and print how many vectors were erased."""
    async with open_container(settings) as container:
        erased = await cancel_generation(container, name)
    out.print(f"Generation {name} is cancelled: {format_count(erased, 'vector')} erased.", highlight=False)
    return 0


async def replay_stage(
    settings: Settings, name: str, part: Part, generation: str | None, *, pace: Pace, dry_run: bool, out: Console, err: Console
) -> int:
    """Replay a stage and print the results. Return 1 if there are dead letters."""
    [stage] = find_stages([name])
    check_stage(stage, part)
    async with open_replay_process(settings, pace) as (process, limits):
        chosen = _choose_generations((await process.container.generations()).now, generation)
        found = await plan_legs(process.container.client, stage, part, chosen)
        if not any(leg.total for leg in found):
            out.print(f"This part of the log has nothing for the stage {stage.name}.")
            return 0
        if dry_run:
            _print_plan(stage, found, out)
            return 0
        if any(leg.begun for leg in found):
            done = sum(leg.total - leg.left for leg in found)
            err.print(f"Resuming: {done:,} of {sum(leg.total for leg in found):,} are done.", highlight=False)
        tally, metrics = Tally(), process.runtime.metrics
        counted = tally.count_facts(stage)
        with make_progress_bar(err) as bars:
            task = bars.add_task(stage.name, total=sum(leg.total for leg in found))
            earlier = sum(leg.total - leg.left for leg in found)
            following = asyncio.create_task(_follow_stage(metrics, stage, bars, task, earlier))
            try:
                for leg in found:
                    await play_leg(process, counted, leg, limits, _choose_concurrency(stage, settings, pace))
            except asyncio.CancelledError:
                bars.console.print("Stopped. Run the same command again to resume.", highlight=False)
                raise
            finally:
                await cancel_tasks(following)
            bars.update(task, completed=earlier + _count_settled(metrics, stage))
        already_recorded, rejected = _count(metrics.already_recorded, stage), _count(metrics.rejected, stage)
        letters = _count(metrics.dead_lettered, stage)
        out.print(
            render_replay_summary(
                _count_settled(metrics, stage), tally.made + rejected - already_recorded, already_recorded, rejected, letters
            )
        )
        return 1 if letters else 0


def _choose_generations(generations: Generations, name: str | None) -> Sequence[Generation]:
    return generations.alive if name is None else [find_alive_generation(generations, name)]


def _choose_concurrency(stage: Stage[Any], settings: Settings, pace: Pace) -> Concurrency:
    return choose_concurrency(stage, pace.limit_batch(settings.batch_size if stage.name == embed.STAGE.name else settings.workers))


async def _follow_stage(metrics: Metrics, stage: Stage[Any], bars: Progress, task: TaskID, earlier: int) -> None:
    while True:
        bars.update(task, completed=earlier + _count_settled(metrics, stage))
        await asyncio.sleep(REFRESH_S)


def _count_settled(metrics: Metrics, stage: Stage[Any]) -> int:
    return _count(metrics.succeeded, stage) + _count(metrics.dead_lettered, stage)


def _count(counter: Any, stage: Stage[Any]) -> int:
    samples = (sample for family in counter.collect() for sample in family.samples)
    return sum(int(each.value) for each in samples if each.name.endswith("_total") and each.labels["stage"] == stage.name)


def _print_plan(stage: Stage[Any], found: Sequence[Leg], out: Console) -> None:
    for leg in found:
        whose = f" for generation {leg.generation.name}" if leg.generation else ""
        out.print(f"{stage.name} would handle {format_count(leg.left, 'fact')}{whose}.", highlight=False)
