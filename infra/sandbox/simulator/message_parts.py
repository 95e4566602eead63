"""The parts of a message, checked and shown as Discord does it: embeds, and components of both versions.

Select menus are not simulated, and so refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from infra.sandbox.simulator import fields
from infra.sandbox.simulator.fields import JSON, FieldPath, invalid_form_error, required_error
from infra.sandbox.simulator.model import Attachment, Sign

MAX_EMBEDS = 10
MAX_EMBED_CHARACTERS = 6000
MAX_EMBED_FIELDS = 25
MAX_COLOUR = 0xFFFFFF

ACTION_ROW, BUTTON = 1, 2
SECTION, TEXT_DISPLAY, THUMBNAIL, MEDIA_GALLERY, FILE, SEPARATOR, CONTAINER = 9, 10, 11, 12, 13, 14, 17
"""Component types. All but rows and buttons are of version 2."""

LINK_STYLE, PREMIUM_STYLE = 5, 6
"""Styles of a button that opens a URL, and of one that sells something. Any other style is of a button with a custom id."""

MAX_ACTION_ROWS = 5
MAX_BUTTONS_PER_ROW = 5
MAX_BUTTON_LABEL_LENGTH = 80
MAX_BUTTON_CUSTOM_ID_LENGTH = 100
MAX_BUTTON_URL_LENGTH = 512
MAX_COMPONENTS = 40
MAX_DISPLAYED_CHARACTERS = 4000
MAX_SECTION_TEXTS = 3
MAX_GALLERY_ITEMS = 10
MAX_DESCRIPTION_LENGTH = 1024

_SCHEME = "attachment://"
_IMAGE_PARTS = ("image", "thumbnail")
_ICON_PARTS = ("author", "footer")
_STYLES = range(1, PREMIUM_STYLE + 1)
_IN_CONTAINER = (ACTION_ROW, SECTION, TEXT_DISPLAY, MEDIA_GALLERY, FILE, SEPARATOR)
_LINK_SCHEMES = ("http", "https", "attachment")
_VISIBLE_EMBED_PARTS = (
    *("title", "description", "url", "color", "timestamp"),
    *("fields", "author", "footer", "image", "thumbnail", "provider", "video"),
)


def check_embeds(value: Any) -> None:
    """Check the embeds of a message. Raises ApiError 400."""
    total = 0
    for index, embed in enumerate(fields.read_list(value, ["embeds"], MAX_EMBEDS)):
        total += _check_embed(embed, ["embeds", index])
    if total > MAX_EMBED_CHARACTERS:
        message = f"Embed size exceeds maximum size of {MAX_EMBED_CHARACTERS}"
        raise invalid_form_error(["embeds"], "MAX_EMBED_SIZE_EXCEEDED", message)


def _check_embed(value: Any, path: FieldPath) -> int:
    """Check an embed, and return its number of characters."""
    embed = fields.read_object(value, path)
    parts = {
        part: fields.read_object(embed[part], [*path, part])
        for part in ("footer", "author", "image", "thumbnail", "provider", "video")
        if embed.get(part) is not None
    }
    if not any(embed.get(part) for part in _VISIBLE_EMBED_PARTS if part not in parts) and not parts:
        raise required_error([*path, "description"])
    size = fields.check_text(embed.get("title"), [*path, "title"], 256)
    size += fields.check_text(embed.get("description"), [*path, "description"], 4096)
    if "footer" in parts:
        size += fields.check_text(parts["footer"].get("text"), [*path, "footer", "text"], 2048, required=True)
    if "author" in parts:
        size += fields.check_text(parts["author"].get("name"), [*path, "author", "name"], 256, required=True)
    for index, item in enumerate(fields.read_list(embed.get("fields"), [*path, "fields"], MAX_EMBED_FIELDS)):
        where = [*path, "fields", index]
        named = fields.read_object(item, where)
        size += fields.check_text(named.get("name"), [*where, "name"], 256, required=True)
        size += fields.check_text(named.get("value"), [*where, "value"], 1024, required=True)
        fields.read_boolean(named.get("inline"), [*where, "inline"])
    fields.read_integer(embed.get("color"), [*path, "color"], 0, MAX_COLOUR)
    fields.check_time(embed.get("timestamp"), [*path, "timestamp"])
    _check_embed_links(embed, parts, path)
    return size


def _check_embed_links(embed: JSON, parts: Mapping[str, JSON], path: FieldPath) -> None:
    fields.check_url(embed.get("url"), [*path, "url"], ("http", "https"))
    for part in ("image", "thumbnail"):
        if part in parts:
            fields.check_url(parts[part].get("url"), [*path, part, "url"], _LINK_SCHEMES, required=True)
    for part in ("author", "footer"):
        fields.check_url(parts.get(part, {}).get("icon_url"), [*path, part, "icon_url"], _LINK_SCHEMES)
    fields.check_url(parts.get("author", {}).get("url"), [*path, "author", "url"], ("http", "https"))


@dataclass(slots=True)
class _Tally:
    """What the components of a message have in all."""

    number: int = 0
    characters: int = 0
    ids: set[int] = field(default_factory=set)
    custom_ids: set[str] = field(default_factory=set)


def check_components(value: Any, *, version_2: bool) -> None:
    """Check the components of a message. Raises ApiError 400.

    The flag of the message for `version_2` allows more than rows of buttons.
    """
    path: FieldPath = ["components"]
    items = fields.read_list(value, path, MAX_COMPONENTS if version_2 else MAX_ACTION_ROWS)
    tally = _Tally()
    for index, item in enumerate(items):
        _check_component(item, [*path, index], (*_IN_CONTAINER, CONTAINER) if version_2 else (ACTION_ROW,), tally)
    if tally.characters > MAX_DISPLAYED_CHARACTERS:
        message = f"The total size of the displayable text must be {MAX_DISPLAYED_CHARACTERS} or fewer"
        raise invalid_form_error(path, "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", message)
    if version_2 and tally.number > MAX_COMPONENTS:
        message = f"The total number of components must be {MAX_COMPONENTS} or fewer"
        raise invalid_form_error(path, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", message)


def _check_component(value: Any, path: FieldPath, allowed: Sequence[int], tally: _Tally) -> None:
    item = fields.read_object(value, path)
    kind = item.get("type")
    if not isinstance(kind, int) or isinstance(kind, bool) or kind not in allowed:
        message = f'Value of field "type" must be one of ({", ".join(map(str, allowed))},).'
        raise invalid_form_error([*path, "type"], "UNION_TYPE_CHOICES", message)
    tally.number += 1
    if number := fields.read_integer(item.get("id"), [*path, "id"], 0, 2**31 - 1):
        if number in tally.ids:
            raise invalid_form_error([*path, "id"], "COMPONENT_DUPLICATE_ID", "Component id cannot be duplicated")
        tally.ids.add(number)
    _CHECKS[kind](item, path, tally)


def _check_children(item: JSON, path: FieldPath, limit: int, allowed: Sequence[int], tally: _Tally) -> None:
    where: FieldPath = [*path, "components"]
    for place, child in enumerate(fields.read_list(item.get("components"), where, limit, least=1)):
        _check_component(child, [*where, place], allowed, tally)


def _check_row(item: JSON, path: FieldPath, tally: _Tally) -> None:
    _check_children(item, path, MAX_BUTTONS_PER_ROW, (BUTTON,), tally)


def _check_section(item: JSON, path: FieldPath, tally: _Tally) -> None:
    _check_children(item, path, MAX_SECTION_TEXTS, (TEXT_DISPLAY,), tally)
    where: FieldPath = [*path, "accessory"]
    if item.get("accessory") is None:
        raise required_error(where)
    _check_component(item["accessory"], where, (BUTTON, THUMBNAIL), tally)


def _check_text_display(item: JSON, path: FieldPath, tally: _Tally) -> None:
    tally.characters += fields.check_text(item.get("content"), [*path, "content"], MAX_DISPLAYED_CHARACTERS, required=True)


def _check_thumbnail(item: JSON, path: FieldPath, _: _Tally) -> None:
    fields.read_boolean(item.get("spoiler"), [*path, "spoiler"])
    fields.check_text(item.get("description"), [*path, "description"], MAX_DESCRIPTION_LENGTH)
    _check_media(item.get("media"), [*path, "media"], _LINK_SCHEMES)


def _check_gallery(item: JSON, path: FieldPath, tally: _Tally) -> None:
    where: FieldPath = [*path, "items"]
    for place, shown in enumerate(fields.read_list(item.get("items"), where, MAX_GALLERY_ITEMS, least=1)):
        _check_thumbnail(fields.read_object(shown, [*where, place]), [*where, place], tally)


def _check_file(item: JSON, path: FieldPath, _: _Tally) -> None:
    fields.read_boolean(item.get("spoiler"), [*path, "spoiler"])
    _check_media(item.get("file"), [*path, "file"], ("attachment",))


def _check_separator(item: JSON, path: FieldPath, _: _Tally) -> None:
    fields.read_boolean(item.get("divider"), [*path, "divider"])
    if item.get("spacing") is not None:
        fields.check_choice(item["spacing"], [*path, "spacing"], (1, 2))


def _check_container(item: JSON, path: FieldPath, tally: _Tally) -> None:
    fields.read_boolean(item.get("spoiler"), [*path, "spoiler"])
    fields.read_integer(item.get("accent_color"), [*path, "accent_color"], 0, MAX_COLOUR)
    _check_children(item, path, MAX_COMPONENTS, _IN_CONTAINER, tally)


def _check_media(value: Any, path: FieldPath, schemes: tuple[str, ...]) -> None:
    fields.check_url(fields.read_object(value, path).get("url"), [*path, "url"], schemes, required=True)


def _check_button(button: JSON, path: FieldPath, tally: _Tally) -> None:
    style, custom_id, url = button.get("style"), button.get("custom_id"), button.get("url")
    fields.check_choice(style, [*path, "style"], _STYLES)
    labelled = fields.check_text(button.get("label"), [*path, "label"], MAX_BUTTON_LABEL_LENGTH)
    emoji = fields.read_object(button.get("emoji"), [*path, "emoji"])
    fields.read_boolean(button.get("disabled"), [*path, "disabled"])
    if style == PREMIUM_STYLE:
        fields.read_snowflake(button.get("sku_id"), [*path, "sku_id"])
        raise invalid_form_error([*path, "sku_id"], "BUTTON_COMPONENT_INVALID_SKU_ID", "The application sells nothing")
    if not (labelled or emoji.get("name") or emoji.get("id")):
        raise invalid_form_error(path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A button needs a label or an emoji")
    if custom_id is not None and url is not None:
        message = "A custom id and url cannot both be specified"
        raise invalid_form_error(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", message)
    if style == LINK_STYLE:
        if fields.check_text(custom_id, [*path, "custom_id"], MAX_BUTTON_CUSTOM_ID_LENGTH):
            raise invalid_form_error([*path, "custom_id"], "BUTTON_COMPONENT_INVALID", "A link button has no custom id")
        fields.check_url(url, [*path, "url"], ("http", "https", "discord"), required=True, limit=MAX_BUTTON_URL_LENGTH)
        return
    if url is not None:
        raise invalid_form_error([*path, "url"], "BUTTON_COMPONENT_INVALID", "Only a link button has a url")
    if not fields.check_text(custom_id, [*path, "custom_id"], MAX_BUTTON_CUSTOM_ID_LENGTH):
        raise invalid_form_error([*path, "custom_id"], "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED", "A custom id is required")
    if custom_id in tally.custom_ids:
        message = "Component custom id cannot be duplicated"
        raise invalid_form_error([*path, "custom_id"], "COMPONENT_CUSTOM_ID_DUPLICATED", message)
    tally.custom_ids.add(str(custom_id))


_CHECKS: Mapping[int, Callable[[JSON, FieldPath, _Tally], None]] = {
    ACTION_ROW: _check_row,
    BUTTON: _check_button,
    SECTION: _check_section,
    TEXT_DISPLAY: _check_text_display,
    THUMBNAIL: _check_thumbnail,
    MEDIA_GALLERY: _check_gallery,
    FILE: _check_file,
    SEPARATOR: _check_separator,
    CONTAINER: _check_container,
}


def iter_components(components: Sequence[JSON]) -> Iterator[JSON]:
    """Iterate over components and those inside them, from the top to the bottom."""
    for item in components:
        yield item
        yield from iter_components(item.get("components") or ())
        if item.get("accessory"):
            yield from iter_components([item["accessory"]])


def iter_buttons(components: Sequence[JSON]) -> Iterator[JSON]:
    """Iterate over the buttons, from the top to the bottom."""
    return (each for each in iter_components(components) if each["type"] == BUTTON)


def iter_media(components: Sequence[JSON]) -> Iterator[JSON]:
    """Iterate over the media of galleries, thumbnails and files."""
    for item in iter_components(components):
        for shown in item.get("items") or (item,):
            media = shown.get("media") or shown.get("file")
            if media:
                yield media


_DEFAULTS: Mapping[int, JSON] = {
    THUMBNAIL: {"description": None, "spoiler": False},
    FILE: {"spoiler": False},
    SEPARATOR: {"divider": True, "spacing": 1},
    CONTAINER: {"accent_color": None, "spoiler": False},
}


def complete_components(components: Sequence[JSON], new_id: Callable[[], int]) -> list[JSON]:
    """Return components as Discord keeps them: with ids counted from 1, ids of media, and defaults."""
    taken = {each.get("id") for each in iter_components(components)}
    numbers = (number for number in count(1) if number not in taken)

    def complete(item: JSON) -> JSON:
        whole = {**_DEFAULTS.get(item["type"], {}), **{key: value for key, value in item.items() if value is not None}}
        whole["id"] = item.get("id") or next(numbers)
        if "components" in item:
            whole["components"] = [complete(each) for each in item["components"]]
        if item.get("accessory"):
            whole["accessory"] = complete(item["accessory"])
        if "items" in item:
            whole["items"] = [_DEFAULTS[THUMBNAIL] | each | {"media": with_id(each["media"])} for each in item["items"]]
        for key in ("media", "file"):
            if item.get(key):
                whole[key] = with_id(item[key])
        return whole

    def with_id(media: JSON) -> JSON:
        return {"id": str(new_id()), **media}

    return [complete(each) for each in components]


def list_shown_filenames(embeds: Sequence[JSON], components: Sequence[JSON]) -> set[str]:
    """Return the names of the files that embeds and components show by `attachment://name`."""
    urls = [(embed.get(part) or {}).get("url") for embed in embeds for part in _IMAGE_PARTS]
    urls += [(embed.get(part) or {}).get("icon_url") for embed in embeds for part in _ICON_PARTS]
    urls += [media["url"] for media in iter_media(components)]
    return {url.removeprefix(_SCHEME) for url in urls if url is not None and url.startswith(_SCHEME)}


def render_component(item: JSON, files: dict[str, Attachment], sign: Sign) -> JSON:
    """Build a component object. Files shown by `attachment://name` get a URL that is signed now."""
    shown = {**item}
    if "components" in item:
        shown["components"] = [render_component(each, files, sign) for each in item["components"]]
    if "accessory" in item:
        shown["accessory"] = render_component(item["accessory"], files, sign)
    if "items" in item:
        shown["items"] = [{**each, "media": _render_media(each["media"], files, sign)} for each in item["items"]]
    if "media" in item:
        shown["media"] = _render_media(item["media"], files, sign)
    if "file" in item:
        file = files[item["file"]["url"].removeprefix(_SCHEME)]
        shown |= {"file": _render_media(item["file"], files, sign), "name": file.filename, "size": len(file.data)}
    return shown


def _render_media(media: JSON, files: dict[str, Attachment], sign: Sign) -> JSON:
    if not media["url"].startswith(_SCHEME):
        return {"proxy_url": media["url"], "width": None, "height": None, "content_type": None, "flags": 0, **media}
    file = files[media["url"].removeprefix(_SCHEME)]
    url = sign(file)
    return {
        "id": media["id"],
        "url": url,
        "proxy_url": url,
        "width": file.width,
        "height": file.height,
        "content_type": file.content_type,
        "loading_state": 2,
        "flags": 0,
        "attachment_id": str(file.id),
    }


def render_embed(item: JSON, files: dict[str, Attachment], sign: Sign) -> JSON:
    """Build an embed object. Files shown by `attachment://name` get a URL that is signed now."""
    shown: JSON = {"type": "rich", **item}
    for part in _IMAGE_PARTS:
        url = (item.get(part) or {}).get("url") or ""
        if url.startswith(_SCHEME):
            file = files[url.removeprefix(_SCHEME)]
            signed = sign(file)
            shown[part] = {"url": signed, "proxy_url": signed, "width": file.width or 0, "height": file.height or 0}
    for part in _ICON_PARTS:
        url = (item.get(part) or {}).get("icon_url") or ""
        if url.startswith(_SCHEME):
            signed = sign(files[url.removeprefix(_SCHEME)])
            shown[part] = {**item[part], "icon_url": signed, "proxy_icon_url": signed}
    return shown
