"""The list of log events in docs/logs.md, as data."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.tree import ROOT

PAGE = (ROOT / "docs/logs.md").read_text()


class LoggedEvent(NamedTuple):
    """How an event is logged: at which levels, and which fields it can have besides those that every line of a message has."""

    levels: frozenset[str]
    fields: frozenset[str]


def _read_names(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"`?([a-z0-9_]+)`?", cell))


FIELDS: Mapping[str, str] = dict(re.findall(r"^\| `([a-z0-9_]+)` \| ([^|]+) \|$", PAGE, re.MULTILINE))
"""Field -> what it means."""

LISTED: Mapping[str, LoggedEvent] = {
    event: LoggedEvent(_read_names(levels), _read_names(fields))
    for event, levels, fields in re.findall(r"^\| `([a-z0-9_]+)` \| ([a-z, ]+) \| ([^|]*) \| [^|]+ \|$", PAGE, re.MULTILINE)
}
"""Event -> how it is logged."""

ON_EVERY_LINE = frozenset({"event", "level", "log_level", "timestamp", "logger", "exception", "exc_info"})


def find_unlisted(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what these log lines hold that the list does not: `EVENT` for an event, `EVENT.FIELD` for a field of one."""
    unlisted: set[str] = set()
    for line in lines:
        event = line["event"]
        if event not in LISTED:
            unlisted.add(event)
        unlisted |= {f"{event}.{field}" for field in line.keys() - FIELDS.keys() - ON_EVERY_LINE}
    return sorted(unlisted)
