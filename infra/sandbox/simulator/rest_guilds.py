"""REST calls for guilds, their members and their threads."""

from datetime import datetime

from aiohttp import web

from infra.sandbox.simulator import channels, payloads
from infra.sandbox.simulator.fields import JSON, ApiError, invalid_form_error, missing_access_error, unknown_error
from infra.sandbox.simulator.model import THREAD_PARENTS, Channel, Permission, snowflake_time
from infra.sandbox.simulator.rest import (
    API_PREFIX,
    AuthenticatedRest,
    json_response,
    parse_snowflake,
    read_bounded_number,
    read_query_number,
)


class RestGuilds(AuthenticatedRest):
    """The calls about guilds, roles, members and threads."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this class."""
        guild, channel = f"{API_PREFIX}/guilds/{{guild}}", f"{API_PREFIX}/channels/{{channel}}"
        return [
            web.get(guild, self.get_guild),
            web.get(f"{guild}/channels", self.get_guild_channels),
            web.get(f"{guild}/roles", self.get_guild_roles),
            web.get(f"{guild}/members/{{user}}", self.get_guild_member),
            web.get(f"{guild}/threads/active", self.list_active_threads),
            web.get(f"{channel}/threads/archived/public", self.list_public_archived_threads),
            web.get(f"{channel}/threads/archived/private", self.list_private_archived_threads),
            web.get(f"{channel}/users/@me/threads/archived/private", self.list_joined_private_archived_threads),
            web.get(f"{channel}/thread-members", self.list_thread_members),
            web.put(f"{channel}/thread-members/@me", self.join_thread),
            web.delete(f"{channel}/thread-members/@me", self.leave_thread),
            web.get(f"{channel}/thread-members/{{user}}", self.get_thread_member),
        ]

    async def get_guild(self, request: web.Request) -> web.Response:
        """Return a guild."""
        guild = self.find_guild(request)
        payload = payloads.guild(guild)
        if request.query.get("with_counts") in ("1", "true"):
            payload |= {"approximate_member_count": len(guild.members), "approximate_presence_count": 1}
        return json_response(payload)

    async def get_guild_channels(self, request: web.Request) -> web.Response:
        """Return the channels of a guild, without threads. The list includes channels that the bot may not see."""
        return json_response([payloads.channel(each) for each in self.find_guild(request).channels.values()])

    async def get_guild_roles(self, request: web.Request) -> web.Response:
        """Return the roles of a guild."""
        return json_response([payloads.role(each) for each in self.find_guild(request).roles.values()])

    async def get_guild_member(self, request: web.Request) -> web.Response:
        """Return a member of a guild."""
        member = self.find_guild(request).members.get(parse_snowflake(request.match_info["user"]))
        if member is None:
            raise unknown_error("Member")
        return json_response(payloads.member(member))

    async def list_active_threads(self, request: web.Request) -> web.Response:
        """Return the active threads of a guild that the bot may see, newest first."""
        guild = self.find_guild(request)
        me = self.world.me(guild)
        return json_response(payloads.thread_list(payloads.active_threads(guild, me), me) | {"has_more": False})

    async def list_public_archived_threads(self, request: web.Request) -> web.Response:
        """Return archived public threads, the last archived first."""
        channel = self._find_parent(request)
        return self._respond_with_archived(request, channel, [each for each in _list_archived(channel) if not each.private])

    async def list_private_archived_threads(self, request: web.Request) -> web.Response:
        """Return archived private threads, the last archived first. This needs MANAGE_THREADS."""
        channel = self._find_parent(request)
        self.require_permission(channel, Permission.MANAGE_THREADS)
        return self._respond_with_archived(request, channel, [each for each in _list_archived(channel) if each.private])

    async def list_joined_private_archived_threads(self, request: web.Request) -> web.Response:
        """Return archived private threads that the bot has joined, newest first. Here `before` is an id."""
        channel, before = self._find_parent(request), read_query_number(request, "before")
        joined = [each for each in _list_archived(channel) if each.private and self.world.bot.id in each.joined]
        found = sorted((each for each in joined if before is None or each.id < before), key=lambda each: each.id, reverse=True)
        return self._respond_with_page(request, channel, found)

    async def list_thread_members(self, request: web.Request) -> web.Response:
        """Refuse to list the members of a thread: that needs the members intent, which this application does not have."""
        self._find_thread(request)
        raise missing_access_error()

    async def get_thread_member(self, request: web.Request) -> web.Response:
        """Return the thread membership of a user, or 404 if they are not in the thread."""
        thread, wanted = self._find_thread(request), request.match_info["user"]
        user_id = self.world.bot.id if wanted == "@me" else parse_snowflake(wanted)
        if user_id not in thread.joined:
            raise unknown_error("Member")
        payload = payloads.thread_member(thread, user_id)
        if request.query.get("with_member") in ("1", "true"):
            payload["member"] = payloads.member(thread.guild.members[user_id])
        return json_response(payload)

    async def join_thread(self, request: web.Request) -> web.Response:
        """Add the bot to a thread."""
        thread = self._find_thread(request)
        if thread.archived:
            raise ApiError(400, 50083, "Thread is archived")
        channels.join_thread(self.world, thread, self.world.me(thread.guild))
        return web.Response(status=204)

    async def leave_thread(self, request: web.Request) -> web.Response:
        """Remove the bot from a thread."""
        thread = self._find_thread(request)
        if thread.archived:
            raise ApiError(400, 50083, "Thread is archived")
        channels.leave_thread(self.world, thread, self.world.me(thread.guild))
        return web.Response(status=204)

    def _find_parent(self, request: web.Request) -> Channel:
        channel = self.find_channel(request)
        if channel.kind not in THREAD_PARENTS:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        if not self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY):
            raise missing_access_error()
        return channel

    def _find_thread(self, request: web.Request) -> Channel:
        channel = self.find_channel(request)
        if not channel.is_thread:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        return channel

    def _respond_with_archived(self, request: web.Request, channel: Channel, found: list[Channel]) -> web.Response:
        before = _read_before(request)
        older = [each for each in found if before is None or _archived_at(each) < before]
        return self._respond_with_page(request, channel, sorted(older, key=_archived_at, reverse=True))

    def _respond_with_page(self, request: web.Request, channel: Channel, found: list[Channel]) -> web.Response:
        limit = read_bounded_number(request, "limit", 2, 100, 50)
        page: JSON = payloads.thread_list(found[:limit], self.world.me(channel.guild))
        return json_response(page | {"has_more": len(found) > limit})


def _list_archived(channel: Channel) -> list[Channel]:
    return [each for each in channel.guild.threads.values() if each.parent is channel and each.archived]


def _archived_at(thread: Channel) -> datetime:
    return thread.archive_changed_at or snowflake_time(thread.id)


def _read_before(request: web.Request) -> datetime | None:
    value = request.query.get("before")
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise invalid_form_error(["before"], "DATE_TIME_TYPE_PARSE", f"Could not parse {value}. Should be ISO8601.")
    return moment
