"""Another generation beside the first in a World: begun, switched on and given up by what the commands record."""

from contracts.envelope import Origin
from contracts.events import Fact
from contracts.subjects import stream_of, variant_filter
from infra.clip.calibration import FINE_UNTRAINED_MODEL
from infra.nats.projections import FollowedGenerations
from pipeline.generations.drop import drop
from pipeline.generations.encoders import open_encoder_named
from pipeline.generations.lifecycle import activated, started
from pipeline.settings import Settings
from tests.suites.bench_stage import count
from tests.suites.waiting import eventually
from tests.suites.world import World


async def begin(world: World, name: str, *, model: str = FINE_UNTRAINED_MODEL, preprocessing: str = "p1") -> None:
    """Start a generation, and wait until the process works on it."""
    encoder = await open_encoder_named(model, None, "auto", Settings(_env_file=None))  # type: ignore[call-arg]
    await _record(world, started(name, encoder.encoder, model, None, preprocessing))
    await encoder.close()
    await eventually(lambda: world.process.wiring.encoders.of(name) is not None)


async def activate(world: World, name: str) -> None:
    """Let searches be answered from a generation, complete or not."""
    generations = await _generations(world)
    await _record(world, activated(generations.now, name))
    await generations.until(lambda now: now.active is not None and now.active.name == name)


async def give_up(world: World, name: str) -> None:
    """Drop a generation with all that it has."""
    await drop(world.process.wiring, name)


async def holds(world: World, kind: type[Fact], generation: str, number: int) -> None:
    """Wait until so many facts of one kind are recorded for a generation."""

    async def enough() -> bool:
        return await count(world.process.wiring.client, stream_of(kind), variant_filter(kind, generation)) >= number

    await eventually(enough)


async def _generations(world: World) -> FollowedGenerations:
    return await world.process.wiring.generations()


async def _record(world: World, fact: Fact) -> None:
    assert await world.process.wiring.journal.record(fact, Origin("test"))
