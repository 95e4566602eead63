"""Interactions: a member uses a command or presses a button, INTERACTION_CREATE is sent, and the bot responds.

Responses go to the interaction's webhook. They need the token of the interaction, not that of the bot, and are accepted for fifteen
minutes.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from infra.sandbox.simulator import fields, payloads
from infra.sandbox.simulator.commands import FilledOptions
from infra.sandbox.simulator.fields import JSON, ApiError, invalid_form_error, unknown_error
from infra.sandbox.simulator.message_parts import BUTTON, iter_buttons
from infra.sandbox.simulator.model import (
    APPLICATION_COMMAND,
    DM,
    EPHEMERAL,
    LOADING,
    MESSAGE_COMPONENT,
    Channel,
    Interaction,
    Member,
    Message,
    compute_permissions,
)
from infra.sandbox.simulator.payloads import partial_channel
from infra.sandbox.simulator.rest import API_PREFIX, RequestBody, json_response, read_body
from infra.sandbox.simulator.rest_messages import SETTABLE_FLAGS, apply_body, edit_own_message
from infra.sandbox.simulator.world import World

CHANNEL_MESSAGE_WITH_SOURCE, DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE, DEFERRED_UPDATE_MESSAGE, UPDATE_MESSAGE = 4, 5, 6, 7
"""Interaction callback types. The last two are only for button presses."""

FIRST_RESPONSE_TIMEOUT = timedelta(seconds=3)
INTERACTION_TOKEN_LIFETIME = timedelta(minutes=15)


def apply_first_response(world: World, interaction: Interaction, body: RequestBody) -> None:
    """Apply the first response to an interaction. Raises ApiError, and changes nothing then."""
    kind = body.payload.get("type")
    allowed = (
        (CHANNEL_MESSAGE_WITH_SOURCE, DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE, DEFERRED_UPDATE_MESSAGE, UPDATE_MESSAGE)
        if interaction.kind == MESSAGE_COMPONENT
        else (CHANNEL_MESSAGE_WITH_SOURCE, DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE)
    )
    if kind not in allowed:
        raise invalid_form_error(["type"], "BASE_TYPE_CHOICES", f"Value must be one of {allowed}.")
    content = RequestBody(fields.read_object(body.payload.get("data"), ["data"]), body.files)
    elapsed = time.monotonic() - interaction.started
    pressed = interaction.message
    if kind == CHANNEL_MESSAGE_WITH_SOURCE:
        interaction.original = _build_message(world, interaction, content)
        world.create_message(interaction.original)
    elif kind == DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE:
        interaction.original = _empty_message(world, interaction)
        interaction.original.flags = LOADING | (_read_flags(content) & EPHEMERAL)
        world.create_message(interaction.original)
    else:
        if pressed is None or pressed.gone:
            raise unknown_error("Message")
        if kind == UPDATE_MESSAGE:
            edit_own_message(world, pressed, content)
        interaction.original = pressed
    interaction.callback_type = kind
    if kind in (DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE, DEFERRED_UPDATE_MESSAGE):
        interaction.deferred_after_s = elapsed
    else:
        interaction.answered_after_s = elapsed
    world.wake_waiters()


def create_followup(world: World, interaction: Interaction, body: RequestBody) -> Message:
    """Create a follow-up message. Raises ApiError."""
    message = _build_message(world, interaction, body)
    interaction.followups[message.id] = message
    interaction.followed_after_s[message.id] = time.monotonic() - interaction.started
    world.create_message(message)
    world.wake_waiters()
    return message


def edit_response(world: World, interaction: Interaction, message: Message, body: RequestBody) -> None:
    """Edit a response. The first edit of a deferred response is the answer. Raises ApiError."""
    edit_own_message(world, message, body)
    if message is interaction.original:
        interaction.edits += 1
        interaction.answered_after_s = time.monotonic() - interaction.started
    world.wake_waiters()


def _build_message(world: World, interaction: Interaction, body: RequestBody) -> Message:
    message = _empty_message(world, interaction)
    message.flags = _read_flags(body)
    apply_body(world, message, body.payload, body.files)
    return message


def _empty_message(world: World, interaction: Interaction) -> Message:
    message = world.new_message(interaction.channel, world.bot)
    message.interaction, message.reference = interaction, interaction.message
    return message


def _read_flags(body: RequestBody) -> int:
    return fields.read_integer(body.payload.get("flags"), ["flags"]) & (SETTABLE_FLAGS | EPHEMERAL)


class RestInteractions:
    """The calls with an interaction token in the path."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this class."""
        webhook = f"{API_PREFIX}/webhooks/{{application}}/{{token}}"
        return [
            web.post(f"{API_PREFIX}/interactions/{{interaction}}/{{token}}/callback", self.create_interaction_response),
            web.post(webhook, self.create_followup_message),
            web.get(f"{webhook}/messages/{{message}}", self.get_response_message),
            web.patch(f"{webhook}/messages/{{message}}", self.edit_response_message),
            web.delete(f"{webhook}/messages/{{message}}", self.delete_response_message),
        ]

    async def create_interaction_response(self, request: web.Request) -> web.Response:
        """Create the first response: a message, an edit of the button's message, or a deferral.

        Allowed once, within three seconds.
        """
        interaction = self.world.interactions.get(request.match_info["token"])
        if interaction is None or str(interaction.id) != request.match_info["interaction"]:
            raise unknown_error("Interaction")
        body = await read_body(request)
        if interaction.callback_type is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        if self.world.clock() - interaction.created_at > FIRST_RESPONSE_TIMEOUT:
            raise unknown_error("Interaction")
        apply_first_response(self.world, interaction, body)
        return web.Response(status=204)

    async def create_followup_message(self, request: web.Request) -> web.Response:
        """Create a follow-up message. As on Discord, the first one after a deferral becomes the deferred message."""
        interaction, body = self._find_interaction(request), await read_body(request)
        original = interaction.original
        if original is not None and original.flags & LOADING and not original.gone:
            return self._edit_message(interaction, original, body)
        message = create_followup(self.world, interaction, body)
        if request.query.get("wait") not in ("1", "true"):
            return web.Response(status=204)
        return json_response(payloads.message(message, self.world.cdn.sign))

    async def get_response_message(self, request: web.Request) -> web.Response:
        """Return the first response (`@original`) or a follow-up."""
        return json_response(payloads.message(self._find_message(request, self._find_interaction(request)), self.world.cdn.sign))

    async def edit_response_message(self, request: web.Request) -> web.Response:
        """Edit the first response, which is how a deferral is answered, or a follow-up."""
        interaction = self._find_interaction(request)
        return self._edit_message(interaction, self._find_message(request, interaction), await read_body(request))

    async def delete_response_message(self, request: web.Request) -> web.Response:
        """Delete the first response or a follow-up."""
        interaction = self._find_interaction(request)
        message = self._find_message(request, interaction)
        if message is interaction.original:
            interaction.original = None
        else:
            del interaction.followups[message.id]
        self.world.delete_message(message)
        return web.Response(status=204)

    def _edit_message(self, interaction: Interaction, message: Message, body: RequestBody) -> web.Response:
        edit_response(self.world, interaction, message, body)
        return json_response(payloads.message(message, self.world.cdn.sign))

    def _find_interaction(self, request: web.Request) -> Interaction:
        """Find the interaction of a webhook. It must have a first response, and its token must not have expired."""
        interaction = self.world.interactions.get(request.match_info["token"])
        if interaction is None or request.match_info["application"] != str(self.world.application_id):
            raise unknown_error("Webhook")
        if self.world.clock() - interaction.created_at > INTERACTION_TOKEN_LIFETIME:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if interaction.callback_type is None:
            raise unknown_error("Webhook")
        return interaction

    @staticmethod
    def _find_message(request: web.Request, interaction: Interaction) -> Message:
        wanted = request.match_info["message"]
        message = interaction.original
        if message is None or wanted not in ("@original", str(message.id)):
            message = interaction.followups.get(int(wanted)) if wanted.isdigit() else None
        if message is None or message.gone:
            raise unknown_error("Message")
        return message


