"""The catalogue of a restored log: made by playing it, as it was made the first time."""

from contracts.ports import Catalogue
from contracts.subjects import IMAGES, kind_filter
from infra.nats.connection import Client
from infra.nats.projections import read_generations
from infra.nats.reader import last_sequence
from pipeline.backup.summary import Progress
from pipeline.rebuild.filling import Filling, Place
from stages import persist


async def fill(catalogue: Catalogue, client: Client, progress: Progress) -> None:
    """Empty the catalogue and play the log of images into it, all of it at once. Raises Unavailable."""
    await catalogue.clear()
    dropped = (await read_generations(client)).dropped
    filters = tuple(kind_filter(kind) for kind in persist.STAGE.consumes)
    whole = Place("all", filters, await last_sequence(client, IMAGES))
    await Filling(client, catalogue, dropped, lambda done, total: progress("catalogue", done, total)).up_to([whole])
