"""Interactions and their webhook: answered with the interaction's own token, without the bot's, for fifteen minutes."""

import time
from datetime import timedelta

from aiohttp import web

from infra.simulator import payloads
from infra.simulator.body import Body, apply_body, read_body
from infra.simulator.errors import ApiError, invalid_form, unknown
from infra.simulator.model import EPHEMERAL, LOADING, Interaction, Message
from infra.simulator.rest import BASE, json_response
from infra.simulator.world import World

FIRST_RESPONSE = timedelta(seconds=3)
TOKEN_LIFETIME = timedelta(minutes=15)
_MESSAGE, _DEFERRED = 4, 5


class Interactions:
    """The calls that carry an interaction token in their path."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> list[web.RouteDef]:
        """What to mount."""
        webhook = f"{BASE}/webhooks/{{application}}/{{token}}"
        return [
            web.post(f"{BASE}/interactions/{{interaction}}/{{token}}/callback", self.respond),
            web.post(webhook, self.follow_up),
            web.get(f"{webhook}/messages/{{message}}", self.read),
            web.patch(f"{webhook}/messages/{{message}}", self.edit),
            web.delete(f"{webhook}/messages/{{message}}", self.delete),
        ]

    async def respond(self, request: web.Request) -> web.Response:
        """The first response: a message, or the promise of one. It must come within three seconds, and once."""
        interaction = self.world.interactions.get(request.match_info["token"])
        if interaction is None or str(interaction.id) != request.match_info["interaction"]:
            raise unknown("Interaction")
        body = await read_body(request)
        if interaction.callback is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        if self.world.clock() - interaction.created_at > FIRST_RESPONSE:
            raise unknown("Interaction")
        kind = body.payload.get("type")
        if kind not in (_MESSAGE, _DEFERRED):
            raise invalid_form(["type"], "BASE_TYPE_CHOICES", f"Value must be one of {{{_MESSAGE}, {_DEFERRED}}}.")
        self._acknowledge(interaction, kind, body)
        return web.Response(status=204)

    async def follow_up(self, request: web.Request) -> web.Response:
        """A further message; the first one after a deferral takes the deferred one's place, as on Discord."""
        interaction, body = self._live(request), await read_body(request)
        original = interaction.original
        if original is not None and original.flags & LOADING:
            return self._edit(interaction, original, body)
        message = self._new(interaction, body)
        interaction.followups[message.id] = message
        self.world.create_message(message)
        self.world.changed()
        if request.query.get("wait") not in ("1", "true"):
            return web.Response(status=204)
        return json_response(payloads.message(message, self.world.cdn.sign))

    async def read(self, request: web.Request) -> web.Response:
        """The first response (`@original`) or a follow-up."""
        return json_response(payloads.message(self._message(request, self._live(request)), self.world.cdn.sign))

    async def edit(self, request: web.Request) -> web.Response:
        """Change the first response, which is what answers a deferral, or a follow-up."""
        interaction = self._live(request)
        return self._edit(interaction, self._message(request, interaction), await read_body(request))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete the first response or a follow-up."""
        interaction = self._live(request)
        message = self._message(request, interaction)
        if message is interaction.original:
            interaction.original = None
        else:
            del interaction.followups[message.id]
        self.world.delete_message(message)
        return web.Response(status=204)

    def _acknowledge(self, interaction: Interaction, kind: int, body: Body) -> None:
        data = body.payload.get("data") or {}
        if not isinstance(data, dict):
            raise invalid_form(["data"], "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        content = Body(data, body.files)
        elapsed = time.monotonic() - interaction.started
        if kind == _DEFERRED:
            message = self.world.new_message(interaction.channel, self.world.bot)
            message.flags = LOADING | (_flags(content) & EPHEMERAL)
            interaction.deferred_after_s = elapsed
        else:
            message = self._new(interaction, content)
            interaction.answered_after_s = elapsed
        message.interaction = interaction
        interaction.callback, interaction.original = kind, message
        self.world.create_message(message)
        self.world.changed()

    def _new(self, interaction: Interaction, body: Body) -> Message:
        message = self.world.new_message(interaction.channel, self.world.bot)
        message.interaction = interaction
        message.flags = _flags(body)
        apply_body(self.world, message, body.payload, body.files)
        return message

    def _edit(self, interaction: Interaction, message: Message, body: Body) -> web.Response:
        apply_body(self.world, message, body.payload, body.files)
        message.flags &= ~LOADING
        message.edited_at = self.world.clock()
        if message is interaction.original:
            interaction.edits += 1
            if interaction.answered_after_s is None:
                interaction.answered_after_s = time.monotonic() - interaction.started
        self.world.announce(message, "MESSAGE_UPDATE")
        self.world.changed()
        return json_response(payloads.message(message, self.world.cdn.sign))

    def _live(self, request: web.Request) -> Interaction:
        """The interaction whose webhook is used: acknowledged, and not older than its token lives."""
        interaction = self.world.interactions.get(request.match_info["token"])
        if interaction is None or request.match_info["application"] != str(self.world.application_id):
            raise unknown("Webhook")
        if self.world.clock() - interaction.created_at > TOKEN_LIFETIME:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if interaction.callback is None:
            raise unknown("Webhook")
        return interaction

    @staticmethod
    def _message(request: web.Request, interaction: Interaction) -> Message:
        wanted = request.match_info["message"]
        original = interaction.original
        if original is not None and wanted in ("@original", str(original.id)):
            return original
        message = interaction.followups.get(int(wanted)) if wanted.isdigit() else None
        if message is None:
            raise unknown("Message")
        return message


def _flags(body: Body) -> int:
    flags = body.payload.get("flags") or 0
    if not isinstance(flags, int):
        raise invalid_form(["flags"], "NUMBER_TYPE_COERCE", f'Value "{flags}" is not int.')
    return flags
