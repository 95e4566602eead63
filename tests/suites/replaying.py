"""A replay of everything: the stages begin at the first entry of every log."""

import shutil
from pathlib import Path

from infra.nats.connection import connect
from infra.nats.projections import read_generations
from pipeline.engine.consumers import durables
from pipeline.engine.registry import STAGES
from pipeline.process import log_server
from tests.suites.world import Discord


async def begin_all_stages_anew(discord: Discord, folder: Path, *, emptied: bool = True) -> None:
    """Forget how far the stages have come and, unless catalogue and index stay as they are, what they made of the logs."""
    async with log_server(discord.settings(folder)) as url:
        client = await connect(url, "test")
        for durable in durables(STAGES, await read_generations(client)):
            await client.jetstream().delete_consumer(durable.stream, durable.name)
        await client.close()
    if not emptied:
        return
    for file in folder.glob("catalogue.sqlite*"):
        file.unlink()
    for index in ("vectors", "features"):
        shutil.rmtree(folder / index)
