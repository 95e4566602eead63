"""docs/logs.md lists every event that the code logs, with its level and fields, and nothing else."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.log_list import FIELDS, LISTED, LoggedEvent
from tests.tree import PACKAGES, ROOT

LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


class Call(NamedTuple):
    """One call of a logger: where it is, the events that it can log, its level and the fields that it gives."""

    place: str
    events: tuple[str, ...]
    level: str
    fields: frozenset[str]


def _find_calls() -> Iterator[Call]:
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "log"):
                continue
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            fields = {keyword.arg for keyword in node.keywords}
            assert None not in fields, f"{place}: name each field, so that the list can hold it"
            names = frozenset(field for field in fields if field is not None and field != "exc_info")
            yield Call(place, tuple(_read_events(node.args[0], place)), LEVELS[node.func.attr], names)


def _read_events(node: ast.expr, place: str) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _read_events(node.body, place)
        yield from _read_events(node.orelse, place)
        return
    assert isinstance(node, ast.Constant), f"{place}: an event is a constant name; its values are fields"
    yield node.value


CALLS = list(_find_calls())


def test_every_event_is_listed_with_its_level_and_its_fields() -> None:
    logged: dict[str, LoggedEvent] = {}
    for call in CALLS:
        for event in call.events:
            before = logged.get(event, LoggedEvent(frozenset(), frozenset()))
            logged[event] = LoggedEvent(before.levels | {call.level}, before.fields | call.fields)
    assert logged == LISTED


def test_events_and_fields_follow_the_convention() -> None:
    for call in CALLS:
        for name in (*call.events, *call.fields):
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name), f"{call.place}: {name!r} is not in lower snake_case"


def test_every_field_is_explained_once() -> None:
    used = {field for call in CALLS for field in call.fields}
    assert used <= FIELDS.keys(), "explain these fields in docs/logs.md"
