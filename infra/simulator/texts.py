"""The names and descriptions of commands and their options, in every language they have."""

import re
from collections.abc import Iterator
from typing import Any

from infra.simulator import fields
from infra.simulator.errors import JSON, invalid_form
from infra.simulator.locales import LOCALES

NAME = 32
DESCRIPTION = 100
_SLASH_NAME = re.compile(rf"[-_'\w]{{1,{NAME}}}")


def check_name(item: JSON, path: fields.Path, *, slash: bool) -> None:
    """Refuse a name: 1 to 32 characters, and of what is typed (`slash`) small letters, digits, `-`, `_` and `'` alone."""
    for where, name in _languages(item, "name", path):
        valid = isinstance(name, str) and 1 <= len(name) <= NAME and name == name.strip()
        if not valid or (slash and (not _SLASH_NAME.fullmatch(name) or name != name.lower())):
            raise invalid_form(where, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def check_description(item: JSON, path: fields.Path) -> None:
    """Refuse a description: 1 to 100 characters."""
    for where, description in _languages(item, "description", path):
        if not isinstance(description, str) or not 1 <= len(description) <= DESCRIPTION:
            raise invalid_form(where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {DESCRIPTION} in length.")


def check_choice_name(choice: JSON, path: fields.Path) -> None:
    """Refuse the name of a choice: 1 to 100 characters."""
    for where, name in _languages(choice, "name", path):
        if not isinstance(name, str) or not 1 <= len(name) <= DESCRIPTION:
            raise invalid_form(where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {DESCRIPTION} in length.")


def _languages(item: JSON, key: str, path: fields.Path) -> Iterator[tuple[fields.Path, Any]]:
    """Every text under a key with its place: the default one, then the others. Raises ApiError 400 for an unknown language."""
    yield [*path, key], item.get(key)
    where: fields.Path = [*path, f"{key}_localizations"]
    for locale, text in fields.obj(item.get(f"{key}_localizations"), where).items():
        if locale not in LOCALES:
            raise invalid_form([*where, locale], "ENUM_TYPE_COERCE", f'Value "{locale}" is not a valid enum value.')
        yield [*where, locale], text