@dataclass(frozen=True, slots=True)
class Invoker:
    """The member who uses a command or a button, the channel, and the language of the client."""

    channel: Channel
    member: Member
    locale: str


def use_slash_command(world: World, by: Invoker, command: JSON, path: str, filled: FilledOptions) -> Interaction:
    """Begin an interaction: a member sends a slash command."""
    data = _command_fields(command) | {"options": filled.options}
    return _begin_interaction(
        world, by, APPLICATION_COMMAND, path, data | {"resolved": filled.resolved} if filled.resolved else data
    )


def use_message_command(world: World, by: Invoker, command: JSON, target: Message) -> Interaction:
    """Begin an interaction: a member chooses a command in the menu of a message.

    The bot gets the whole message, whatever its intents are.
    """
    target_id, shown = str(target.id), payloads.message(target, world.cdn.sign)
    data = _command_fields(command) | {"target_id": target_id, "resolved": {"messages": {target_id: shown}}}
    return _begin_interaction(world, by, APPLICATION_COMMAND, command["name"], data)


def press_button(world: World, by: Invoker, message: Message, custom_id: str) -> Interaction:
    """Begin an interaction: a member presses a button."""
    button = next(each for each in iter_buttons(message.components) if each.get("custom_id") == custom_id)
    data: JSON = {"custom_id": custom_id, "component_type": BUTTON, "id": button["id"]}
    return _begin_interaction(world, by, MESSAGE_COMPONENT, custom_id, data, message)


def _command_fields(command: JSON) -> JSON:
    named: JSON = {"id": command["id"], "name": command["name"], "type": command["type"]}
    return named | {"guild_id": command["guild_id"]} if "guild_id" in command else named


def _begin_interaction(world: World, by: Invoker, kind: int, name: str, data: JSON, message: Message | None = None) -> Interaction:
    interaction = Interaction(
        id=world.new_id(None),
        token=secrets.token_urlsafe(96),
        kind=kind,
        name=name,
        channel=by.channel,
        user=by.member.user,
        member=None if by.channel.kind == DM else by.member,
        data=data,
        message=message,
        locale=by.locale,
        created_at=world.clock(),
        started=time.monotonic(),
    )
    world.interactions[interaction.token] = interaction
    world.gateway.dispatch("INTERACTION_CREATE", _interaction_payload(world, interaction, by))
    return interaction


def _interaction_payload(world: World, item: Interaction, by: Invoker) -> JSON:
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
        "app_permissions": str(int(compute_permissions(channel, world.me(guild)))),
        "attachment_size_limit": payloads.MAX_FILE_SIZE_BYTES,
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
        "member": {**payloads.member(item.member), "permissions": str(int(compute_permissions(channel, item.member)))},
        "context": 0,
        "authorizing_integration_owners": {"0": guild_id},
    }
