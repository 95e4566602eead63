"""REST for guilds, their members, and the threads in them."""

from datetime import datetime

from aiohttp import web

from infra.sandbox.simulator import channels, payloads
from infra.sandbox.simulator.fields import JSON, ApiError, invalid_form_error, missing_access_error, unknown_error
from infra.sandbox.simulator.model import GUILD_FORUM, GUILD_TEXT, Channel, Permission, snowflake_time
from infra.sandbox.simulator.rest import (
    API_PREFIX,
    AuthenticatedRest,
    json_response,
    parse_snowflake,
    read_bounded_number,
    read_query_number,
)


class RestGuilds(AuthenticatedRest):
    """The calls about what guilds are made of."""

    def routes(self) -> list[web.RouteDef]:
        """What to mount."""
        guild, channel = f"{API_PREFIX}/guilds/{{guild}}", f"{API_PREFIX}/channels/{{channel}}"
        return [
            web.get(guild, self.one),
            web.get(f"{guild}/channels", self.channels),
            web.get(f"{guild}/roles", self.roles),
            web.get(f"{guild}/members/{{user}}", self.member),
            web.get(f"{guild}/threads/active", self.active),
            web.get(f"{channel}/threads/archived/public", self.archived_public),
            web.get(f"{channel}/threads/archived/private", self.archived_private),
            web.get(f"{channel}/users/@me/threads/archived/private", self.archived_joined),
            web.get(f"{channel}/thread-members", self.thread_members),
            web.put(f"{channel}/thread-members/@me", self.join),
            web.delete(f"{channel}/thread-members/@me", self.leave),
            web.get(f"{channel}/thread-members/{{user}}", self.thread_member),
        ]

    async def one(self, request: web.Request) -> web.Response:
        """A guild."""
        guild = self.guild(request)
        payload = payloads.guild(guild)
        if request.query.get("with_counts") in ("1", "true"):
            payload |= {"approximate_member_count": len(guild.members), "approximate_presence_count": 1}
        return json_response(payload)

    async def channels(self, request: web.Request) -> web.Response:
        """A guild's channels, without threads; those that the bot may not see too."""
        return json_response([payloads.channel(each) for each in self.guild(request).channels.values()])

    async def roles(self, request: web.Request) -> web.Response:
        """A guild's roles."""
        return json_response([payloads.role(each) for each in self.guild(request).roles.values()])

    async def member(self, request: web.Request) -> web.Response:
        """One member of a guild."""
        member = self.guild(request).members.get(parse_snowflake(request.match_info["user"]))
        if member is None:
            raise unknown_error("Member")
        return json_response(payloads.member(member))

    async def active(self, request: web.Request) -> web.Response:
        """The threads of a guild that are not archived and that the bot may see, newest first."""
        guild = self.guild(request)
        me = self.world.me(guild)
        return json_response(payloads.thread_list(payloads.active_threads(guild, me), me))

    async def archived_public(self, request: web.Request) -> web.Response:
        """Archived public threads, the last archived first."""
        channel = self._parent(request)
        return self._archived(request, channel, [each for each in _archived(channel) if not each.private])

    async def archived_private(self, request: web.Request) -> web.Response:
        """Archived private threads, the last archived first, for those who manage threads."""
        channel = self._parent(request)
        self.require(channel, Permission.MANAGE_THREADS)
        return self._archived(request, channel, [each for each in _archived(channel) if each.private])

    async def archived_joined(self, request: web.Request) -> web.Response:
        """Archived private threads that the bot is in, the newest first; here `before` is an id."""
        channel, before = self._parent(request), read_query_number(request, "before")
        joined = [each for each in _archived(channel) if each.private and self.world.bot.id in each.joined]
        found = sorted((each for each in joined if before is None or each.id < before), key=lambda each: each.id, reverse=True)
        return self._page(request, channel, found)

    async def thread_members(self, request: web.Request) -> web.Response:
        """Who is in a thread: only for applications with the members intent, which this one is not granted."""
        self._thread(request)
        raise missing_access_error()

    async def thread_member(self, request: web.Request) -> web.Response:
        """Whether somebody is in a thread: the membership, or 404."""
        thread, wanted = self._thread(request), request.match_info["user"]
        user_id = self.world.bot.id if wanted == "@me" else parse_snowflake(wanted)
        if user_id not in thread.joined:
            raise unknown_error("Member")
        payload = payloads.thread_member(thread, user_id)
        if request.query.get("with_member") in ("1", "true"):
            payload["member"] = payloads.member(thread.guild.members[user_id])
        return json_response(payload)

    async def join(self, request: web.Request) -> web.Response:
        """The bot joins a thread."""
        thread = self._thread(request)
        if thread.archived:
            raise ApiError(400, 50083, "Thread is archived")
        channels.join_thread(self.world, thread, self.world.me(thread.guild))
        return web.Response(status=204)

    async def leave(self, request: web.Request) -> web.Response:
        """The bot leaves a thread."""
        thread = self._thread(request)
        if thread.archived:
            raise ApiError(400, 50083, "Thread is archived")
        channels.leave_thread(self.world, thread, self.world.me(thread.guild))
        return web.Response(status=204)

    def _parent(self, request: web.Request) -> Channel:
        channel = self.channel(request)
        if channel.kind not in (GUILD_TEXT, GUILD_FORUM):
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        if not self.world.bot_may(channel, Permission.READ_MESSAGE_HISTORY):
            raise missing_access_error()
        return channel

    def _thread(self, request: web.Request) -> Channel:
        channel = self.channel(request)
        if not channel.is_thread:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        return channel

    def _archived(self, request: web.Request, channel: Channel, found: list[Channel]) -> web.Response:
        before = _moment(request)
        older = [each for each in found if before is None or _archived_at(each) < before]
        return self._page(request, channel, sorted(older, key=_archived_at, reverse=True))

    def _page(self, request: web.Request, channel: Channel, found: list[Channel]) -> web.Response:
        limit = read_bounded_number(request, "limit", 2, 100, 50)
        page: JSON = payloads.thread_list(found[:limit], self.world.me(channel.guild))
        return json_response(page | {"has_more": len(found) > limit})


def _archived(channel: Channel) -> list[Channel]:
    return [each for each in channel.guild.threads.values() if each.parent is channel and each.archived]


def _archived_at(thread: Channel) -> datetime:
    return thread.archive_changed_at or snowflake_time(thread.id)


def _moment(request: web.Request) -> datetime | None:
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
