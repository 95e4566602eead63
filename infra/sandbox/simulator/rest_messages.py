"""REST calls that write: the bot's messages in guilds and DMs, and its reactions."""

from datetime import timedelta

from aiohttp import web

from infra.sandbox.simulator import channels, fields, payloads
from infra.sandbox.simulator.channels import accepts_dms, find_user, open_dm_channel
from infra.sandbox.simulator.fields import ApiError, invalid_form_error, unknown_error
from infra.sandbox.simulator.gateway import GUILD_MESSAGE_REACTIONS_INTENT
from infra.sandbox.simulator.model import DM, GUILD_CATEGORY, GUILD_FORUM, Channel, Message, Permission
from infra.sandbox.simulator.rest import (
    API_PREFIX,
    AuthenticatedRest,
    RequestBody,
    apply_body,
    check_allowed_mentions,
    find_referenced_message,
    json_response,
    parse_snowflake,
    read_body,
    read_json,
)

_ALLOWED_FLAGS = 1 << 2 | 1 << 12
_NONCE_LENGTH = 25
_NONCE_KEPT = timedelta(minutes=5)
"""How long a nonce is remembered. Discord says "a few minutes"."""


class RestMessages(AuthenticatedRest):
    """The calls that create, edit and delete messages and reactions."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this class."""
        messages = f"{API_PREFIX}/channels/{{channel}}/messages"
        reaction = f"{messages}/{{message}}/reactions/{{emoji}}/@me"
        return [
            web.get(f"{API_PREFIX}/users/{{user}}", self.get_user),
            web.post(f"{API_PREFIX}/users/@me/channels", self.create_dm),
            web.post(messages, self.create_message),
            web.patch(f"{messages}/{{message}}", self.edit_message),
            web.delete(f"{messages}/{{message}}", self.delete_message),
            web.put(reaction, self.create_reaction),
            web.delete(reaction, self.delete_own_reaction),
        ]

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
            raise _cannot_dm_error()
        return json_response(payloads.channel(open_dm_channel(self.world, person)))

    async def create_message(self, request: web.Request) -> web.Response:
        """Create a message of the bot. With `enforce_nonce`, return an earlier message with the same nonce instead."""
        channel, body = self.find_channel(request), await read_body(request)
        self._check_may_write(channel, body)
        check_allowed_mentions(body.payload)
        message = self.world.new_message(channel, self.world.bot)
        message.flags = fields.read_integer(body.payload.get("flags"), ["flags"]) & _ALLOWED_FLAGS
        message.reference = find_referenced_message(self.world, channel, body.payload.get("message_reference"))
        message.nonce = _read_nonce(body)
        if body.payload.get("enforce_nonce") and message.nonce is not None and (same := self._find_same_nonce(message)) is not None:
            return json_response(payloads.message(same, self.world.cdn.sign))
        apply_body(self.world, message, body.payload, body.files)
        if channel.is_thread:
            channels.enter_thread(self.world, channel, self.world.me(channel.guild))
        self.world.create_message(message)
        self.world.wake_waiters()
        return json_response(payloads.message(message, self.world.cdn.sign))

    async def edit_message(self, request: web.Request) -> web.Response:
        """Edit a message of the bot."""
        channel = self.find_channel(request)
        message, body = self.find_message(request, channel), await read_body(request)
        if message.author is not self.world.bot:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        _refuse_archived(channel)
        apply_body(self.world, message, body.payload, body.files)
        message.edited_at = self.world.clock()
        self.world.dispatch_message_event(message, "MESSAGE_UPDATE")
        self.world.wake_waiters()
        return json_response(payloads.message(message, self.world.cdn.sign))

    async def delete_message(self, request: web.Request) -> web.Response:
        """Delete a message of the bot or, with the permission, of somebody else."""
        channel = self.find_channel(request)
        message = self.find_message(request, channel)
        if message.author is not self.world.bot:
            if channel.kind == DM:
                raise ApiError(403, 50003, "Cannot execute action on a DM channel")
            self.require_permission(channel, Permission.MANAGE_MESSAGES)
        self.world.delete_message(message)
        self.world.wake_waiters()
        return web.Response(status=204)

    async def create_reaction(self, request: web.Request) -> web.Response:
        """Add a reaction of the bot. The first reaction with an emoji needs a permission."""
        channel = self.find_channel(request)
        self.require_permission(channel, Permission.READ_MESSAGE_HISTORY)
        message, emoji = self.find_message(request, channel), _read_emoji(request)
        _refuse_archived(channel)
        if emoji not in message.reactions:
            self.require_permission(channel, Permission.ADD_REACTIONS)
        message.reactions.setdefault(emoji, set()).add(self.world.bot.id)
        self._dispatch_reaction("MESSAGE_REACTION_ADD", message, emoji)
        return web.Response(status=204)

    async def delete_own_reaction(self, request: web.Request) -> web.Response:
        """Remove a reaction of the bot."""
        channel = self.find_channel(request)
        message, emoji = self.find_message(request, channel), _read_emoji(request)
        _refuse_archived(channel)
        if self.world.bot.id in message.reactions.get(emoji, set()):
            message.reactions[emoji].discard(self.world.bot.id)
            if not message.reactions[emoji]:
                del message.reactions[emoji]
            self._dispatch_reaction("MESSAGE_REACTION_REMOVE", message, emoji)
        return web.Response(status=204)

    def _check_may_write(self, channel: Channel, body: RequestBody) -> None:
        if channel.kind in (GUILD_CATEGORY, GUILD_FORUM):
            raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
        if channel.recipient is not None:
            if not accepts_dms(self.world, channel.recipient):
                raise _cannot_dm_error()
            return
        self.require_permission(channel, Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES)
        if channel.locked and not self.world.bot_may(channel, Permission.MANAGE_THREADS):
            raise ApiError(403, 160005, "Thread is locked")
        if body.payload.get("embeds"):
            self.require_permission(channel, Permission.EMBED_LINKS)
        if body.files:
            self.require_permission(channel, Permission.ATTACH_FILES)

    def _find_same_nonce(self, message: Message) -> Message | None:
        known = (each for each in message.channel.before(None, 100) if message.posted_at - each.posted_at < _NONCE_KEPT)
        return next((each for each in known if each.author is self.world.bot and each.nonce == message.nonce), None)

    def _dispatch_reaction(self, event: str, message: Message, emoji: str) -> None:
        channel, bot = message.channel, self.world.bot
        self.world.wake_waiters()
        if channel.kind != DM:
            ids = {"user_id": str(bot.id), "channel_id": str(channel.id), "message_id": str(message.id)}
            more = {"guild_id": str(channel.guild.id), "emoji": {"id": None, "name": emoji}, "burst": False, "type": 0}
            if event == "MESSAGE_REACTION_ADD":
                more |= {"member": payloads.member(self.world.me(channel.guild)), "message_author_id": str(message.author.id)}
            self.world.dispatch_guild_event(channel.guild, event, ids | more, intent=GUILD_MESSAGE_REACTIONS_INTENT)


def _refuse_archived(channel: Channel) -> None:
    if channel.archived:
        raise ApiError(400, 50083, "Thread is archived")


def _cannot_dm_error() -> ApiError:
    return ApiError(403, 50007, "Cannot send messages to this user")


def _read_nonce(body: RequestBody) -> str | int | None:
    nonce = body.payload.get("nonce")
    if nonce is None or (isinstance(nonce, (str, int)) and len(str(nonce)) <= _NONCE_LENGTH):
        return nonce
    raise invalid_form_error(["nonce"], "NONCE_TYPE_TOO_LONG", f"Nonces must be {_NONCE_LENGTH} or fewer in length.")


def _read_emoji(request: web.Request) -> str:
    """Read the emoji in the path. Only Unicode emoji are simulated, no custom ones."""
    emoji = request.match_info["emoji"]
    if emoji.isascii():
        raise unknown_error("Emoji")
    return emoji
