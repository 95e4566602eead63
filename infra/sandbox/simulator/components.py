"""The components of a message: rows of buttons. Select menus, texts and containers are not simulated, and so refused."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from infra.sandbox.simulator import fields
from infra.sandbox.simulator.fields import JSON, invalid_form_error

ACTION_ROW, BUTTON, LINK_STYLE = 1, 2, 5
"""The component types of a row and of a button, and the style of a link button."""

MAX_ACTION_ROWS = 5
MAX_BUTTONS_PER_ROW = 5
MAX_BUTTON_LABEL_LENGTH = 80
MAX_BUTTON_CUSTOM_ID_LENGTH = 100
MAX_BUTTON_URL_LENGTH = 512
_STYLES = range(1, LINK_STYLE + 1)


def check_components(value: Any) -> None:
    """Raise ApiError 400 for components that Discord would refuse, or that are not rows of buttons."""
    seen: set[str] = set()
    for index, item in enumerate(fields.read_list(value, ["components"], MAX_ACTION_ROWS)):
        path: fields.FieldPath = ["components", index]
        row = fields.read_object(item, path)
        _check_type(row, path, ACTION_ROW)
        where: fields.FieldPath = [*path, "components"]
        children = fields.read_list(row.get("components"), where, MAX_BUTTONS_PER_ROW)
        if not children:
            raise invalid_form_error(where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_BUTTONS_PER_ROW} in length.")
        for place, child in enumerate(children):
            _check_button(fields.read_object(child, [*where, place]), [*where, place], seen)


def iter_buttons(components: list[JSON]) -> Iterator[JSON]:
    """Iterate over the buttons, row by row."""
    return (button for row in components for button in row["components"])


def assign_component_ids(components: list[JSON]) -> list[JSON]:
    """Return the components as Discord does: a component without an id gets one, counted from 1."""
    taken = {each.get("id") for row in components for each in (row, *row["components"])}
    numbers = (number for number in count(1) if number not in taken)
    return [
        {
            **row,
            "id": row.get("id") or next(numbers),
            "components": [{**each, "id": each.get("id") or next(numbers)} for each in row["components"]],
        }
        for row in components
    ]


def _check_button(button: JSON, path: fields.FieldPath, seen: set[str]) -> None:
    _check_type(button, path, BUTTON)
    style, custom_id, url = button.get("style"), button.get("custom_id"), button.get("url")
    if isinstance(style, bool) or style not in _STYLES:
        raise invalid_form_error([*path, "style"], "BASE_TYPE_CHOICES", f"Value must be one of {{{', '.join(map(str, _STYLES))}}}.")
    labelled = fields.check_text(button.get("label"), [*path, "label"], MAX_BUTTON_LABEL_LENGTH)
    emoji = fields.read_object(button.get("emoji"), [*path, "emoji"])
    if not (labelled or emoji.get("name") or emoji.get("id")):
        raise invalid_form_error(path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A button needs a label or an emoji")
    if not isinstance(button.get("disabled", False), bool):
        raise invalid_form_error([*path, "disabled"], "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    if custom_id is not None and url is not None:
        message = "A custom id and url cannot both be specified"
        raise invalid_form_error(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", message)
    if style == LINK_STYLE:
        if fields.check_text(custom_id, [*path, "custom_id"], MAX_BUTTON_CUSTOM_ID_LENGTH):
            raise invalid_form_error([*path, "custom_id"], "BUTTON_COMPONENT_INVALID", "A link button has no custom id")
        fields.check_text(url, [*path, "url"], MAX_BUTTON_URL_LENGTH, required=True)
        fields.check_url(url, [*path, "url"], ("http", "https", "discord"))
        return
    if url is not None:
        raise invalid_form_error([*path, "url"], "BUTTON_COMPONENT_INVALID", "Only a link button has a url")
    if not fields.check_text(custom_id, [*path, "custom_id"], MAX_BUTTON_CUSTOM_ID_LENGTH):
        raise invalid_form_error([*path, "custom_id"], "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED", "A custom id is required")
    if custom_id in seen:
        message = "Component custom id cannot be duplicated"
        raise invalid_form_error([*path, "custom_id"], "COMPONENT_CUSTOM_ID_DUPLICATED", message)
    seen.add(str(custom_id))


def _check_type(item: JSON, path: fields.FieldPath, wanted: int) -> None:
    if item.get("type") != wanted:
        raise invalid_form_error([*path, "type"], "UNION_TYPE_CHOICES", f'Value of field "type" must be one of ({wanted},).')
