"""`mapseek up`, `run` and `gateway`, which run until they are stopped; `status`, `topology` and `invite`, which print something."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from contracts.errors import MapSeekError, format_count
from contracts.stage import Stage
from contracts.text import escape_controls
from infra.discord.invite import INTENTS, PERMISSIONS, build_invite_link, parse_application_id
from infra.nats.connection import LogAddress
from infra.nats.server import rotate_login
from pipeline.cli.app import print_json
from pipeline.cli.open import open_log_client
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.registry import STAGES, find_stages
from pipeline.log_address import find_log_address
from pipeline.monitoring.status import StageStatus, read_status
from pipeline.process import hold_gateway_lock, open_log_server, open_process, wait_until_stopped
from pipeline.settings import Settings, ensure_data_folder, require_token

LANE_NAMES = {"image": "archive", "search": "search", "alert": "alert", "removal": "removal"}


STATUS_HEADINGS = ("stage", "lane", "pending", "in flight", "retried", "dead letters", "done", "per s", "last active")

WATCH_SAMPLE_S = 2.0


async def serve_all(settings: Settings) -> None:
    """Run everything in one process. Raises MapSeekError if another process runs the gateway on the data folder."""
    require_token(settings)
    with hold_gateway_lock(settings):
        async with open_log_server(settings) as address:
            await _serve(settings, address, STAGES, with_gateway=True)


async def serve_stages(settings: Settings, names: list[str]) -> None:
    """Run only some stages."""
    await _serve(settings, require_log_address(settings), find_stages(names))


async def serve_gateway(settings: Settings) -> None:
    """Run only the gateway. Raises MapSeekError if another process runs it on the data folder."""
    require_token(settings)
    address = require_log_address(settings)
    with hold_gateway_lock(settings):
        await _serve(settings, address, (), with_gateway=True)


async def _serve(settings: Settings, address: LogAddress, stages: Sequence[Stage[Any]], *, with_gateway: bool = False) -> None:
    async with open_process(settings, address, stages, with_gateway=with_gateway, monitored=True) as process:
        await wait_until_stopped(process)


def require_log_address(settings: Settings) -> LogAddress:
    """Return the address of a log server that runs already. Raises MapSeekError if there is none."""
    address = find_log_address(settings)
    if address is None:
        raise MapSeekError(f"No log is running on {settings.data_dir}: set NATS_URL, or start `mapseek up` there first.")
    return address


def status_to_json(statuses: Sequence[StageStatus]) -> str:
    """Return a JSON array with one object for each stage, lane and generation."""
    return orjson.dumps([asdict(each) for each in statuses], option=orjson.OPT_UTC_Z).decode()


def build_status_cells(statuses: Sequence[StageStatus], now: datetime) -> list[tuple[str, ...]]:
    """Return the rows of the table as text, headings first. The server reports activity only since its own start."""
    return [STATUS_HEADINGS, *(_build_row(each, now) for each in statuses)]


def render_status(statuses: Sequence[StageStatus], now: datetime) -> Table:
    """Render the table for a terminal of 80 columns. Dead letters are red, redeliveries yellow."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(STATUS_HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=number < 2)
    for each in statuses:
        row = list(_build_row(each, now))
        for column, colour, flagged in ((4, "yellow", each.redelivered), (5, "red", each.dead_letters)):
            row[column] = f"[{colour}]{row[column]}[/]" if flagged else row[column]
        table.add_row(*row)
    return table


def _build_row(each: StageStatus, now: datetime) -> tuple[str, ...]:
    counts = (each.pending, each.in_flight, each.redelivered, each.dead_letters, each.done)
    last = _format_age(each.last_activity, now)
    lane = " ".join(filter(None, (LANE_NAMES[each.lane], each.generation)))
    return (each.stage, lane, *map(str, counts), f"{each.rate:.1f}", last)


def _format_age(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


async def show_status(settings: Settings, *, watch: bool, as_json: bool, out: Console) -> int:
    """Print the status once, or with `watch`, refresh it until interrupted."""
    async with open_log_client(settings, "mapseek-inspect") as client:
        if watch and not as_json:
            with Live(console=out, auto_refresh=False) as live:
                while True:
                    live.update(render_status(await read_status(client, STAGES, WATCH_SAMPLE_S), utc_now()), refresh=True)
        statuses = await read_status(client, STAGES)
        if as_json:
            print_json(status_to_json(statuses), out)
        else:
            out.print(render_status(statuses, utc_now()))
    return 0


async def show_topology_differences(settings: Settings, out: Console) -> int:
    """Print the differences. Return 1 if there are any."""
    async with open_log_client(settings, "mapseek-inspect") as client:
        found = await topology.find_differences(client, STAGES)
    for difference in found:
        out.print(escape_controls(str(difference)), markup=False, highlight=False)
    if not found:
        out.print("The streams and consumers are as this version needs them.")
    return 1 if found else 0


async def apply_topology(settings: Settings, out: Console) -> int:
    """Apply the differences, and print their number."""
    async with open_log_client(settings, "mapseek-inspect") as client:
        found = await topology.find_differences(client, STAGES)
        await topology.update_topology(client, STAGES)
    out.print(f"{format_count(len(found), 'difference')} corrected.")
    return 0


def rotate_key(settings: Settings, out: Console) -> None:
    """Give the log server of the data folder a new key. Raises MapSeekError if it runs, or if the settings name another server."""
    if settings.nats_url:
        raise MapSeekError("NATS_URL is set, so the log is on a server elsewhere: change the password there, and then here.")
    rotate_login(ensure_data_folder(settings) / "nats")
    out.print("The log server of this data folder has a new key. Everything that is started from now on uses it.")


def show_invite(settings: Settings, guild: int | None, out: Console) -> None:
    """Print the link, and the permissions and intents. Raises MapSeekError if DISCORD_TOKEN is missing or not a bot token."""
    link = build_invite_link(parse_application_id(require_token(settings)), guild)
    out.print(link, soft_wrap=True, markup=False, highlight=False)
    out.print()
    out.print("Open the link to add the bot to a server. It gives the bot these permissions there:", highlight=False)
    out.print(_render_reasons("Permission", PERMISSIONS))
    out.print()
    out.print("An intent is a kind of event that the bot receives from Discord. It uses these:", highlight=False)
    out.print(_render_reasons("Intent", INTENTS))


def _render_reasons(what: str, reasons: dict[str, str]) -> Table:
    table = Table(what, "What for", box=None, pad_edge=False)
    for name, reason in reasons.items():
        table.add_row(name.replace("_", " "), reason)
    return table
