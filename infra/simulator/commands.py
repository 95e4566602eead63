"""Application commands as a bot registers them: what Discord takes, and how it returns them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from infra.simulator import fields
from infra.simulator.declared import check_options
from infra.simulator.errors import JSON, invalid_form
from infra.simulator.texts import check_description, check_name

SLASH, USER_COMMAND, MESSAGE = 1, 2, 3
"""The types of commands: typed with a slash, or chosen from the menu of a user or of a message."""

LIMITS = {SLASH: 100, USER_COMMAND: 5, MESSAGE: 5}
"""How many commands of a type there may be, globally and besides in each guild."""

CHARACTERS = 8000
"""How long the names, descriptions and values of one command may be together, each in its longest language."""

_CONTEXTS = (0, 1, 2)
_PERMISSIONS = re.compile(r"\d{1,20}")


def registered(body: JSON, *, command_id: int, version: int, application_id: int, guild_id: int | None) -> JSON:
    """A command as Discord returns it: what was sent, checked, with ids and defaults."""
    command: JSON = {
        "type": SLASH,
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
    kinds = Counter(command.get("type", SLASH) for command in commands)
    for kind, limit in LIMITS.items():
        if kinds[kind] > limit:
            raise invalid_form([], "APPLICATION_COMMANDS_LIMIT", f"At most {limit} commands of type {kind} are allowed")
    seen: set[tuple[int, str]] = set()
    for index, command in enumerate(commands):
        _check(command, [index])
        known = command.get("type", SLASH), command["name"]
        if known in seen:
            raise invalid_form([index, "name"], "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
        seen.add(known)


def _check(command: JSON, path: fields.Path) -> None:
    kind = command.get("type", SLASH)
    if kind not in LIMITS:
        raise invalid_form([*path, "type"], "BASE_TYPE_CHOICES", f"Value must be one of {tuple(LIMITS)}.")
    check_name(command, path, slash=kind == SLASH)
    if kind == SLASH:
        check_description(command, path)
        check_options(command.get("options"), [*path, "options"])
    elif command.get("description") or command.get("options"):
        message = "Context menu commands cannot have description or options"
        raise invalid_form(path, "APPLICATION_COMMAND_CONTEXT_MENU_INVALID", message)
    permissions = command.get("default_member_permissions")
    if permissions is not None and not _PERMISSIONS.fullmatch(str(permissions)):
        raise invalid_form(
            [*path, "default_member_permissions"], "BITFIELD_TYPE_CONVERT", f'Value "{permissions}" is not a bitfield.'
        )
    contexts = fields.items(command.get("contexts"), [*path, "contexts"], len(_CONTEXTS))
    if any(context not in _CONTEXTS for context in contexts) or len(set(contexts)) < len(contexts):
        raise invalid_form([*path, "contexts"], "BASE_TYPE_CHOICES", f"Values must be unique and of {_CONTEXTS}.")
    if (size := sum(_sizes(command))) > CHARACTERS:
        raise invalid_form(path, "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({size} > {CHARACTERS})")


def _sizes(item: JSON) -> Iterator[int]:
    """The lengths that count for a command, an option or a choice; of a text in several languages the longest."""
    for key in ("name", "description"):
        yield max(len(text) for text in (item.get(key) or "", *(item.get(f"{key}_localizations") or {}).values()))
    value: Any = item.get("value")
    if isinstance(value, str):
        yield len(value)
    for part in (*(item.get("options") or ()), *(item.get("choices") or ())):
        yield from _sizes(part)
