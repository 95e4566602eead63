"""The catalogue made anew from the log beside the one that answers: put in its place, or only compared with it."""

from dataclasses import dataclass

from contracts.ports import Catalogue
from contracts.subjects import REBUILDING_CATALOGUE
from infra.nats.connection import Client
from infra.nats.projections import read_generations
from pipeline.rebuild.alone import alone
from pipeline.rebuild.digest import Comparison, compared
from pipeline.rebuild.filling import Filling, Progress
from pipeline.rebuild.standstill import places, standstill

_REFUSAL = "The catalogue is being rebuilt already: wait until that has ended."


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it. `unsettled` facts were delivered but not settled: what there was before may lack them."""

    comparison: Comparison
    unsettled: int


async def rebuild_catalogue(client: Client, catalogue: Catalogue, *, verify: bool, progress: Progress) -> Rebuilt:
    """Fill a catalogue beside this one, hold what writes to it, compare both at the same place of the log and, unless it is only to
    `verify`, let the new one take its place. Answers are given all the time.

    Raises MapSeekError when somebody is at it already, Unavailable when the log or the catalogue cannot be reached.
    """
    async with alone(client, REBUILDING_CATALOGUE, _REFUSAL):
        return await _rebuild(client, catalogue, verify=verify, progress=progress)


async def _rebuild(client: Client, catalogue: Catalogue, *, verify: bool, progress: Progress) -> Rebuilt:
    dropped = (await read_generations(client)).dropped
    beside = await catalogue.beside()
    try:
        filling = Filling(client, beside, dropped, progress)
        for _ in range(2):  # once for all that there is, once for what came meanwhile
            await filling.up_to(await places(client, settled=True))
        async with standstill(client) as (held_at, unsettled):
            await filling.up_to(held_at)
            await _drop(beside, (await read_generations(client)).dropped - dropped)
            comparison = await compared(catalogue.contents(), beside.contents())
            if not verify:
                await filling.up_to(await places(client))  # nothing as a rule, but what a new generation's durable began with
                await catalogue.replace_with(beside)
        if not verify:
            await _drop(catalogue, (await read_generations(client)).dropped - dropped)
    finally:
        await beside.close()
    return Rebuilt(comparison, unsettled)


async def _drop(catalogue: Catalogue, generations: frozenset[str]) -> None:
    """Erase what was given up meanwhile."""
    for generation in generations:
        await catalogue.drop_generation(generation)
