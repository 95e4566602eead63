"""Checks of the fields of a request body, and the errors of Discord's API (an invalid form has error code 50035).

Also the languages of Discord's clients, which are the only valid keys of a localisation.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

JSON = dict[str, Any]
"""A JSON object as Discord sends or accepts it."""

FieldPath = list[str | int]
"""The path of a field in a body."""

_LOCALE_NAMES = """
    bg cs da de el en-GB en-US es-419 es-ES fi fr hi hr hu id it ja ko lt nl no pl pt-BR ro ru sv-SE th tr uk vi zh-CN zh-TW
"""
LOCALES = frozenset(_LOCALE_NAMES.split())

MAX_LINK_LENGTH = 2048


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
            raise required_error(path)
        return 0
    if not isinstance(value, str):
        raise invalid_form_error(path, "STRING_TYPE_CONVERT", "Could not interpret as string.")
    if len(value) > limit:
        raise invalid_form_error(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")
    return len(value)


def read_list(value: Any, path: FieldPath, limit: int, *, least: int = 0) -> list[Any]:
    """Return a list of at least `least` and at most `limit` entries. If it is absent, it is empty. Raises ApiError 400."""
    if value is None:
        if least:
            raise required_error(path)
        return []
    if not isinstance(value, list):
        raise invalid_form_error(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(value) < least:
        raise invalid_form_error(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {limit} in length.")
    if len(value) > limit:
        raise too_many_error(path, limit)
    return value


def read_boolean(value: Any, path: FieldPath) -> bool:
    """Return a boolean. If it is absent, it is false. Raises ApiError 400."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid_form_error(path, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    return value


def read_integer(value: Any, path: FieldPath, least: int | None = None, most: int | None = None) -> int:
    """Return an integer that is neither less than `least` nor more than `most`. If it is absent, it is 0. Raises ApiError 400."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_form_error(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    if least is not None and value < least:
        raise invalid_form_error(path, "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {least}.")
    if most is not None and value > most:
        raise invalid_form_error(path, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {most}.")
    return value


def read_snowflake(value: Any, path: FieldPath) -> int:
    """Return an id, given as a number or as digits. Raises ApiError 400, also if it is absent."""
    if value is None:
        raise required_error(path)
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or int(text) >= 1 << 63:
        raise invalid_form_error(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return int(text)


def check_time(value: Any, path: FieldPath) -> None:
    """Check that a text is a time of ISO 8601, if it is given. Raises ApiError 400."""
    if value is None:
        return
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise invalid_form_error(path, "DATE_TIME_TYPE_PARSE", f"Could not parse {value}. Should be ISO8601.") from None


def check_choice(value: Any, path: FieldPath, choices: Sequence[Any]) -> None:
    """Check that a value is one of the choices. Raises ApiError 400, also if it is absent."""
    if isinstance(value, bool) or value not in choices:
        raise invalid_form_error(path, "BASE_TYPE_CHOICES", f"Value must be one of {{{', '.join(map(repr, choices))}}}.")


def check_unique(values: Sequence[Any], path: FieldPath) -> None:
    """Check that no value of a list is there twice. Raises ApiError 400."""
    if len(set(map(str, values))) < len(values):
        raise invalid_form_error(path, "SET_TYPE_ALREADY_CONTAINS_VALUE", "The set already contains this value")


def check_url(
    value: Any, path: FieldPath, schemes: tuple[str, ...], *, required: bool = False, limit: int = MAX_LINK_LENGTH
) -> None:
    """Check that a URL has one of the schemes and at most `limit` characters, if it is given. Raises ApiError 400."""
    check_text(value, path, limit, required=required)
    if value is None:
        return
    scheme, colon, rest = value.partition("://")
    if not colon or not rest:
        raise invalid_form_error(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    if scheme not in schemes:
        raise invalid_form_error(path, "URL_TYPE_INVALID_SCHEME", f'"{scheme}" must be one of {schemes}.')


def too_many_error(path: FieldPath, limit: int) -> ApiError:
    """The error for a list with more than `limit` entries."""
    return invalid_form_error(path, "BASE_TYPE_BAD_LENGTH", f"Must be {limit} or fewer in length.")


def required_error(path: FieldPath) -> ApiError:
    """The error for a field that is absent."""
    return invalid_form_error(path, "BASE_TYPE_REQUIRED", "This field is required")
