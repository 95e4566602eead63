"""`mapseek status`: the stages as a table or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import orjson
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.monitoring.status import StageStatus

LANE_NAMES = {"image": "archive", "search": "search"}


def as_json(statuses: Sequence[StageStatus]) -> str:
    """A JSON array, one object a stage and lane."""
    return orjson.dumps([asdict(status) for status in statuses], option=orjson.OPT_UTC_Z).decode()


def as_table(statuses: Sequence[StageStatus], now: datetime) -> Table:
    """A table for a terminal of 80 columns; what needs a look is red or yellow. The server knows activity since its own start."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("stage", "lane"):
        table.add_column(heading)
    for heading in ("pending", "in flight", "retried", "dead letters", "done", "per s", "last active"):
        table.add_column(heading, justify="right")
    for status in statuses:
        table.add_row(
            status.stage,
            LANE_NAMES[status.lane],
            _flagged(status.pending, "yellow"),
            str(status.in_flight),
            _flagged(status.redelivered, "yellow"),
            _flagged(status.dead_letters, "red"),
            str(status.done),
            f"{status.rate:.1f}",
            _ago(status.last_activity, now),
        )
    return table


def _flagged(count: int, colour: str) -> str:
    return f"[{colour}]{count}[/]" if count else "0"


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
