"""Interactions and their webhook: answered with the interaction's own token, without the bot's, for fifteen minutes."""

from datetime import timedelta

from aiohttp import web

from infra.simulator import payloads
from infra.simulator.body import Body, read_body
from infra.simulator.errors import ApiError, unknown
from infra.simulator.model import LOADING, Interaction, Message
from infra.simulator.responding import acknowledge, change, follow
from infra.simulator.rest import BASE, json_response
from infra.simulator.world import World

FIRST_RESPONSE = timedelta(seconds=3)
TOKEN_LIFETIME = timedelta(minutes=15)


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
        """The first response: a message, a change of the button's message, or the promise of one; in three seconds, and once."""
        interaction = self.world.interactions.get(request.match_info["token"])
        if interaction is None or str(interaction.id) != request.match_info["interaction"]:
            raise unknown("Interaction")
        body = await read_body(request)
        if interaction.callback is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        if self.world.clock() - interaction.created_at > FIRST_RESPONSE:
            raise unknown("Interaction")
        acknowledge(self.world, interaction, body)
        return web.Response(status=204)

    async def follow_up(self, request: web.Request) -> web.Response:
        """A further message; the first one after a deferral takes the deferred one's place, as on Discord."""
        interaction, body = self._live(request), await read_body(request)
        original = interaction.original
        if original is not None and original.flags & LOADING and not original.gone:
            return self._edit(interaction, original, body)
        message = follow(self.world, interaction, body)
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

    def _edit(self, interaction: Interaction, message: Message, body: Body) -> web.Response:
        change(self.world, interaction, message, body)
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
        message = interaction.original
        if message is None or wanted not in ("@original", str(message.id)):
            message = interaction.followups.get(int(wanted)) if wanted.isdigit() else None
        if message is None or message.gone:
            raise unknown("Message")
        return message
