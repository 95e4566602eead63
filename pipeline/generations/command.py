"""`mapseek generations`, `activate`, `rollback` and `drop`.

`mapseek generations`: the generations as a table or as JSON.
"""

from collections.abc import Sequence

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from contracts.errors import counted
from pipeline.cli.open import wired
from pipeline.container import Wiring
from pipeline.generations import drop, lifecycle
from pipeline.generations.encoders import said
from pipeline.generations.progress import Listed, listed
from pipeline.settings import Settings

COLOURS = {"active": "green", "ready": "cyan", "building": "yellow", "paused": "yellow"}


def generations_json(listed: Sequence[Listed]) -> str:
    """A JSON array, one object a generation."""
    return orjson.dumps([_plain(each) for each in listed]).decode()


def generations_table(listed: Sequence[Listed]) -> Table:
    """The table for a terminal of 80 columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "state", "encoder and weights", "pixels"):
        table.add_column(heading, overflow="fold")
    for heading in ("images", "missing", "vectors"):
        table.add_column(heading, justify="right")
    for each in listed:
        state = f"[{COLOURS[each.state]}]{each.state}[/]" if each.state in COLOURS else each.state
        encoder = f"{said(each.encoder)} {each.digest[:12]}"
        counts = (f"{each.images:,}", f"{each.missing:,}", decimal(each.vector_bytes))
        table.add_row(each.name, state, encoder, each.preprocessing, *counts)
    return table


def _plain(each: Listed) -> dict[str, object]:
    return {
        "name": each.name,
        "state": each.state,
        "encoder": each.encoder,
        "digest": each.digest,
        "preprocessing": each.preprocessing,
        "fingerprint": each.fingerprint,
        "dimensions": each.dimensions,
        "images": each.images,
        "missing": each.missing,
        "vector_bytes": each.vector_bytes,
    }


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
        before = lifecycle.earlier((await wiring.generations()).now)
        await _activate(wiring, before.name, force=True, out=out)
    return 0


async def _activate(wiring: Wiring, name: str, *, force: bool, out: Console) -> None:
    generations = await wiring.generations()
    before = generations.now.active
    missing = await lifecycle.activate(wiring.client, wiring.journal, generations, name, force=force)
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
        erased = await drop.drop(wiring, name)
    out.print(f"Generation {name} is dropped: {counted(erased, 'vector')} erased.", highlight=False)
    return 0
