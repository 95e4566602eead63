"""REST v10 as the bot sees it with its token: itself, its application and commands, channels and their messages."""

from collections.abc import Sequence

import orjson
from aiohttp import web

from infra.simulator import payloads, places
from infra.simulator.access import Access, bounded, number, snowflake
from infra.simulator.body import read_json
from infra.simulator.commands import check_commands, registered
from infra.simulator.errors import JSON, ApiError, invalid_form, missing_access, unknown
from infra.simulator.model import CATEGORY, FORUM, Channel, Message
from infra.simulator.permissions import Permission

BASE = "/api/v10"


def json_response(body: object, status: int = 200) -> web.Response:
    """JSON under exactly `application/json`: disnake reads nothing else as JSON."""
    return web.Response(status=status, body=orjson.dumps(body), headers={"Content-Type": "application/json"})


class Rest(Access):
    """The calls about the bot itself, and those that read channels."""

    def routes(self) -> list[web.RouteDef]:
        """What to mount."""
        application = f"{BASE}/applications/{{application}}"
        return [
            web.get(f"{BASE}/users/@me", self.me),
            web.get(f"{BASE}/gateway", self.gateway),
            web.get(f"{BASE}/gateway/bot", self.gateway_bot),
            web.get(f"{BASE}/oauth2/applications/@me", self.application),
            web.get(f"{application}/commands", self.commands),
            web.put(f"{application}/commands", self.register),
            web.get(f"{application}/guilds/{{guild}}/commands", self.commands),
            web.put(f"{application}/guilds/{{guild}}/commands", self.register),
            web.get(f"{BASE}/channels/{{channel}}", self.read_channel),
            web.get(f"{BASE}/channels/{{channel}}/messages", self.history),
            web.get(f"{BASE}/channels/{{channel}}/messages/{{message}}", self.read_message),
        ]

    async def me(self, request: web.Request) -> web.Response:
        """The bot's account."""
        self.authenticate(request)
        return json_response(payloads.user(self.world.bot))

    async def gateway(self, _: web.Request) -> web.Response:
        """Where the gateway is; the one call without a token."""
        return json_response({"url": self.world.gateway.url})

    async def gateway_bot(self, request: web.Request) -> web.Response:
        """Where the gateway is, and how many sessions may be started."""
        self.authenticate(request)
        limit = {"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1}
        return json_response({"url": self.world.gateway.url, "shards": 1, "session_start_limit": limit})

    async def application(self, request: web.Request) -> web.Response:
        """The bot's application."""
        self.authenticate(request)
        bot = payloads.user(self.world.bot)
        return json_response(
            {
                "id": bot["id"],
                "name": bot["username"],
                "icon": None,
                "description": "",
                "bot_public": True,
                "bot_require_code_grant": False,
                "owner": bot,
                "team": None,
                "verify_key": "0" * 64,
                "flags": (1 << 19) if self.world.message_content else 0,
            }
        )

    async def commands(self, request: web.Request) -> web.Response:
        """The registered commands, global or of a guild."""
        return json_response(self.world.commands[self._scope(request)])

    async def register(self, request: web.Request) -> web.Response:
        """Replace the registered commands; one that keeps its name keeps its id."""
        scope, sent = self._scope(request), await read_json(request)
        if not isinstance(sent, list) or not all(isinstance(each, dict) for each in sent):
            raise invalid_form([], "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        check_commands(sent)
        self.world.commands[scope] = [self._registered(each, scope) for each in sent]
        self.world.changed()
        return json_response(self.world.commands[scope])

    async def read_channel(self, request: web.Request) -> web.Response:
        """A channel that the bot may see."""
        channel = self.channel(request)
        return json_response(places.channel(channel, self.world.me(channel.guild)))

    async def history(self, request: web.Request) -> web.Response:
        """Messages of a channel, newest first; none at all without READ_MESSAGE_HISTORY."""
        channel = self.channel(request)
        if channel.kind in (CATEGORY, FORUM):
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        limit = bounded(request, "limit", 1, 100, 50)
        messages = _page(request, channel, limit) if self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY) else []
        return json_response([self.world.message_over_rest(each) for each in messages])

    async def read_message(self, request: web.Request) -> web.Response:
        """One message, its URLs signed anew."""
        return json_response(self.world.message_over_rest(self.message(request, self.channel(request))))

    def _scope(self, request: web.Request) -> int | None:
        """The guild whose commands are meant, None for the global ones."""
        self.authenticate(request)
        if snowflake(request.match_info["application"]) != self.world.application_id:
            raise unknown("Application")
        guild = request.match_info.get("guild")
        if guild is None:
            return None
        if snowflake(guild) not in self.world.guilds:
            raise missing_access()
        return snowflake(guild)

    def _registered(self, sent: JSON, scope: int | None) -> JSON:
        same = (each for each in self.world.commands[scope] if (each["name"], each["type"]) == (sent["name"], sent.get("type", 1)))
        before = next(same, None)
        return registered(
            sent,
            command_id=self.world.new_id(None) if before is None else int(before["id"]),
            version=self.world.new_id(None),
            application_id=self.world.application_id,
            guild_id=scope,
        )


def _page(request: web.Request, channel: Channel, limit: int) -> Sequence[Message]:
    around, before, after = (number(request, key) for key in ("around", "before", "after"))
    if around is not None:
        return channel.around(around, limit)
    return channel.after(after, limit) if after is not None else channel.before(before, limit)
