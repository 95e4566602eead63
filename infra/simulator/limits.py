"""What Discord refuses in a message, in its own words (error code 50035 and its relatives)."""

from typing import Any

from infra.simulator import fields
from infra.simulator.components import check_components
from infra.simulator.errors import JSON, ApiError, invalid_form
from infra.simulator.payloads import FILE_SIZE_LIMIT

CONTENT = 2000
EMBEDS = 10
EMBED_CHARACTERS = 6000
FIELDS = 25
FILES = 10


def check_message(body: JSON) -> None:
    """Refuse a body whose content, embeds, components or attachments break a limit. Raises ApiError 400."""
    fields.text(body.get("content"), ["content"], CONTENT)
    embeds = fields.items(body.get("embeds"), ["embeds"], EMBEDS)
    check_components(body.get("components"))
    for index, entry in enumerate(fields.items(body.get("attachments"), ["attachments"], FILES)):
        if not str(fields.obj(entry, ["attachments", index]).get("id")).isdigit():
            raise invalid_form(["attachments", index, "id"], "NUMBER_TYPE_COERCE", "The id of an attachment is a number.")
    total = sum(_embed(embed, ["embeds", index]) for index, embed in enumerate(embeds))
    if total > EMBED_CHARACTERS:
        message = f"Embed size exceeds maximum size of {EMBED_CHARACTERS}"
        raise invalid_form(["embeds"], "MAX_EMBED_SIZE_EXCEEDED", message)


def check_files(sizes: list[int]) -> None:
    """Refuse more files, or larger ones, than a message takes. Raises ApiError 400 or 413."""
    if len(sizes) > FILES:
        raise fields.too_many(["attachments"], FILES)
    if any(size > FILE_SIZE_LIMIT for size in sizes):
        raise ApiError(413, 40005, "Request entity too large")


def _embed(embed: Any, path: fields.Path) -> int:
    """Check one embed and return how many characters it counts for."""
    embed = fields.obj(embed, path)
    for part in ("footer", "author", "image", "thumbnail"):
        fields.obj(embed.get(part), [*path, part])
    footer, author = embed.get("footer") or {}, embed.get("author") or {}
    size = fields.text(embed.get("title"), [*path, "title"], 256)
    size += fields.text(embed.get("description"), [*path, "description"], 4096)
    size += fields.text(footer.get("text"), [*path, "footer", "text"], 2048)
    size += fields.text(author.get("name"), [*path, "author", "name"], 256)
    for index, item in enumerate(fields.items(embed.get("fields"), [*path, "fields"], FIELDS)):
        where = [*path, "fields", index]
        named = fields.obj(item, where)
        size += fields.text(named.get("name"), [*where, "name"], 256, required=True)
        size += fields.text(named.get("value"), [*where, "value"], 1024, required=True)
    _links(embed, path)
    return size


def _links(embed: JSON, path: fields.Path) -> None:
    fields.url(embed.get("url"), [*path, "url"], ("http", "https"))
    for part, key in (("image", "url"), ("thumbnail", "url"), ("author", "icon_url"), ("footer", "icon_url")):
        fields.url((embed.get(part) or {}).get(key), [*path, part, key], ("http", "https", "attachment"))
    fields.url((embed.get("author") or {}).get("url"), [*path, "author", "url"], ("http", "https"))
