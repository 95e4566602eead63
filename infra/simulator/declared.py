"""The options that a slash command declares: subcommands and their groups, or what a member fills in."""

from typing import Any

from infra.simulator import fields
from infra.simulator.errors import JSON, invalid_form
from infra.simulator.texts import check_choice_name, check_description, check_name

SUBCOMMAND, GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)

OPTIONS = 25
CHOICES = 25
CHOICE_VALUE = 100
TEXT = 6000
SAFE_INTEGER = 2**53
"""Numbers go from minus this to this, as JavaScript has them."""

_VALUE_TYPES = tuple(range(STRING, ATTACHMENT + 1))
_CHOSEN: dict[int, tuple[type, ...]] = {STRING: (str,), INTEGER: (int,), NUMBER: (int, float)}
_INSIDE = {None: (SUBCOMMAND, GROUP, *_VALUE_TYPES), GROUP: (SUBCOMMAND,), SUBCOMMAND: _VALUE_TYPES}
"""What may stand directly in a command (None), a group and a subcommand."""


def check_options(value: Any, path: fields.Path, *, parent: int | None = None) -> None:
    """Refuse the options of a command, a group or a subcommand. Raises ApiError 400."""
    options = fields.items(value, path, OPTIONS)
    if parent == GROUP and not options:
        raise invalid_form(path, "BASE_TYPE_REQUIRED", "This field is required")
    names: set[str] = set()
    optional_seen = False
    for index, item in enumerate(options):
        where: fields.Path = [*path, index]
        option = fields.obj(item, where)
        kind = option.get("type")
        check_name(option, where, slash=True)
        check_description(option, where)
        if kind not in _INSIDE[parent]:
            raise invalid_form([*where, "type"], "BASE_TYPE_CHOICES", f"Value must be one of {_INSIDE[parent]}.")
        if option["name"] in names:
            raise invalid_form(where, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists")
        names.add(option["name"])
        if kind in (SUBCOMMAND, GROUP):
            check_options(option.get("options"), [*where, "options"], parent=kind)
            continue
        if option.get("required") and optional_seen:
            message = "Required options must be placed before non-required options"
            raise invalid_form(where, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional_seen = optional_seen or not option.get("required")
        _check_choices(option, where)
        _check_bounds(option, where)
    if len({option["type"] in (SUBCOMMAND, GROUP) for option in options}) > 1:
        message = "Sub-command and sub-command group option types are mutually exclusive to all other types"
        raise invalid_form(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message)


def _check_choices(option: JSON, path: fields.Path) -> None:
    choices = fields.items(option.get("choices"), [*path, "choices"], CHOICES)
    if choices and (option.get("autocomplete") or option["type"] not in _CHOSEN):
        raise invalid_form([*path, "choices"], "APPLICATION_COMMAND_OPTIONS_CHOICES_INVALID", "This option cannot have choices")
    names: set[str] = set()
    for index, item in enumerate(choices):
        where: fields.Path = [*path, "choices", index]
        choice = fields.obj(item, where)
        check_choice_name(choice, where)
        value = choice.get("value")
        if isinstance(value, bool) or not isinstance(value, _CHOSEN[option["type"]]):
            message = f"{value!r} is no value of an option of type {option['type']}."
            raise invalid_form([*where, "value"], "UNION_TYPE_CHOICES", message)
        if isinstance(value, str):
            fields.text(value, [*where, "value"], CHOICE_VALUE, required=True)
        if choice["name"] in names:
            message = "Choice names must be unique"
            raise invalid_form(where, "APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_ALREADY_EXISTS", message)
        names.add(choice["name"])


def _check_bounds(option: JSON, path: fields.Path) -> None:
    """`min_value` and `max_value` are of numbers, `min_length` and `max_length` of strings, and the least comes first."""
    for low, high, kinds, most in (
        ("min_value", "max_value", (INTEGER, NUMBER), SAFE_INTEGER),
        ("min_length", "max_length", (STRING,), TEXT),
    ):
        least, greatest = option.get(low), option.get(high)
        for key, value in ((low, least), (high, greatest)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise invalid_form([*path, key], "NUMBER_TYPE_COERCE", f'Value "{value}" is not a number.')
            lowest = 0 if kinds == (STRING,) else -most
            if option["type"] not in kinds or not lowest <= value <= most:
                raise invalid_form([*path, key], "NUMBER_TYPE_MAX", f"{value} is no bound of an option of type {option['type']}.")
        if least is not None and greatest is not None and least > greatest:
            raise invalid_form([*path, low], "NUMBER_TYPE_MAX", f"{low} is more than {high}.")
