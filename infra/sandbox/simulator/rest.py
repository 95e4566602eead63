"""REST v10 with the bot's token: the bot itself, its application, its commands, and reading channels and messages.

Also what the other REST modules share: authentication, access to guilds and channels, and request bodies (JSON, or a multipart
form with `payload_json` and `files[n]`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from infra.sandbox.simulator import fields, payloads
from infra.sandbox.simulator.channels import find_user, open_dm_channel
from infra.sandbox.simulator.commands import build_registered_command, check_commands
from infra.sandbox.simulator.fields import (
    JSON,
    ApiError,
    invalid_form_error,
    missing_access_error,
    unauthorized_error,
    unknown_error,
)
from infra.sandbox.simulator.model import WITHOUT_MESSAGES, Channel, Guild, Message, Permission
from infra.sandbox.simulator.world import Upload, World

API_PREFIX = "/api/v10"


class AuthenticatedRest:
    """The base class of all calls with the bot's token."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self._token = token

    def authenticate(self, request: web.Request) -> None:
        """Raise ApiError 401 if the request does not have the bot's token."""
        if request.headers.get("Authorization") != f"Bot {self._token}":
            raise unauthorized_error()

    def find_guild(self, request: web.Request) -> Guild:
        """Find the guild in the path. Raises ApiError if it does not exist or the bot is not in it."""
        self.authenticate(request)
        guild = self.world.guilds.get(parse_snowflake(request.match_info["guild"]))
        if guild is None:
            raise missing_access_error()
        return guild

    def find_channel(self, request: web.Request) -> Channel:
        """Find the channel or thread in the path. Raises ApiError if it does not exist or the bot may not see it."""
        self.authenticate(request)
        channel = self.world.channels.get(parse_snowflake(request.match_info["channel"]))
        if channel is None:
            raise unknown_error("Channel")
        if not self.world.bot_may(channel, Permission.VIEW_CHANNEL):
            raise missing_access_error()
        return channel

    def find_message(self, request: web.Request, channel: Channel) -> Message:
        """Find the message in the path. Raises ApiError if it does not exist or the bot may not read it."""
        if not self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY):
            raise missing_access_error()
        message = channel.messages.get(parse_snowflake(request.match_info["message"]))
        if message is None:
            raise unknown_error("Message")
        return message

    def require_permission(self, channel: Channel, wanted: Permission) -> None:
        """Raise ApiError 403 if the bot does not have a permission in the channel."""
        if not self.world.bot_may(channel, wanted):
            raise ApiError(403, 50013, "Missing Permissions")


def read_query_number(request: web.Request, key: str) -> int | None:
    """Read an id or a number from the query string, None if absent. Raises ApiError 400."""
    value = request.query.get(key)
    return None if value is None else parse_snowflake(value, key)


def read_bounded_number(request: web.Request, key: str, least: int, most: int, default: int) -> int:
    """Read a number within bounds from the query string. Raises ApiError 400."""
    value = read_query_number(request, key)
    if value is None:
        return default
    if not least <= value <= most:
        raise invalid_form_error([key], "NUMBER_TYPE_MAX", f"int value should be between {least} and {most}.")
    return value


def parse_snowflake(value: str, key: str = "id") -> int:
    """Parse an id. Raises ApiError 400 if it is not a number."""
    return fields.read_snowflake(value, [key])


