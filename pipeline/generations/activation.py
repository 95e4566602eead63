"""Which generation answers is one fact: recorded here, followed by every process, and taken back by another one."""

from contracts.envelope import Origin
from contracts.errors import MapSeekError, counted
from contracts.generations import Generation, Generations
from contracts.ports import Journal
from infra.nats.connection import Client
from infra.nats.projections import FollowedGenerations
from pipeline.engine.consumers import STAGES, durables
from pipeline.generations.encoders import said
from pipeline.generations.founding import activated
from pipeline.generations.naming import living
from pipeline.generations.standing import standing
from pipeline.monitoring.status import idle_stages, unsettled
from stages import embed


async def activate(client: Client, journal: Journal, generations: FollowedGenerations, name: str, *, force: bool = False) -> int:
    """Let searches be answered from a generation from now on; returns how many images are missing in it.

    Raises MapSeekError when there is no such generation, when it answers already, and when images are missing or no process has its
    model at hand, unless that is to be by `force`.
    """
    generation = living(generations.now, name)
    if generations.now.active == generation:
        raise MapSeekError(f"Generation {name} is the active one already.")
    missing = (await standing(client, generation)).missing
    if not force:
        await _refuse_incomplete(client, generations.now, generation, missing)
        await _refuse_unloaded(client, generation)
    fact = activated(generations.now, name)
    if not await journal.record(fact, Origin(name)):
        raise MapSeekError("Somebody else changed the active generation at this moment: look at `mapseek generations`.")
    now = await generations.until(lambda now: len(now.activations) >= fact.number)
    if name in now.dropped:
        raise MapSeekError(f"Somebody dropped generation {name} at this moment: searches are answered as before.")
    return missing


def earlier(generations: Generations) -> Generation:
    """What a rollback activates. Raises MapSeekError when there is nothing to go back to."""
    active = generations.active
    before = generations.before(active.name) if active else None
    if before is None:
        raise MapSeekError("There is no earlier generation to go back to: none was active before, or it was dropped.")
    return before


async def _refuse_incomplete(client: Client, generations: Generations, generation: Generation, missing: int) -> None:
    if missing:
        raise MapSeekError(
            f"Generation {generation.name} lacks {counted(missing, 'image')}, not to be found any more then: finish it with "
            f"`mapseek replay --name {generation.name}`, or do without them with --force."
        )
    for durable in durables(STAGES, generations):
        if durable.stage == "persist" and durable.generation == generation:
            waiting = await unsettled(client, durable)
            if waiting:
                raise MapSeekError(
                    f"{counted(waiting, 'vector')} of generation {generation.name} must still get into the catalogue: wait a "
                    "moment, or activate it with --force."
                )


async def _refuse_unloaded(client: Client, generation: Generation) -> None:
    """While processes answer questions, one of them must have the model: loading it takes seconds in which nobody is answered."""
    if await idle_stages(client, [embed.STAGE], "search"):
        return
    if await idle_stages(client, [embed.STAGE], "image", generation=generation.name):
        raise MapSeekError(
            f"No running process has loaded the model of generation {generation.name} ({said(generation.encoder)}): look into "
            "their logs, or activate it with --force."
        )
