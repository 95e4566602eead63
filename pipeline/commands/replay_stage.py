"""`mapseek replay --stage`: a stage goes through a part of the log again."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from contracts.generations import Generation, Generations
from contracts.stage import Stage
from infra.tasks import cancel
from pipeline.commands.replay import LOOK_EVERY_S, Pace, at_work
from pipeline.console.replay import bar, summary_table
from pipeline.engine.bulk_consumer import Hands
from pipeline.engine.consumers import stages_named
from pipeline.engine.metrics import Metrics
from pipeline.generations.lifecycle import living
from pipeline.replay.building import hands_for
from pipeline.replay.parts import Part
from pipeline.replay.staging import Leg, Tally, check_stage, legs, play_leg
from pipeline.settings import Settings
from stages import embed


async def replay_stage(
    settings: Settings, name: str, part: Part, generation: str | None, *, pace: Pace, dry_run: bool, out: Console, err: Console
) -> int:
    """Play a stage again and print what came of it. 1 if there are dead letters."""
    [stage] = stages_named([name])
    check_stage(stage, part)
    async with at_work(settings, pace) as (process, limits):
        chosen = _chosen((await process.wiring.generations()).now, generation)
        found = await legs(process.wiring.client, stage, part, chosen)
        if not any(leg.total for leg in found):
            out.print(f"That part of the log has nothing for {stage.name}.")
            return 0
        if dry_run:
            _tell_plan(stage, found, out)
            return 0
        if any(leg.begun for leg in found):
            done = sum(leg.total - leg.left for leg in found)
            err.print(f"Going on where it was: {done:,} of {sum(leg.total for leg in found):,} are done.", highlight=False)
        tally, metrics = Tally(), process.runtime.metrics
        counted = tally.counting(stage)
        with bar(err) as bars:
            task = bars.add_task(stage.name, total=sum(leg.total for leg in found))
            earlier = sum(leg.total - leg.left for leg in found)
            looking = asyncio.create_task(_follow_stage(metrics, stage, bars, task, earlier))
            try:
                for leg in found:
                    await play_leg(process, counted, leg, limits, _hands(stage, settings, pace))
            except asyncio.CancelledError:
                bars.console.print("Stopped: the same command goes on where it was.", highlight=False)
                raise
            finally:
                await cancel(looking)
            bars.update(task, completed=earlier + _settled(metrics, stage))
        known, rejected = _count(metrics.known, stage), _count(metrics.rejected, stage)
        letters = _count(metrics.dead_lettered, stage)
        out.print(summary_table(_settled(metrics, stage), tally.made + rejected - known, known, rejected, letters))
        return 1 if letters else 0


def _chosen(generations: Generations, name: str | None) -> Sequence[Generation]:
    return generations.alive if name is None else [living(generations, name)]


def _hands(stage: Stage[Any], settings: Settings, pace: Pace) -> Hands:
    return hands_for(stage, pace.batch(settings.batch_size if stage.name == embed.STAGE.name else settings.workers))


async def _follow_stage(metrics: Metrics, stage: Stage[Any], bars: Progress, task: TaskID, earlier: int) -> None:
    while True:
        bars.update(task, completed=earlier + _settled(metrics, stage))
        await asyncio.sleep(LOOK_EVERY_S)


def _settled(metrics: Metrics, stage: Stage[Any]) -> int:
    return _count(metrics.succeeded, stage) + _count(metrics.dead_lettered, stage)


def _count(counter: Any, stage: Stage[Any]) -> int:
    samples = (sample for family in counter.collect() for sample in family.samples)
    return sum(int(each.value) for each in samples if each.name.endswith("_total") and each.labels["stage"] == stage.name)


def _tell_plan(stage: Stage[Any], found: Sequence[Leg], out: Console) -> None:
    for leg in found:
        whose = f" for generation {leg.generation.name}" if leg.generation else ""
        out.print(f"{stage.name} would go through {leg.left:,} entries of the {leg.family} lane{whose}.", highlight=False)
