"""Interactions as they begin: a member uses a command or presses a button, and the bot is told of it by INTERACTION_CREATE."""

import secrets
import time
from dataclasses import dataclass

from infra.simulator import payloads
from infra.simulator.components import BUTTON, buttons
from infra.simulator.errors import JSON
from infra.simulator.model import COMMAND, COMPONENT, DIRECT, Channel, Interaction, Member, Message
from infra.simulator.options import Filled
from infra.simulator.partials import partial_channel
from infra.simulator.permissions import permissions_in
from infra.simulator.world import World


@dataclass(frozen=True, slots=True)
class Presser:
    """Who does it, where, and in which language of the client."""

    channel: Channel
    member: Member
    locale: str


def use_slash(world: World, by: Presser, command: JSON, path: str, filled: Filled) -> Interaction:
    """A member sends a slash command."""
    data = _named(command) | {"options": filled.options}
    return _begin(world, by, COMMAND, path, data | {"resolved": filled.resolved} if filled.resolved else data)


def use_on_message(world: World, by: Presser, command: JSON, target: Message) -> Interaction:
    """A member chooses a command from a message's menu. Whatever the intents, the bot is shown the message whole."""
    shown = payloads.message(target, world.cdn.sign)
    data = _named(command) | {"target_id": shown["id"], "resolved": {"messages": {shown["id"]: shown}}}
    return _begin(world, by, COMMAND, command["name"], data)


def press_button(world: World, by: Presser, message: Message, custom_id: str) -> Interaction:
    """A member presses a button."""
    button = next(each for each in buttons(message.components) if each.get("custom_id") == custom_id)
    data: JSON = {"custom_id": custom_id, "component_type": BUTTON, "id": button["id"]}
    return _begin(world, by, COMPONENT, custom_id, data, message)


def _named(command: JSON) -> JSON:
    named: JSON = {"id": command["id"], "name": command["name"], "type": command["type"]}
    return named | {"guild_id": command["guild_id"]} if "guild_id" in command else named


def _begin(world: World, by: Presser, kind: int, name: str, data: JSON, message: Message | None = None) -> Interaction:
    interaction = Interaction(
        id=world.new_id(None),
        token=secrets.token_urlsafe(96),
        kind=kind,
        name=name,
        channel=by.channel,
        user=by.member.user,
        member=None if by.channel.kind == DIRECT else by.member,
        data=data,
        message=message,
        locale=by.locale,
        created_at=world.clock(),
        started=time.monotonic(),
    )
    world.interactions[interaction.token] = interaction
    world.gateway.dispatch("INTERACTION_CREATE", _payload(world, interaction, by))
    return interaction


def _payload(world: World, item: Interaction, by: Presser) -> JSON:
    channel, guild = item.channel, item.channel.guild
    payload: JSON = {
        "id": str(item.id),
        "application_id": str(world.application_id),
        "type": item.kind,
        "token": item.token,
        "version": 1,
        "locale": item.locale,
        "channel_id": str(channel.id),
        "channel": partial_channel(channel, by.member),
        "app_permissions": str(int(permissions_in(channel, world.me(guild)))),
        "attachment_size_limit": payloads.FILE_SIZE_LIMIT,
        "entitlements": [],
        "data": item.data,
    }
    if item.message is not None:
        payload["message"] = payloads.message(item.message, world.cdn.sign)
    if item.member is None:
        return payload | {"user": payloads.user(item.user), "context": 1, "authorizing_integration_owners": {"0": "0"}}
    guild_id = str(guild.id)
    return payload | {
        "guild_id": guild_id,
        "guild": {"id": guild_id, "locale": guild.locale, "features": []},
        "guild_locale": guild.locale,
        "member": {**payloads.member(item.member), "permissions": str(int(permissions_in(channel, item.member)))},
        "context": 0,
        "authorizing_integration_owners": {"0": guild_id},
    }
