"""`mapseek status` and `mapseek topology`: looking at the log's server."""

from rich.console import Console
from rich.live import Live

from pipeline import topology
from pipeline.clock import utc_now
from pipeline.commands.opened import log_client
from pipeline.console.status import status_json, status_table
from pipeline.monitoring.status import status
from pipeline.registry import STAGES
from pipeline.settings import Settings

WATCH_SAMPLE_S = 2.0


async def show_status(settings: Settings, *, watch: bool, as_json: bool, out: Console) -> int:
    """Print the status once, or again and again until interrupted."""
    async with log_client(settings, "mapseek-inspect") as client:
        if watch and not as_json:
            with Live(console=out, auto_refresh=False) as live:
                while True:
                    live.update(status_table(await status(client, STAGES, WATCH_SAMPLE_S), utc_now()), refresh=True)
        statuses = await status(client, STAGES)
        if as_json:
            out.print(status_json(statuses), soft_wrap=True, markup=False, highlight=False)
        else:
            out.print(status_table(statuses, utc_now()))
    return 0


async def topology_differences(settings: Settings, out: Console) -> int:
    """Print what differs; 1 if anything does."""
    async with log_client(settings, "mapseek-inspect") as client:
        found = await topology.differences(client, STAGES)
    for difference in found:
        out.print(str(difference), markup=False, highlight=False)
    if not found:
        out.print("The server is as this version needs it.")
    return 1 if found else 0


async def apply_topology(settings: Settings, out: Console) -> int:
    """Change what differs, and say so."""
    async with log_client(settings, "mapseek-inspect") as client:
        found = await topology.differences(client, STAGES)
        await topology.apply(client, STAGES)
    out.print(f"{len(found)} differences applied.")
    return 0
