"""Application commands: the check of what a bot registers, and of what a member fills into their options.

The registered commands are checked as Discord checks them, the options as Discord's own client does.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import MapSeekError
from infra.sandbox.simulator import fields, payloads
from infra.sandbox.simulator.fields import JSON, LOCALES, invalid_form_error
from infra.sandbox.simulator.model import CHANNEL_TYPES, Attachment, Channel, Member, Permission, Role, Sign, compute_permissions
from infra.sandbox.simulator.payloads import partial_channel, resolved_member

SUB_COMMAND, SUB_COMMAND_GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)

MAX_OPTIONS = 25
MAX_CHOICES = 25
MAX_CHOICE_VALUE_LENGTH = 100
MAX_STRING_OPTION_LENGTH = 6000
MAX_SAFE_INTEGER = 2**53
"""The largest absolute value of a number option: what a JavaScript number holds exactly."""

_VALUE_TYPES = tuple(range(STRING, ATTACHMENT + 1))
_CHOICE_VALUE_TYPES: dict[int, tuple[type, ...]] = {STRING: (str,), INTEGER: (int,), NUMBER: (int, float)}
_ALLOWED_OPTION_TYPES = {
    None: (SUB_COMMAND, SUB_COMMAND_GROUP, *_VALUE_TYPES),
    SUB_COMMAND_GROUP: (SUB_COMMAND,),
    SUB_COMMAND: _VALUE_TYPES,
}
"""The option types that may be directly in a command (None), in a group, and in a subcommand."""

CHAT_INPUT_COMMAND, USER_COMMAND, MESSAGE_COMMAND = 1, 2, 3
"""Command types: typed with a slash, or chosen from the menu of a user or of a message."""

MAX_COMMANDS_BY_TYPE = {CHAT_INPUT_COMMAND: 100, USER_COMMAND: 15, MESSAGE_COMMAND: 15}
"""How many commands of each type may be registered globally, and additionally in each guild."""

MAX_COMMAND_CHARACTERS = 8000
"""The maximum total length of the names, descriptions and values of a command. Each text counts in its longest language."""

MAX_COMMAND_NAME_LENGTH = 32
MAX_COMMAND_DESCRIPTION_LENGTH = 100
_SLASH_NAME = re.compile(rf"[-_'\w]{{1,{MAX_COMMAND_NAME_LENGTH}}}")

_CONTEXTS = (0, 1, 2)
_INTEGRATION_TYPES = (0, 1)
_PERMISSIONS = re.compile(r"\d{1,20}")

_VALUE_CLASSES: dict[int, tuple[type, ...]] = {
    STRING: (str,),
    INTEGER: (int,),
    BOOLEAN: (bool,),
    USER: (Member,),
    CHANNEL: (Channel,),
    ROLE: (Role,),
    MENTIONABLE: (Member, Role),
    NUMBER: (int, float),
    ATTACHMENT: (Attachment,),
}


def check_options(value: Any, path: fields.FieldPath, *, parent: int | None = None) -> None:
    """Check the options of a command, a group or a subcommand. Raises ApiError 400."""
    options = fields.read_list(value, path, MAX_OPTIONS)
    if parent == SUB_COMMAND_GROUP and not options:
        raise invalid_form_error(path, "BASE_TYPE_REQUIRED", "This field is required")
    names: set[str] = set()
    optional_seen = False
    for index, item in enumerate(options):
        where: fields.FieldPath = [*path, index]
        option = fields.read_object(item, where)
        kind = option.get("type")
        _check_name(option, where, slash=True)
        _check_description(option, where)
        if kind not in _ALLOWED_OPTION_TYPES[parent]:
            raise invalid_form_error(
                [*where, "type"], "BASE_TYPE_CHOICES", f"Value must be one of {_ALLOWED_OPTION_TYPES[parent]}."
            )
        if option["name"] in names:
            raise invalid_form_error(where, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists")
        names.add(option["name"])
        fields.read_boolean(option.get("required"), [*where, "required"])
        fields.read_boolean(option.get("autocomplete"), [*where, "autocomplete"])
        if kind in (SUB_COMMAND, SUB_COMMAND_GROUP):
            check_options(option.get("options"), [*where, "options"], parent=kind)
            continue
        if option.get("required") and optional_seen:
            message = "Required options must be placed before non-required options"
            raise invalid_form_error(where, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional_seen = optional_seen or not option.get("required")
        _check_choices(option, where)
        _check_bounds(option, where)
        _check_channel_types(option, where)
    if len({option["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP) for option in options}) > 1:
        message = "Sub-command and sub-command group option types are mutually exclusive to all other types"
        raise invalid_form_error(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message)


def _check_choices(option: JSON, path: fields.FieldPath) -> None:
    choices = fields.read_list(option.get("choices"), [*path, "choices"], MAX_CHOICES)
    if choices and (option.get("autocomplete") or option["type"] not in _CHOICE_VALUE_TYPES):
        raise invalid_form_error(
            [*path, "choices"], "APPLICATION_COMMAND_OPTIONS_CHOICES_INVALID", "This option cannot have choices"
        )
    names: set[str] = set()
    for index, item in enumerate(choices):
        where: fields.FieldPath = [*path, "choices", index]
        choice = fields.read_object(item, where)
        _check_choice_name(choice, where)
        value = choice.get("value")
        if isinstance(value, bool) or not isinstance(value, _CHOICE_VALUE_TYPES[option["type"]]):
            message = f"{value!r} is no value of an option of type {option['type']}."
            raise invalid_form_error([*where, "value"], "UNION_TYPE_CHOICES", message)
        if isinstance(value, str):
            fields.check_text(value, [*where, "value"], MAX_CHOICE_VALUE_LENGTH, required=True)
        if choice["name"] in names:
            message = "Choice names must be unique"
            raise invalid_form_error(where, "APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_ALREADY_EXISTS", message)
        names.add(choice["name"])


def _check_bounds(option: JSON, path: fields.FieldPath) -> None:
    """Check that numbers have value bounds and strings length bounds, and that the minimum is not above the maximum."""
    for low, high, kinds, most in (
        ("min_value", "max_value", (INTEGER, NUMBER), MAX_SAFE_INTEGER),
        ("min_length", "max_length", (STRING,), MAX_STRING_OPTION_LENGTH),
    ):
        least, greatest = option.get(low), option.get(high)
        for key, value in ((low, least), (high, greatest)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise invalid_form_error([*path, key], "NUMBER_TYPE_COERCE", f'Value "{value}" is not a number.')
            lowest = {"min_length": 0, "max_length": 1}.get(key, -most)
            if option["type"] not in kinds or not lowest <= value <= most:
                raise invalid_form_error(
                    [*path, key], "NUMBER_TYPE_MAX", f"{value} is no bound of an option of type {option['type']}."
                )
        if least is not None and greatest is not None and least > greatest:
            raise invalid_form_error([*path, low], "NUMBER_TYPE_MAX", f"{low} is more than {high}.")


def _check_channel_types(option: JSON, path: fields.FieldPath) -> None:
    """Check that the option of a channel names existing types of channels, and each once."""
    where: fields.FieldPath = [*path, "channel_types"]
    kinds = fields.read_list(option.get("channel_types"), where, len(CHANNEL_TYPES))
    if kinds and option["type"] != CHANNEL:
        raise invalid_form_error(where, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Only a channel option has channel types")
    for index, kind in enumerate(kinds):
        fields.check_choice(kind, [*where, index], CHANNEL_TYPES)
    fields.check_unique(kinds, where)


def build_registered_command(body: JSON, *, command_id: int, version: int, application_id: int, guild_id: int | None) -> JSON:
    """Build a command as Discord returns it: the checked body with ids and defaults."""
    command: JSON = {
        "type": CHAT_INPUT_COMMAND,
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
    """Check a set of commands that replaces the registered ones. Raises ApiError 400."""
    kinds = Counter(command.get("type", CHAT_INPUT_COMMAND) for command in commands)
    for kind, limit in MAX_COMMANDS_BY_TYPE.items():
        if kinds[kind] > limit:
            raise invalid_form_error([], "APPLICATION_COMMANDS_LIMIT", f"At most {limit} commands of type {kind} are allowed")
    seen: set[tuple[int, str]] = set()
    for index, command in enumerate(commands):
        _check_command(command, [index])
        known = command.get("type", CHAT_INPUT_COMMAND), command["name"]
        if known in seen:
            raise invalid_form_error(
                [index, "name"], "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique"
            )
        seen.add(known)


def _check_command(command: JSON, path: fields.FieldPath) -> None:
    kind = command.get("type", CHAT_INPUT_COMMAND)
    if kind not in MAX_COMMANDS_BY_TYPE:
        raise invalid_form_error([*path, "type"], "BASE_TYPE_CHOICES", f"Value must be one of {tuple(MAX_COMMANDS_BY_TYPE)}.")
    _check_name(command, path, slash=kind == CHAT_INPUT_COMMAND)
    if kind == CHAT_INPUT_COMMAND:
        _check_description(command, path)
        check_options(command.get("options"), [*path, "options"])
    elif command.get("description") or command.get("options"):
        message = "Context menu commands cannot have description or options"
        raise invalid_form_error(path, "APPLICATION_COMMAND_CONTEXT_MENU_INVALID", message)
    permissions = command.get("default_member_permissions")
    if permissions is not None and not _PERMISSIONS.fullmatch(str(permissions)):
        raise invalid_form_error(
            [*path, "default_member_permissions"], "BITFIELD_TYPE_CONVERT", f'Value "{permissions}" is not a bitfield.'
        )
    for key, allowed in (("contexts", _CONTEXTS), ("integration_types", _INTEGRATION_TYPES)):
        if command.get(key) is None:
            continue
        values = fields.read_list(command[key], [*path, key], len(allowed), least=1)
        for place, value in enumerate(values):
            fields.check_choice(value, [*path, key, place], allowed)
        fields.check_unique(values, [*path, key])
    for key in ("nsfw", "dm_permission"):
        fields.read_boolean(command.get(key), [*path, key])
    if (size := sum(_iter_sizes(command))) > MAX_COMMAND_CHARACTERS:
        raise invalid_form_error(
            path, "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({size} > {MAX_COMMAND_CHARACTERS})"
        )


def _check_name(item: JSON, path: fields.FieldPath, *, slash: bool) -> None:
    """Check a name of 1 to 32 characters. Raises ApiError 400.

    The name of a slash command or option (`slash`) may contain only lower-case letters, digits, `-`, `_` and `'`.
    """
    for where, name in _iter_localized(item, "name", path):
        valid = isinstance(name, str) and 1 <= len(name) <= MAX_COMMAND_NAME_LENGTH and name == name.strip()
        if not valid or (slash and (not _SLASH_NAME.fullmatch(name) or name != name.lower())):
            raise invalid_form_error(where, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _check_description(item: JSON, path: fields.FieldPath) -> None:
    """Check a description of 1 to 100 characters. Raises ApiError 400."""
    for where, description in _iter_localized(item, "description", path):
        if not isinstance(description, str) or not 1 <= len(description) <= MAX_COMMAND_DESCRIPTION_LENGTH:
            raise invalid_form_error(
                where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_COMMAND_DESCRIPTION_LENGTH} in length."
            )


def _check_choice_name(choice: JSON, path: fields.FieldPath) -> None:
    """Check the name of a choice, of 1 to 100 characters. Raises ApiError 400."""
    for where, name in _iter_localized(choice, "name", path):
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_COMMAND_DESCRIPTION_LENGTH:
            raise invalid_form_error(
                where, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_COMMAND_DESCRIPTION_LENGTH} in length."
            )


def _iter_localized(item: JSON, key: str, path: fields.FieldPath) -> Iterator[tuple[fields.FieldPath, Any]]:
    """Yield the path and text of a key, the default first, then each language. Raises ApiError 400 for an unknown language."""
    yield [*path, key], item.get(key)
    where: fields.FieldPath = [*path, f"{key}_localizations"]
    for locale, text in fields.read_object(item.get(f"{key}_localizations"), where).items():
        if locale not in LOCALES:
            raise invalid_form_error([*where, locale], "ENUM_TYPE_COERCE", f'Value "{locale}" is not a valid enum value.')
        yield [*where, locale], text


def _iter_sizes(item: JSON) -> Iterator[int]:
    """Yield the text lengths of a command, an option or a choice. Of a text in several languages, the longest one counts."""
    for key in ("name", "description"):
        yield max(len(text) for text in (item.get(key) or "", *(item.get(f"{key}_localizations") or {}).values()))
    value: Any = item.get("value")
    if isinstance(value, str):
        yield len(value)
    for part in (*(item.get("options") or ()), *(item.get("choices") or ())):
        yield from _iter_sizes(part)


@dataclass(frozen=True, slots=True)
class FilledOptions:
    """The `options` and the `resolved` objects in the data of an interaction."""

    options: list[JSON]
    resolved: dict[str, dict[str, JSON]] = field(default_factory=dict)


def fill_options(command: JSON, path: str, given: Mapping[str, Any], channel: Channel, member: Member, sign: Sign) -> FilledOptions:
    """Build the options of a command such as `/archive watch add` (`path` without the slash), used in a channel.

    Raises MapSeekError if an option does not fit the declared ones, or if the path names no command that can be sent.
    """
    name, *rest = path.split()
    parents: list[JSON] = []
    inside = command
    for word in rest:
        found = next(
            (each for each in _get_options(inside) if each["name"] == word and each["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP)),
            None,
        )
        if found is None:
            raise MapSeekError(f"/{name} has no subcommand {' '.join(rest)!r}.")
        parents.append(found)
        inside = found
    if below := [each["name"] for each in _get_options(inside) if each["type"] in (SUB_COMMAND, SUB_COMMAND_GROUP)]:
        raise MapSeekError(f"/{path} cannot be sent: it needs one of its subcommands {below}.")
    filled = _fill_declared(inside, path, given, channel, member, sign)
    options = filled.options
    for parent in reversed(parents):
        options = [{"name": parent["name"], "type": parent["type"], "options": options}]
    return FilledOptions(options, filled.resolved)


def _fill_declared(
    command: JSON, path: str, given: Mapping[str, Any], channel: Channel, member: Member, sign: Sign
) -> FilledOptions:
    declared = {option["name"]: option for option in _get_options(command)}
    if stranger := next((key for key in given if key not in declared), None):
        raise MapSeekError(f"/{path} has no option called {stranger!r}; it has {sorted(declared)}.")
    if missing := next((key for key, option in declared.items() if option.get("required") and key not in given), None):
        raise MapSeekError(f"/{path} needs its option {missing!r}, which was not given.")
    filled = FilledOptions([])
    for key, value in given.items():
        _check_value(path, declared[key], value, member)
        _add_resolved(filled.resolved, value, channel, member, sign)
        sent = value if isinstance(value, str | int | float) else str(value.id)
        filled.options.append({"name": key, "type": declared[key]["type"], "value": sent})
    return filled


def _check_value(path: str, option: JSON, value: Any, member: Member) -> None:
    kind, name = option["type"], option["name"]
    if not isinstance(value, _VALUE_CLASSES[kind]) or (isinstance(value, bool) and kind != BOOLEAN):
        raise MapSeekError(f"/{path} cannot take {value!r} as its option {name!r} of type {kind}.")
    choices = [choice["value"] for choice in option.get("choices") or []]
    if (choices and value not in choices) or not _is_within_bounds(option, value):
        raise MapSeekError(f"/{path} does not allow {value!r} as its option {name!r}.")
    if isinstance(value, Channel):
        kinds = option.get("channel_types") or []
        if kinds and value.kind not in kinds:
            raise MapSeekError(f"/{path} does not offer #{value.name} as its option {name!r}: it takes channels of types {kinds}.")
        if value.guild is not member.guild or Permission.VIEW_CHANNEL not in compute_permissions(value, member):
            raise MapSeekError(f"{member.user.name} does not see #{value.name}, so Discord does not offer it as option {name!r}.")


def _is_within_bounds(option: JSON, value: Any) -> bool:
    if isinstance(value, str):
        return max(option.get("min_length") or 0, 1) <= len(value) <= (option.get("max_length") or MAX_STRING_OPTION_LENGTH)
    if isinstance(value, int | float):
        least, most = option.get("min_value"), option.get("max_value")
        return (-MAX_SAFE_INTEGER if least is None else least) <= value <= (MAX_SAFE_INTEGER if most is None else most)
    return True


def _add_resolved(resolved: dict[str, dict[str, JSON]], value: Any, channel: Channel, member: Member, sign: Sign) -> None:
    match value:
        case Member():
            resolved.setdefault("users", {})[str(value.id)] = payloads.user(value.user)
            resolved.setdefault("members", {})[str(value.id)] = resolved_member(value, channel)
        case Role():
            resolved.setdefault("roles", {})[str(value.id)] = payloads.role(value)
        case Channel():
            resolved.setdefault("channels", {})[str(value.id)] = partial_channel(value, member)
        case Attachment():
            resolved.setdefault("attachments", {})[str(value.id)] = payloads.attachment(value, sign)


def _get_options(command: JSON) -> list[JSON]:
    return command.get("options") or []
