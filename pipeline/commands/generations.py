"""`mapseek generations`, `activate`, `rollback` and `drop`."""

from rich.console import Console

from contracts.errors import counted
from pipeline.cli.open import wired
from pipeline.console.generations import generations_json, generations_table
from pipeline.container import Wiring
from pipeline.generations import activation, dropping
from pipeline.generations.listing import listed
from pipeline.settings import Settings


async def show_generations(settings: Settings, *, as_json: bool, out: Console) -> int:
    """Print what generations there are."""
    async with wired(settings) as wiring:
        found = await listed(wiring.client, (await wiring.generations()).now)
    if as_json:
        out.print(generations_json(found), soft_wrap=True, markup=False, highlight=False)
    elif found:
        out.print(generations_table(found))
    else:
        out.print("There is no generation yet: the first process that embeds founds it.")
    return 0


async def activate_generation(settings: Settings, name: str, *, force: bool, out: Console) -> int:
    """Switch, and say what that means."""
    async with wired(settings) as wiring:
        await _activate(wiring, name, force=force, out=out)
    return 0


async def roll_back(settings: Settings, out: Console) -> int:
    """Activate what was active before, however little of it there is."""
    async with wired(settings) as wiring:
        before = activation.earlier((await wiring.generations()).now)
        await _activate(wiring, before.name, force=True, out=out)
    return 0


async def _activate(wiring: Wiring, name: str, *, force: bool, out: Console) -> None:
    generations = await wiring.generations()
    before = generations.now.active
    missing = await activation.activate(wiring.client, wiring.journal, generations, name, force=force)
    out.print(f"Searches are answered from generation {name} now, in every process.", highlight=False)
    if missing:
        lacks = counted(missing, "image")
        out.print(
            f"[yellow]It lacks {lacks}[/], not to be found until `mapseek replay --name {name}` has finished.", highlight=False
        )
    if before is not None:
        out.print(
            f"New images are kept up in {before.name} too: `mapseek rollback` goes back, `mapseek drop {before.name}` ends that."
        )


async def drop_generation(settings: Settings, name: str, out: Console) -> int:
    """Erase a generation, and say how much that was."""
    async with wired(settings) as wiring:
        erased = await dropping.drop(wiring, name)
    out.print(f"Generation {name} is dropped: {counted(erased, 'vector')} erased.", highlight=False)
    return 0
