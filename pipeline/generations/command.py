"""`mapseek generations` (a table or JSON), `activate`, `rollback` and `drop`."""

from collections.abc import Sequence

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from contracts.errors import format_count
from contracts.text import escape_controls
from pipeline.cli.app import print_json
from pipeline.cli.open import open_container
from pipeline.container import Container
from pipeline.generations import drop, lifecycle
from pipeline.generations.encoders import encoder_label
from pipeline.generations.progress import GenerationSummary, list_generations
from pipeline.settings import Settings

GENERATION_COLOURS = {"active": "green", "ready": "cyan", "building": "yellow", "paused": "yellow"}


def generations_to_json(listed: Sequence[GenerationSummary]) -> str:
    """Return a JSON array with one object for each generation."""
    return orjson.dumps([_to_json(each) for each in listed]).decode()


def render_generations(listed: Sequence[GenerationSummary]) -> Table:
    """Render the generations as a table for a terminal of 80 columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "state", "encoder and weights", "pixels"):
        table.add_column(heading, overflow="fold")
    for heading in ("images", "missing", "vectors"):
        table.add_column(heading, justify="right")
    for each in listed:
        state = f"[{GENERATION_COLOURS[each.state]}]{each.state}[/]" if each.state in GENERATION_COLOURS else each.state
        encoder = Text(escape_controls(f"{encoder_label(each.encoder)} {each.digest[:12]}"))
        counts = (f"{each.images:,}", f"{each.missing:,}", decimal(each.vector_bytes))
        table.add_row(each.name, state, encoder, each.preprocessing, *counts)
    return table


def _to_json(each: GenerationSummary) -> dict[str, object]:
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
    """Print the generations."""
    async with open_container(settings) as container:
        found = await list_generations(container.client, (await container.generations()).now)
    if as_json:
        print_json(generations_to_json(found), out)
    elif found:
        out.print(render_generations(found))
    else:
        out.print("There is no generation yet: the first process that runs the embed stage creates one.")
    return 0


async def activate_generation(settings: Settings, name: str, *, force: bool, out: Console) -> int:
    """Activate a generation, and print what that means."""
    async with open_container(settings) as container:
        await _activate(container, name, force=force, out=out)
    return 0


async def roll_back(settings: Settings, out: Console) -> int:
    """Activate the generation that was active before, even if images are missing in it."""
    async with open_container(settings) as container:
        before = lifecycle.find_earlier_generation((await container.generations()).now)
        await _activate(container, before.name, force=True, out=out)
    return 0


async def _activate(container: Container, name: str, *, force: bool, out: Console) -> None:
    generations = await container.generations()
    before = generations.now.active
    missing = await lifecycle.activate(container.client, container.journal, generations, name, force=force)
    out.print(f"Generation {name} answers searches now, in every process.", highlight=False)
    if missing:
        lacks = format_count(missing, "image")
        out.print(f"[yellow]It lacks {lacks}[/]: finish it with `mapseek replay --name {name}`.", highlight=False)
    if before is not None:
        out.print(
            f"New images go into {before.name} too: `mapseek rollback` switches back to it, `mapseek drop {before.name}` erases it."
        )


async def drop_generation(settings: Settings, name: str, out: Console) -> int:
    """Erase a generation, and print how many vectors were erased."""
    async with open_container(settings) as container:
        erased = await drop.erase_generation(container, name)
    out.print(f"Generation {name} is dropped: {format_count(erased, 'vector')} erased.", highlight=False)
    return 0
