"""Application commands: what Discord takes when a bot registers them, and what a member can put in when using one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.errors import MapSeekError
from infra.simulator.errors import JSON, invalid_form
from infra.simulator.model import Attachment

ATTACHMENT = 11
_NAME = re.compile(r"[-_'\w]{1,32}")
_VALUES: dict[int, tuple[type, ...]] = {3: (str,), 4: (int,), 5: (bool,), 10: (int, float), ATTACHMENT: (Attachment,)}
_MAX_COMMANDS = 100
_MAX_OPTIONS = 25


def registered(body: JSON, *, command_id: int, version: int, application_id: int, guild_id: int | None) -> JSON:
    """A command as Discord returns it: what was sent, checked, with ids and defaults."""
    command: JSON = {
        "type": 1,
        "description": "",
        "name_localizations": None,
        "description_localizations": None,
        "default_member_permissions": None,
        "dm_permission": True,
        "nsfw": False,
        "integration_types": [0],
        "contexts": None,
        **{key: value for key, value in body.items() if key != "integration_types" or value is not None},
        "id": str(command_id),
        "application_id": str(application_id),
        "version": str(version),
    }
    return command if guild_id is None else command | {"guild_id": str(guild_id)}


def check_commands(commands: Sequence[JSON]) -> None:
    """Refuse a set of commands that Discord would not register. Raises ApiError 400."""
    if len(commands) > _MAX_COMMANDS:
        raise invalid_form([], "APPLICATION_COMMANDS_LIMIT", f"At most {_MAX_COMMANDS} commands are allowed")
    seen: set[tuple[int, str]] = set()
    for index, command in enumerate(commands):
        kind = command.get("type", 1)
        _check_name(command, [index], slash=kind == 1)
        if kind == 1:
            _check_options(command.get("options") or [], [index, "options"])
        if (kind, command["name"]) in seen:
            raise invalid_form([index, "name"], "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
        seen.add((kind, command["name"]))


def option_values(command: JSON, given: Mapping[str, Any]) -> list[JSON]:
    """The options of an interaction. Raises MapSeekError if they are not those that the command declares."""
    declared = {option["name"]: option for option in command.get("options") or []}
    name = command["name"]
    if stranger := next((key for key in given if key not in declared), None):
        raise MapSeekError(f"/{name} has no option called {stranger!r}; it has {sorted(declared)}.")
    if missing := next((key for key, option in declared.items() if option.get("required") and key not in given), None):
        raise MapSeekError(f"/{name} needs its option {missing!r}, which was not given.")
    return [_option(name, declared[key], value) for key, value in given.items()]


def _option(command: str, option: JSON, value: Any) -> JSON:
    kind = option["type"]
    if kind not in _VALUES:
        raise MapSeekError(
            f"The simulator cannot fill option {option['name']!r} of /{command}: option type {kind} is not simulated."
        )
    if not isinstance(value, _VALUES[kind]) or (isinstance(value, bool) and kind != 5):
        raise MapSeekError(f"/{command} cannot take {value!r} as its option {option['name']!r} of type {kind}.")
    choices = [choice["value"] for choice in option.get("choices") or []]
    least, most = option.get("min_value"), option.get("max_value")
    if (choices and value not in choices) or (least is not None and value < least) or (most is not None and value > most):
        raise MapSeekError(f"/{command} does not allow {value!r} as its option {option['name']!r}.")
    return {"name": option["name"], "type": kind, "value": str(value.id) if isinstance(value, Attachment) else value}


def _check_options(options: Sequence[JSON], path: list[str | int]) -> None:
    if len(options) > _MAX_OPTIONS:
        raise invalid_form(path, "BASE_TYPE_BAD_LENGTH", f"Must be {_MAX_OPTIONS} or fewer in length.")
    optional_seen = False
    for index, option in enumerate(options):
        where = [*path, index]
        _check_name(option, where, slash=True)
        if option.get("type") not in range(1, 12):
            raise invalid_form([*where, "type"], "BASE_TYPE_CHOICES", "Value must be one of 1 to 11.")
        if option.get("required") and optional_seen:
            message = "Required options must be placed before non-required options"
            raise invalid_form(where, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional_seen = optional_seen or not option.get("required")


def _check_name(item: JSON, path: list[str | int], *, slash: bool) -> None:
    name, description = item.get("name"), item.get("description")
    if not isinstance(name, str) or not name or len(name) > 32 or (slash and (not _NAME.fullmatch(name) or name != name.lower())):
        raise invalid_form([*path, "name"], "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    if slash and (not isinstance(description, str) or not 1 <= len(description) <= 100):
        raise invalid_form([*path, "description"], "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
