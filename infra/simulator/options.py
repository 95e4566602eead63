"""What a member puts into a slash command: checked as Discord's own client checks it, and sent with what it names (`resolved`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import MapSeekError
from infra.simulator import payloads
from infra.simulator.declared import (
    ATTACHMENT,
    BOOLEAN,
    CHANNEL,
    GROUP,
    INTEGER,
    MENTIONABLE,
    NUMBER,
    ROLE,
    SAFE_INTEGER,
    STRING,
    SUBCOMMAND,
    TEXT,
    USER,
)
from infra.simulator.embeds import Sign
from infra.simulator.errors import JSON
from infra.simulator.model import Attachment, Channel, Member, Role
from infra.simulator.partials import partial_channel, resolved_member
from infra.simulator.permissions import Permission, permissions_in

_VALUES: dict[int, tuple[type, ...]] = {
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


@dataclass(frozen=True, slots=True)
class Filled:
    """The `options` and `resolved` of an interaction's data."""

    options: list[JSON]
    resolved: dict[str, dict[str, JSON]] = field(default_factory=dict)


def fill(command: JSON, path: str, given: Mapping[str, Any], channel: Channel, member: Member, sign: Sign) -> Filled:
    """The options of `/archive watch add` (the path), used in a channel.

    Raises MapSeekError if they are not those that the command declares, or if the path is no command that can be sent.
    """
    name, *rest = path.split()
    parents: list[JSON] = []
    inside = command
    for word in rest:
        found = next((each for each in _options(inside) if each["name"] == word and each["type"] in (SUBCOMMAND, GROUP)), None)
        if found is None:
            raise MapSeekError(f"/{name} has no subcommand {' '.join(rest)!r}.")
        parents.append(found)
        inside = found
    if below := [each["name"] for each in _options(inside) if each["type"] in (SUBCOMMAND, GROUP)]:
        raise MapSeekError(f"/{path} cannot be sent: it needs one of its subcommands {below}.")
    filled = _filled(inside, path, given, channel, member, sign)
    options = filled.options
    for parent in reversed(parents):
        options = [{"name": parent["name"], "type": parent["type"], "options": options}]
    return Filled(options, filled.resolved)


def _filled(command: JSON, path: str, given: Mapping[str, Any], channel: Channel, member: Member, sign: Sign) -> Filled:
    declared = {option["name"]: option for option in _options(command)}
    if stranger := next((key for key in given if key not in declared), None):
        raise MapSeekError(f"/{path} has no option called {stranger!r}; it has {sorted(declared)}.")
    if missing := next((key for key, option in declared.items() if option.get("required") and key not in given), None):
        raise MapSeekError(f"/{path} needs its option {missing!r}, which was not given.")
    filled = Filled([])
    for key, value in given.items():
        _check_value(path, declared[key], value, member)
        _resolve(filled.resolved, value, channel, member, sign)
        sent = value if isinstance(value, str | int | float) else str(value.id)
        filled.options.append({"name": key, "type": declared[key]["type"], "value": sent})
    return filled


def _check_value(path: str, option: JSON, value: Any, member: Member) -> None:
    kind, name = option["type"], option["name"]
    if not isinstance(value, _VALUES[kind]) or (isinstance(value, bool) and kind != BOOLEAN):
        raise MapSeekError(f"/{path} cannot take {value!r} as its option {name!r} of type {kind}.")
    choices = [choice["value"] for choice in option.get("choices") or []]
    if (choices and value not in choices) or not _within(option, value):
        raise MapSeekError(f"/{path} does not allow {value!r} as its option {name!r}.")
    if isinstance(value, Channel):
        kinds = option.get("channel_types") or []
        if kinds and value.kind not in kinds:
            raise MapSeekError(f"/{path} does not offer #{value.name} as its option {name!r}: it takes channels of types {kinds}.")
        if value.guild is not member.guild or Permission.VIEW_CHANNEL not in permissions_in(value, member):
            raise MapSeekError(f"{member.user.name} does not see #{value.name}, so Discord does not offer it as option {name!r}.")


def _within(option: JSON, value: Any) -> bool:
    if isinstance(value, str):
        return max(option.get("min_length") or 0, 1) <= len(value) <= (option.get("max_length") or TEXT)
    if isinstance(value, int | float):
        least, most = option.get("min_value"), option.get("max_value")
        return (-SAFE_INTEGER if least is None else least) <= value <= (SAFE_INTEGER if most is None else most)
    return True


def _resolve(resolved: dict[str, dict[str, JSON]], value: Any, channel: Channel, member: Member, sign: Sign) -> None:
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


def _options(command: JSON) -> list[JSON]:
    return command.get("options") or []
