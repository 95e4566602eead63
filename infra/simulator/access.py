"""What every call with the bot's token begins with: whose it is, and whether the bot may see what it names."""

from aiohttp import web

from infra.simulator.errors import ApiError, invalid_form, missing_access, unauthorized, unknown
from infra.simulator.model import Channel, Guild, Message
from infra.simulator.permissions import Permission
from infra.simulator.world import World


class Access:
    """The bot's way in; the calls are in the classes that build on this one."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self._token = token

    def authenticate(self, request: web.Request) -> None:
        """Refuse a call without the bot's token. Raises ApiError 401."""
        if request.headers.get("Authorization") != f"Bot {self._token}":
            raise unauthorized()

    def guild(self, request: web.Request) -> Guild:
        """The guild of the path. Raises ApiError if there is none or the bot is not in it."""
        self.authenticate(request)
        guild = self.world.guilds.get(snowflake(request.match_info["guild"]))
        if guild is None:
            raise missing_access()
        return guild

    def channel(self, request: web.Request) -> Channel:
        """The channel or thread of the path, which the bot may see. Raises ApiError."""
        self.authenticate(request)
        channel = self.world.channels.get(snowflake(request.match_info["channel"]))
        if channel is None:
            raise unknown("Channel")
        if not self.world.bot_may(channel, Permission.VIEW_CHANNEL):
            raise missing_access()
        return channel

    def message(self, request: web.Request, channel: Channel) -> Message:
        """The message of the path. Raises ApiError."""
        if not self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY):
            raise missing_access()
        message = channel.messages.get(snowflake(request.match_info["message"]))
        if message is None:
            raise unknown("Message")
        return message

    def require(self, channel: Channel, wanted: Permission) -> None:
        """Refuse what the bot has no permission for. Raises ApiError 403."""
        if not self.world.bot_may(channel, wanted):
            raise ApiError(403, 50013, "Missing Permissions")


def number(request: web.Request, key: str) -> int | None:
    """An id or a number of the query, None if absent. Raises ApiError 400."""
    value = request.query.get(key)
    return None if value is None else snowflake(value, key)


def bounded(request: web.Request, key: str, least: int, most: int, default: int) -> int:
    """A number of the query within bounds. Raises ApiError 400."""
    value = number(request, key)
    if value is None:
        return default
    if not least <= value <= most:
        raise invalid_form([key], "NUMBER_TYPE_MAX", f"int value should be between {least} and {most}.")
    return value


def snowflake(value: str, key: str = "id") -> int:
    """An id. Raises ApiError 400 if it is none."""
    if not (value.isascii() and value.isdigit()):
        raise invalid_form([key], "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return int(value)
