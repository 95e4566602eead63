"""`mapseek trace`: show everything that happened to an image, the images of a message, or a search, as a page or as JSON."""

from dataclasses import asdict
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from contracts.errors import MapSeekError, Unavailable
from contracts.events import ImagePosted
from contracts.generations import Generations
from contracts.text import escape_controls
from infra.nats.projections import read_generations
from pipeline.cli.app import print_json
from pipeline.cli.open import open_log_client
from pipeline.container import open_catalogue
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.failures.render import shorten_digests
from pipeline.settings import Settings, ensure_data_folder
from pipeline.trace.lookup import Entity, EntityHistory, find_entities, read_history
from pipeline.trace.story import CatalogueStatus, EntityStatus, Story, TraceStep, build_story, describe_status


def render_trace(found: EntityHistory, story: Story, status: EntityStatus, catalogue: CatalogueStatus) -> RenderableType:
    """Return a page with a row for each step, and the status. It fits into 100 columns."""
    entity = found.entity
    first = next((step.at for step in story.steps if step.at), None)
    since = f", since {first:%Y-%m-%d} (UTC)" if first else ""
    title = Text.assemble(
        (escape_controls(f"{entity.kind} {entity.id}"), "bold"), escape_controls(f" of guild {entity.guild_id}{since}")
    )
    steps = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    steps.add_column("time", no_wrap=True)
    steps.add_column("after", justify="right", no_wrap=True)
    steps.add_column("stage", no_wrap=True)
    steps.add_column("what", overflow="fold", min_width=12)
    steps.add_column("details", overflow="fold", ratio=1)
    steps.add_column("process", overflow="fold", max_width=20)
    day = first
    for step in story.steps:
        new_day = step.at is not None and day is not None and step.at.date() != day.date()
        day = step.at or day
        steps.add_row(*_format_cells(step, new_day), style="red" if step.bad else "")
    posts = [Text(escape_controls(fact.message_link)) for fact in story.facts if isinstance(fact, ImagePosted)]
    parts: list[RenderableType] = [title, *posts, steps]
    if entity.kind == "image":
        parts += [_render_kept(status, catalogue), Text()]
    parts.append(
        Text.assemble(("-> ", "bold"), (escape_controls(status.line), "green" if status.well else "yellow"), overflow="fold")
    )
    return Group(*parts)


def _format_cells(step: TraceStep, new_day: bool) -> list[Text]:
    time = "-" if step.at is None else f"{step.at:%Y-%m-%d %H:%M:%S}" if new_day else f"{step.at:%H:%M:%S.%f}"[:-3]
    after = "" if step.after_s is None else _format_seconds(step.after_s)
    what = " ".join(
        filter(None, (step.what, f"[{step.generation}]" if step.generation else "", "(replay)" if step.replayed else ""))
    )
    return [Text(escape_controls(cell)) for cell in (time, after, step.stage, what, shorten_digests(step.detail), step.process)]


def _format_seconds(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"+{seconds / size:.1f} {unit}"
    return f"+{seconds:.3f} s"


def _render_kept(status: EntityStatus, catalogue: CatalogueStatus) -> RenderableType:
    """Return lines about what the catalogue and each generation have of an image."""
    lines = []
    if catalogue.problem:
        lines.append(f"catalogue: cannot be read ({catalogue.problem})")
    else:
        lines.append(
            f"catalogue: {'removed' if catalogue.removed else 'has the image' if catalogue.there else 'does not have the image'}"
        )
    for each in status.generations:
        made = {"fingerprinted": each.fingerprinted, "embedded": each.embedded, "indexed": each.indexed}
        parts = [what if there else f"not {what}" for what, there in made.items()]
        if not catalogue.problem:
            parts.append("vector in the catalogue" if each.in_catalogue else "no vector in the catalogue")
        lines.append(f"{each.name}{' (active)' if each.active else ''}: {', '.join(parts)}")
    return Text("\n".join(map(escape_controls, lines)))


def trace_to_json(found: EntityHistory, story: Story, status: EntityStatus, catalogue: CatalogueStatus) -> dict[str, Any]:
    """Return the trace as `--json` shows it."""
    return {
        "kind": found.entity.kind,
        "guild_id": found.entity.guild_id,
        "id": found.entity.id,
        "steps": [asdict(step) for step in story.steps],
        "dead_letters": [letter.id for letter in found.letters],
        "put_back": [letter.headers.get("mapseek-stage", "") for letter in found.waiting],
        "catalogue": asdict(catalogue) | {"vectors": sorted(catalogue.vectors)},
        "generations": [asdict(each) for each in status.generations],
        "standing": status.line,
        "well": status.well,
    }


async def trace_entities(settings: Settings, what: str, *, as_json: bool, out: Console) -> int:
    """Print the trace of each image or search that `what` names."""
    async with open_log_client(settings, "mapseek-trace") as client:
        await topology.ensure_topology(client, STAGES)
        generations = await read_generations(client)
        found = [await read_history(client, entity) for entity in await find_entities(client, what)]
    traces = []
    for each in found:
        story, catalogue = build_story(each, STAGES), await _read_catalogue_status(settings, each.entity, generations)
        status = describe_status(each, story.facts, generations, catalogue)
        traces.append((each, story, status, catalogue))
    if as_json:
        text = orjson.dumps([trace_to_json(*trace) for trace in traces], option=orjson.OPT_UTC_Z).decode()
        print_json(text, out)
    else:
        for trace in traces:
            out.print(render_trace(*trace))
            out.print()
    return 0


async def _read_catalogue_status(settings: Settings, entity: Entity, generations: Generations) -> CatalogueStatus:
    """Return what the catalogue has of an image. If the catalogue cannot be reached, the trace shows that instead of failing."""
    if entity.kind != "image":
        return CatalogueStatus()
    try:
        catalogue = await open_catalogue(settings, ensure_data_folder(settings))
        try:
            there = entity.id in await catalogue.entries([entity.id], with_hidden=True)
            names = [each.name for each in generations.alive]
            vectors = {name for name in names if await catalogue.vector(entity.id, name) is not None}
            return CatalogueStatus(there, await catalogue.is_removed(entity.id), frozenset(vectors))
        finally:
            await catalogue.close()
    except (Unavailable, MapSeekError) as error:
        return CatalogueStatus(problem=str(error))
