"""REST v10 as the bot sees it with its token: itself, its application and commands, channels and their messages."""

from collections.abc import Sequence

import orjson
from aiohttp import web

from infra.simulator import payloads
from infra.simulator.body import read_json
from infra.simulator.commands import check_commands, registered
from infra.simulator.errors import JSON, invalid_form, missing_access, unauthorized, unknown
from infra.simulator.model import Channel, Message
from infra.simulator.permissions import Permission
from infra.simulator.world import World

BASE = "/api/v10"
_HISTORY_LIMIT = 100


def json_response(body: object, status: int = 200) -> web.Response:
    """JSON under exactly `application/json`: disnake reads nothing else as JSON."""
    return web.Response(status=status, body=orjson.dumps(body), headers={"Content-Type": "application/json"})


class Rest:
    """The calls that need the bot's token."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self._token = token

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
            web.get(f"{BASE}/channels/{{channel}}", self.channel),
            web.get(f"{BASE}/channels/{{channel}}/messages", self.history),
            web.get(f"{BASE}/channels/{{channel}}/messages/{{message}}", self.message),
        ]

    async def me(self, request: web.Request) -> web.Response:
        """The bot's account."""
        self._authenticate(request)
        return json_response(payloads.user(self.world.bot))

    async def gateway(self, _: web.Request) -> web.Response:
        """Where the gateway is; the one call without a token."""
        return json_response({"url": self.world.gateway.url})

    async def gateway_bot(self, request: web.Request) -> web.Response:
        """Where the gateway is, and how many sessions may be started."""
        self._authenticate(request)
        limit = {"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1}
        return json_response({"url": self.world.gateway.url, "shards": 1, "session_start_limit": limit})

    async def application(self, request: web.Request) -> web.Response:
        """The bot's application."""
        self._authenticate(request)
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

    async def channel(self, request: web.Request) -> web.Response:
        """A channel that the bot may see."""
        return json_response(payloads.channel(self._visible(request)))

    async def history(self, request: web.Request) -> web.Response:
        """Messages of a channel, newest first; none at all without READ_MESSAGE_HISTORY."""
        channel = self._visible(request)
        limit = _number(request, "limit") or (50 if "limit" not in request.query else 0)
        if not 1 <= limit <= _HISTORY_LIMIT:
            raise invalid_form(["limit"], "NUMBER_TYPE_MAX", f"int value should be between 1 and {_HISTORY_LIMIT}.")
        messages = self._page(request, channel, limit) if self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY) else []
        return json_response([self.world.message_over_rest(each) for each in messages])

    async def message(self, request: web.Request) -> web.Response:
        """One message, its URLs signed anew."""
        channel = self._visible(request)
        if not self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY):
            raise missing_access()
        message = channel.messages.get(_snowflake(request.match_info["message"]))
        if message is None:
            raise unknown("Message")
        return json_response(self.world.message_over_rest(message))

    def _authenticate(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bot {self._token}":
            raise unauthorized()

    def _visible(self, request: web.Request) -> Channel:
        self._authenticate(request)
        channel = self.world.channels.get(_snowflake(request.match_info["channel"]))
        if channel is None:
            raise unknown("Channel")
        if not self.world.bot_may(channel, Permission.VIEW_CHANNEL):
            raise missing_access()
        return channel

    def _scope(self, request: web.Request) -> int | None:
        """The guild whose commands are meant, None for the global ones."""
        self._authenticate(request)
        if _snowflake(request.match_info["application"]) != self.world.application_id:
            raise unknown("Application")
        guild = request.match_info.get("guild")
        if guild is None:
            return None
        if _snowflake(guild) not in self.world.guilds:
            raise missing_access()
        return _snowflake(guild)

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

    @staticmethod
    def _page(request: web.Request, channel: Channel, limit: int) -> Sequence[Message]:
        around, before, after = (_number(request, key) for key in ("around", "before", "after"))
        if around is not None:
            return channel.around(around, limit)
        return channel.after(after, limit) if after is not None else channel.before(before, limit)


def _number(request: web.Request, key: str) -> int | None:
    value = request.query.get(key)
    return None if value is None else _snowflake(value, key)


def _snowflake(value: str, key: str = "id") -> int:
    if not (value.isascii() and value.isdigit()):
        raise invalid_form([key], "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return int(value)
