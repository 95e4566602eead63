"""Checks of the fields of a request body, and the errors of Discord's API (an invalid form has error code 50035).

Also the languages of Discord's clients, which are the only valid keys of a localisation.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

JSON = dict[str, Any]
"""A JSON object as Discord sends or accepts it."""

FieldPath = list[str | int]
"""The path of a field in a body."""

_LOCALE_NAMES = """
    bg cs da de el en-GB en-US es-419 es-ES fi fr hi hr hu id it ja ko lt nl no pl pt-BR ro ru sv-SE th tr uk vi zh-CN zh-TW
"""
LOCALES = frozenset(_LOCALE_NAMES.split())

MAX_COMMAND_NAME_LENGTH = 32
MAX_COMMAND_DESCRIPTION_LENGTH = 100
_SLASH_NAME = re.compile(rf"[-_'\w]{{1,{MAX_COMMAND_NAME_LENGTH}}}")


class ApiError(Exception):
    """A request that Discord refuses. `body` is the JSON of the response."""

    def __init__(self, status: int, code: int, message: str, *, errors: JSON | None = None) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.body: JSON = {"message": message, "code": code}
        if errors is not None:
            self.body["errors"] = errors


def unauthorized_error() -> ApiError:
    """The error for a missing or wrong token."""
    return ApiError(401, 0, "401: Unauthorized")


def unknown_error(what: str) -> ApiError:
    """The error for an object that does not exist (any more): `unknown_error("Message")`."""
    codes = {
        "Application": 10002,
        "Channel": 10003,
        "Member": 10007,
        "Message": 10008,
        "User": 10013,
        "Emoji": 10014,
        "Webhook": 10015,
        "Interaction": 10062,
    }
    return ApiError(404, codes[what], f"Unknown {what}")


def missing_access_error() -> ApiError:
    """The error for an object that the bot may not see."""
    return ApiError(403, 50001, "Missing Access")


def invalid_form_error(path: Sequence[str | int], code: str, message: str) -> ApiError:
    """The error for a field of a body: `invalid_form_error(["embeds", 0, "title"], "BASE_TYPE_MAX_LENGTH", ...)`."""
    errors: JSON = {"_errors": [{"code": code, "message": message}]}
    for key in reversed(path):
        errors = {str(key): errors}
    return ApiError(400, 50035, "Invalid Form Body", errors=errors)


def read_object(value: Any, path: FieldPath) -> JSON:
    """Return a JSON object. If it is absent, it is empty. Raises ApiError 400."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_form_error(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return value


def check_text(value: Any, path: FieldPath, limit: int, *, required: bool = False) -> int:
    """Check that a text has at most `limit` characters, and return its length. Raises ApiError 400."""
    if value is None or value == "":
        if required:
            raise invalid_form_error(path, "BASE_TYPE_REQUIRED", "This field is required")
        return 0
    if not isinstance(value, str):
        raise invalid_form_error(path, "STRING_TYPE_CONVERT", "Could not interpret as string.")
    if len(value) > limit:
        raise invalid_form_error(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")
    return len(value)


def read_list(value: Any, path: FieldPath, limit: int) -> list[Any]:
    """Return a list of at most `limit` entries. If it is absent, it is empty. Raises ApiError 400."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_form_error(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(value) > limit:
        raise too_many_error(path, limit)
    return value


def read_integer(value: Any, path: FieldPath) -> int:
    """Return an integer. If it is absent, it is 0. Raises ApiError 400."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_form_error(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    return value


def check_url(value: Any, path: FieldPath, schemes: tuple[str, ...]) -> None:
    """Check that a URL has one of the schemes, if it is given. Raises ApiError 400."""
    if value is None:
        return
    scheme, colon, rest = str(value).partition("://")
    if not colon or not rest:
        raise invalid_form_error(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    if scheme not in schemes:
        raise invalid_form_error(path, "URL_TYPE_INVALID_SCHEME", f'"{scheme}" must be one of {schemes}.')


def too_many_error(path: FieldPath, limit: int) -> ApiError:
    """The error for a list with more than `limit` entries."""
    return invalid_form_error(path, "BASE_TYPE_BAD_LENGTH", f"Must be {limit} or fewer in length.")


def check_name(item: JSON, path: FieldPath, *, slash: bool) -> None:
    """Check a name of 1 to 32 characters. Raises ApiError 400.

    The name of a slash command or option (`slash`) may contain only lower-case letters, digits, `-`, `_` and `'`.
    """
    for where, name in _iter_localized(item, "name", path):
        valid = isinstance(name, str) and 1 <= len(name) <= MAX_COMMAND_NAME_LENGTH and name == name.strip()
        if not valid or (slash and (not _SLASH_NAME.fullmatch(name) or name != name.lower())):
            raise invalid_form_error(where, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def check_description(item: JSON, path: FieldPath) -> None:
    """Check a description of 1 to 100 characters. Raises ApiError 400."""
    for where, description in _iter_localized(item, "description", path):
        if not isinstance(description, str) or not 1 <= len(description) <= MAX_COMMAND_DESCRIPTION_LENGTH:
            raise invalid_form_error(
                where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_COMMAND_DESCRIPTION_LENGTH} in length."
            )


def check_choice_name(choice: JSON, path: FieldPath) -> None:
    """Check the name of a choice, of 1 to 100 characters. Raises ApiError 400."""
    for where, name in _iter_localized(choice, "name", path):
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_COMMAND_DESCRIPTION_LENGTH:
            raise invalid_form_error(
                where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_COMMAND_DESCRIPTION_LENGTH} in length."
            )


def _iter_localized(item: JSON, key: str, path: FieldPath) -> Iterator[tuple[FieldPath, Any]]:
    """Yield the path and text of a key, the default first, then each language. Raises ApiError 400 for an unknown language."""
    yield [*path, key], item.get(key)
    where: FieldPath = [*path, f"{key}_localizations"]
    for locale, text in read_object(item.get(f"{key}_localizations"), where).items():
        if locale not in LOCALES:
            raise invalid_form_error([*where, locale], "ENUM_TYPE_COERCE", f'Value "{locale}" is not a valid enum value.')
        yield [*where, locale], text
