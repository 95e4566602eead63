"""The types and lengths of a body's fields, refused in Discord's words (error code 50035)."""

from typing import Any

from infra.simulator.errors import JSON, ApiError, invalid_form

Path = list[str | int]
"""Where in a body a field is."""


def obj(value: Any, path: Path) -> JSON:
    """An object; an absent one is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_form(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return value


def text(value: Any, path: Path, limit: int, *, required: bool = False) -> int:
    """The length of a text of at most `limit` characters."""
    if value is None or value == "":
        if required:
            raise invalid_form(path, "BASE_TYPE_REQUIRED", "This field is required")
        return 0
    if not isinstance(value, str):
        raise invalid_form(path, "STRING_TYPE_CONVERT", "Could not interpret as string.")
    if len(value) > limit:
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")
    return len(value)


def items(value: Any, path: Path, limit: int) -> list[Any]:
    """A list of at most `limit`; an absent one is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_form(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(value) > limit:
        raise too_many(path, limit)
    return value


def integer(value: Any, path: Path) -> int:
    """A whole number; an absent one is 0."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_form(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    return value


def url(value: Any, path: Path, schemes: tuple[str, ...]) -> None:
    """A URL with one of some schemes, or none."""
    if value is None:
        return
    scheme, colon, rest = str(value).partition("://")
    if not colon or not rest:
        raise invalid_form(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    if scheme not in schemes:
        raise invalid_form(path, "URL_TYPE_INVALID_SCHEME", f'"{scheme}" must be one of {schemes}.')


def too_many(path: Path, limit: int) -> ApiError:
    """A list with more than `limit` entries."""
    return invalid_form(path, "BASE_TYPE_BAD_LENGTH", f"Must be {limit} or fewer in length.")
