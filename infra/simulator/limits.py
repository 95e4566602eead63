"""What Discord refuses in a message, in its own words (error code 50035 and its relatives)."""

from typing import Any

from infra.simulator.errors import JSON, ApiError, invalid_form
from infra.simulator.payloads import FILE_SIZE_LIMIT

CONTENT = 2000
EMBEDS = 10
EMBED_CHARACTERS = 6000
FIELDS = 25
FILES = 10
COMPONENT_ROWS = 5

_Path = list[str | int]


def check_message(body: JSON) -> None:
    """Refuse a body whose content, embeds, components or attachments break a limit. Raises ApiError 400."""
    _text(body.get("content"), ["content"], CONTENT)
    embeds = _items(body.get("embeds"), ["embeds"], EMBEDS)
    _items(body.get("components"), ["components"], COMPONENT_ROWS)
    for index, entry in enumerate(_items(body.get("attachments"), ["attachments"], FILES)):
        if not str(_object(entry, ["attachments", index]).get("id")).isdigit():
            raise invalid_form(["attachments", index, "id"], "NUMBER_TYPE_COERCE", "The id of an attachment is a number.")
    total = sum(_embed(embed, ["embeds", index]) for index, embed in enumerate(embeds))
    if total > EMBED_CHARACTERS:
        message = f"Embed size exceeds maximum size of {EMBED_CHARACTERS}"
        raise invalid_form(["embeds"], "MAX_EMBED_SIZE_EXCEEDED", message)


def check_files(sizes: list[int]) -> None:
    """Refuse more files, or larger ones, than a message takes. Raises ApiError 400 or 413."""
    if len(sizes) > FILES:
        raise _too_many(["attachments"], FILES)
    if any(size > FILE_SIZE_LIMIT for size in sizes):
        raise ApiError(413, 40005, "Request entity too large")


def _embed(embed: Any, path: _Path) -> int:
    """Check one embed and return how many characters it counts for."""
    embed = _object(embed, path)
    for part in ("footer", "author", "image", "thumbnail"):
        _object(embed.get(part), [*path, part])
    size = _text(embed.get("title"), [*path, "title"], 256) + _text(embed.get("description"), [*path, "description"], 4096)
    footer, author = embed.get("footer") or {}, embed.get("author") or {}
    size += _text(footer.get("text"), [*path, "footer", "text"], 2048) + _text(author.get("name"), [*path, "author", "name"], 256)
    for index, item in enumerate(_items(embed.get("fields"), [*path, "fields"], FIELDS)):
        where = [*path, "fields", index]
        field = _object(item, where)
        size += _text(field.get("name"), [*where, "name"], 256, required=True)
        size += _text(field.get("value"), [*where, "value"], 1024, required=True)
    _links(embed, path)
    return size


def _links(embed: JSON, path: _Path) -> None:
    _scheme(embed.get("url"), [*path, "url"], ("http", "https"))
    for part, key in (("image", "url"), ("thumbnail", "url"), ("author", "icon_url"), ("footer", "icon_url")):
        _scheme((embed.get(part) or {}).get(key), [*path, part, key], ("http", "https", "attachment"))
    _scheme((embed.get("author") or {}).get("url"), [*path, "author", "url"], ("http", "https"))


def _scheme(url: Any, path: _Path, allowed: tuple[str, ...]) -> None:
    if url is None:
        return
    scheme, colon, rest = str(url).partition("://")
    if not colon or not rest:
        raise invalid_form(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    if scheme not in allowed:
        raise invalid_form(path, "URL_TYPE_INVALID_SCHEME", f'"{scheme}" must be one of {allowed}.')


def _object(value: Any, path: _Path) -> JSON:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_form(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return value


def _text(value: Any, path: _Path, limit: int, *, required: bool = False) -> int:
    if value is None or value == "":
        if required:
            raise invalid_form(path, "BASE_TYPE_REQUIRED", "This field is required")
        return 0
    if not isinstance(value, str):
        raise invalid_form(path, "STRING_TYPE_CONVERT", "Could not interpret as string.")
    if len(value) > limit:
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")
    return len(value)


def _items(value: Any, path: _Path, limit: int) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_form(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(value) > limit:
        raise _too_many(path, limit)
    return value


def _too_many(path: _Path, limit: int) -> ApiError:
    return invalid_form(path, "BASE_TYPE_BAD_LENGTH", f"Must be {limit} or fewer in length.")
