"""`mapseek status`: the stages as a table or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import orjson
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.monitoring.status import StageStatus

LANE_NAMES = {"image": "archive", "search": "search", "alert": "alert", "removal": "removal"}


def status_json(statuses: Sequence[StageStatus]) -> str:
    """A JSON array, one object a stage and lane."""
    return orjson.dumps([asdict(each) for each in statuses], option=orjson.OPT_UTC_Z).decode()


HEADINGS = ("stage", "lane", "pending", "in flight", "retried", "dead letters", "done", "per s", "last active")


def status_cells(statuses: Sequence[StageStatus], now: datetime) -> list[tuple[str, ...]]:
    """The table as text, headings first. The server knows of activity since its own start."""
    return [HEADINGS, *(_row(each, now) for each in statuses)]


def status_table(statuses: Sequence[StageStatus], now: datetime) -> Table:
    """The table for a terminal of 80 columns; what needs a look is red or yellow."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=number < 2)
    for each in statuses:
        row = list(_row(each, now))
        for column, colour, flagged in ((4, "yellow", each.redelivered), (5, "red", each.dead_letters)):
            row[column] = f"[{colour}]{row[column]}[/]" if flagged else row[column]
        table.add_row(*row)
    return table


def _row(each: StageStatus, now: datetime) -> tuple[str, ...]:
    counts = (each.pending, each.in_flight, each.redelivered, each.dead_letters, each.done)
    last = _ago(each.last_activity, now)
    lane = " ".join(filter(None, (LANE_NAMES[each.lane], each.generation)))
    return (each.stage, lane, *map(str, counts), f"{each.rate:.1f}", last)


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