def cannot_dm_error() -> ApiError:
    """The error for a direct message to somebody who accepts none."""
    return ApiError(403, 50007, "Cannot send messages to this user")


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A request body. `files` maps the number n of `files[n]` to the file."""

    payload: JSON
    files: dict[int, Upload] = field(default_factory=dict)


async def read_json(request: web.Request) -> object:
    """Read a JSON body. Raises ApiError 400 if the body or its content type is not JSON."""
    if request.content_type != "application/json":
        raise ApiError(
            400, 50035, f'Expected "Content-Type" header to be one of {{"application/json"}}, not {request.content_type}'
        )
    return _parse_json(await request.read())


async def read_body(request: web.Request) -> RequestBody:
    """Read a body that may contain files. Raises ApiError 400."""
    if request.content_type != "multipart/form-data":
        return RequestBody(_require_object(await read_json(request)))
    form = await request.post()
    payload, files = form.get("payload_json", "{}"), {}
    if not isinstance(payload, str):
        raise ApiError(400, 50109, "The request body contains invalid JSON.")
    for key, value in form.items():
        if isinstance(value, web.FileField):
            number = key.removeprefix("files[").removesuffix("]")
            if not number.isdigit():
                raise invalid_form_error([key], "FILE_PART_NAME", "File parts are named files[n].")
            files[int(number)] = (value.filename, value.file.read())
    return RequestBody(_require_object(_parse_json(payload)), files)


def _require_object(value: object) -> JSON:
    if not isinstance(value, dict):
        raise invalid_form_error([], "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return value


def _parse_json(data: bytes | str) -> object:
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None
    return value


class JsonResponse(web.Response):
    """A JSON response. `answered` is its body as an object."""

    def __init__(self, answered: object, status: int) -> None:
        super().__init__(status=status, body=orjson.dumps(answered), headers={"Content-Type": "application/json"})
        self.answered = answered


def json_response(body: object, status: int = 200) -> JsonResponse:
    """Build a JSON response. Its content type is exactly `application/json`: disnake parses no other as JSON."""
    return JsonResponse(body, status)


class Rest(AuthenticatedRest):
    """The calls about the bot, its application and its commands, and those that read channels."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this class."""
        application = f"{API_PREFIX}/applications/{{application}}"
        return [
            web.get(f"{API_PREFIX}/users/@me", self.get_current_user),
            web.get(f"{API_PREFIX}/users/{{user}}", self.get_user),
            web.post(f"{API_PREFIX}/users/@me/channels", self.create_dm),
            web.get(f"{API_PREFIX}/gateway", self.get_gateway),
            web.get(f"{API_PREFIX}/gateway/bot", self.get_gateway_bot),
            web.get(f"{API_PREFIX}/oauth2/applications/@me", self.get_current_application),
            web.get(f"{application}/commands", self.get_commands),
            web.put(f"{application}/commands", self.overwrite_commands),
            web.get(f"{application}/guilds/{{guild}}/commands", self.get_commands),
            web.put(f"{application}/guilds/{{guild}}/commands", self.overwrite_commands),
            web.get(f"{API_PREFIX}/channels/{{channel}}", self.get_channel),
            web.get(f"{API_PREFIX}/channels/{{channel}}/messages", self.get_channel_messages),
            web.get(f"{API_PREFIX}/channels/{{channel}}/messages/{{message}}", self.get_channel_message),
        ]

    async def get_current_user(self, request: web.Request) -> web.Response:
        """Return the bot's user."""
        self.authenticate(request)
        return json_response(payloads.own_user(self.world.bot))

    async def get_user(self, request: web.Request) -> web.Response:
        """Return a user."""
        self.authenticate(request)
        person = find_user(self.world, parse_snowflake(request.match_info["user"]))
        if person is None:
            raise unknown_error("User")
        return json_response(payloads.user(person))

    async def create_dm(self, request: web.Request) -> web.Response:
        """Return the DM channel with a user. It exists even if the user refuses direct messages."""
        self.authenticate(request)
        wanted = fields.read_object(await read_json(request), []).get("recipient_id")
        person = find_user(self.world, parse_snowflake(str(wanted), "recipient_id"))
        if person is None:
            raise unknown_error("User")
        if person is self.world.bot:
            raise cannot_dm_error()
        return json_response(payloads.channel(open_dm_channel(self.world, person)))

    async def get_gateway(self, _: web.Request) -> web.Response:
        """Return the URL of the gateway. This call needs no token."""
        return json_response({"url": self.world.gateway.url})

    async def get_gateway_bot(self, request: web.Request) -> web.Response:
        """Return the URL of the gateway and the limit of session starts."""
        self.authenticate(request)
        limit = {"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1}
        return json_response({"url": self.world.gateway.url, "shards": 1, "session_start_limit": limit})

    async def get_current_application(self, request: web.Request) -> web.Response:
        """Return the bot's application."""
        self.authenticate(request)
        return json_response(payloads.application(self.world.bot, self.world.application_flags, len(self.world.guilds)))

    async def get_commands(self, request: web.Request) -> web.Response:
        """Return the registered commands, global or of a guild."""
        return json_response(self.world.commands[self._command_scope(request)])

    async def overwrite_commands(self, request: web.Request) -> web.Response:
        """Replace the registered commands. A command that keeps its name keeps its id."""
        scope, sent = self._command_scope(request), await read_json(request)
        if not isinstance(sent, list) or not all(isinstance(each, dict) for each in sent):
            raise invalid_form_error([], "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        check_commands(sent)
        self.world.commands[scope] = [self._register_command(each, scope) for each in sent]
        self.world.wake_waiters()
        return json_response(self.world.commands[scope])

    async def get_channel(self, request: web.Request) -> web.Response:
        """Return a channel."""
        channel = self.find_channel(request)
        return json_response(payloads.channel(channel, self.world.me(channel.guild)))

    async def get_channel_messages(self, request: web.Request) -> web.Response:
        """Return messages of a channel, newest first. Without READ_MESSAGE_HISTORY the list is empty."""
        channel = self.find_channel(request)
        if channel.kind in WITHOUT_MESSAGES:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        limit = read_bounded_number(request, "limit", 1, 100, 50)
        messages = _read_page(request, channel, limit) if self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY) else []
        return json_response([self.world.rest_message(each) for each in messages])

    async def get_channel_message(self, request: web.Request) -> web.Response:
        """Return a message, with new signed URLs."""
        return json_response(self.world.rest_message(self.find_message(request, self.find_channel(request))))

    def _command_scope(self, request: web.Request) -> int | None:
        """Return the id of the guild in the path, None for global commands. Raises ApiError."""
        self.authenticate(request)
        if parse_snowflake(request.match_info["application"]) != self.world.application_id:
            raise unknown_error("Application")
        guild = request.match_info.get("guild")
        if guild is None:
            return None
        if parse_snowflake(guild) not in self.world.guilds:
            raise missing_access_error()
        return parse_snowflake(guild)

    def _register_command(self, sent: JSON, scope: int | None) -> JSON:
        same = (each for each in self.world.commands[scope] if (each["name"], each["type"]) == (sent["name"], sent.get("type", 1)))
        before = next(same, None)
        return build_registered_command(
            sent,
            command_id=self.world.new_id(None) if before is None else int(before["id"]),
            version=self.world.new_id(None),
            application_id=self.world.application_id,
            guild_id=scope,
        )


def _read_page(request: web.Request, channel: Channel, limit: int) -> Sequence[Message]:
    around, before, after = (read_query_number(request, key) for key in ("around", "before", "after"))
    if around is not None:
        return channel.around(around, limit)
    return channel.after(after, limit) if after is not None else channel.before(before, limit)
