"""`mapseek trace`: everything that happened to an image, to the images of a message, or to a search."""

import orjson
from rich.console import Console

from contracts.errors import MapSeekError, Unavailable
from contracts.generations import Generations
from infra.nats.projections import read_generations
from pipeline.cli.open import log_client
from pipeline.container import open_catalogue
from pipeline.engine import topology
from pipeline.engine.consumers import STAGES
from pipeline.settings import Settings, prepared_data_dir
from pipeline.trace.finding import Entity, entities, history
from pipeline.trace.shown import trace_json, trace_page
from pipeline.trace.standing import InCatalogue, standing_of
from pipeline.trace.story import story_of


async def trace_entities(settings: Settings, what: str, *, as_json: bool, out: Console) -> int:
    """Print the story of each image or search that is meant."""
    async with log_client(settings, "mapseek-trace") as client:
        await topology.ensure(client, STAGES)
        generations = await read_generations(client)
        found = [await history(client, entity) for entity in await entities(client, what)]
    told = []
    for each in found:
        story, catalogue = story_of(each, STAGES), await _in_catalogue(settings, each.entity, generations)
        standing = standing_of(each, story.facts, generations, catalogue)
        told.append((each, story, standing, catalogue))
    if as_json:
        text = orjson.dumps([trace_json(*one) for one in told], option=orjson.OPT_UTC_Z).decode()
        out.print(text, soft_wrap=True, markup=False, highlight=False)
    else:
        for one in told:
            out.print(trace_page(*one))
            out.print()
    return 0


async def _in_catalogue(settings: Settings, entity: Entity, generations: Generations) -> InCatalogue:
    """What the catalogue has of an image. One that is down does not keep the log from being read."""
    if entity.kind != "image":
        return InCatalogue()
    try:
        catalogue = await open_catalogue(settings, prepared_data_dir(settings))
        try:
            there = entity.id in await catalogue.entries([entity.id])
            names = [each.name for each in generations.alive]
            vectors = {name for name in names if await catalogue.vector(entity.id, name) is not None}
            return InCatalogue(there, await catalogue.removed(entity.id), frozenset(vectors))
        finally:
            await catalogue.close()
    except (Unavailable, MapSeekError) as error:
        return InCatalogue(problem=str(error))
