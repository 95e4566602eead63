"""REST for messages that the bot itself writes, changes, deletes and reacts to, in guilds and to one person."""

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
"""Discord says "a few minutes"."""


class RestMessages(AuthenticatedRest):
    """The calls that write."""

    def routes(self) -> list[web.RouteDef]:
        """What to mount."""
        messages = f"{API_PREFIX}/channels/{{channel}}/messages"
        reaction = f"{messages}/{{message}}/reactions/{{emoji}}/@me"
        return [
            web.get(f"{API_PREFIX}/users/{{user}}", self.user),
            web.post(f"{API_PREFIX}/users/@me/channels", self.open),
            web.post(messages, self.create),
            web.patch(f"{messages}/{{message}}", self.edit),
            web.delete(f"{messages}/{{message}}", self.delete),
            web.put(reaction, self.react),
            web.delete(reaction, self.unreact),
        ]

    async def user(self, request: web.Request) -> web.Response:
        """Somebody's account."""
        self.authenticate(request)
        person = find_user(self.world, parse_snowflake(request.match_info["user"]))
        if person is None:
            raise unknown_error("User")
        return json_response(payloads.user(person))

    async def open(self, request: web.Request) -> web.Response:
        """The conversation with a person; that it is there does not mean that they can be written to."""
        self.authenticate(request)
        wanted = fields.read_object(await read_json(request), []).get("recipient_id")
        person = find_user(self.world, parse_snowflake(str(wanted), "recipient_id"))
        if person is None:
            raise unknown_error("User")
        if person is self.world.bot:
            raise _unreachable()
        return json_response(payloads.channel(open_dm_channel(self.world, person)))

    async def create(self, request: web.Request) -> web.Response:
        """A message of the bot. With `enforce_nonce` one that was sent with the same nonce is returned in its place."""
        channel, body = self.channel(request), await read_body(request)
        self._may_write(channel, body)
        check_allowed_mentions(body.payload)
        message = self.world.new_message(channel, self.world.bot)
        message.flags = fields.read_integer(body.payload.get("flags"), ["flags"]) & _ALLOWED_FLAGS
        message.reference = find_referenced_message(self.world, channel, body.payload.get("message_reference"))
        message.nonce = _nonce(body)
        if body.payload.get("enforce_nonce") and message.nonce is not None and (same := self._same(message)) is not None:
            return json_response(payloads.message(same, self.world.cdn.sign))
        apply_body(self.world, message, body.payload, body.files)
        if channel.is_thread:
            channels.enter_thread(self.world, channel, self.world.me(channel.guild))
        self.world.create_message(message)
        self.world.changed()
        return json_response(payloads.message(message, self.world.cdn.sign))

    async def edit(self, request: web.Request) -> web.Response:
        """Change a message of the bot."""
        channel = self.channel(request)
        message, body = self.message(request, channel), await read_body(request)
        if message.author is not self.world.bot:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        _refuse_archived(channel)
        apply_body(self.world, message, body.payload, body.files)
        message.edited_at = self.world.clock()
        self.world.announce(message, "MESSAGE_UPDATE")
        self.world.changed()
        return json_response(payloads.message(message, self.world.cdn.sign))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a message: one of the bot, or one of others with the permission."""
        channel = self.channel(request)
        message = self.message(request, channel)
        if message.author is not self.world.bot:
            if channel.kind == DM:
                raise ApiError(403, 50003, "Cannot execute action on a DM channel")
            self.require(channel, Permission.MANAGE_MESSAGES)
        self.world.delete_message(message)
        self.world.changed()
        return web.Response(status=204)

    async def react(self, request: web.Request) -> web.Response:
        """The bot reacts with an emoji; to be the first with it takes a permission."""
        channel = self.channel(request)
        self.require(channel, Permission.READ_MESSAGE_HISTORY)
        message, emoji = self.message(request, channel), _emoji(request)
        _refuse_archived(channel)
        if emoji not in message.reactions:
            self.require(channel, Permission.ADD_REACTIONS)
        message.reactions.setdefault(emoji, set()).add(self.world.bot.id)
        self._tell_reaction("MESSAGE_REACTION_ADD", message, emoji)
        return web.Response(status=204)

    async def unreact(self, request: web.Request) -> web.Response:
        """The bot takes its reaction back."""
        channel = self.channel(request)
        message, emoji = self.message(request, channel), _emoji(request)
        _refuse_archived(channel)
        if self.world.bot.id in message.reactions.get(emoji, set()):
            message.reactions[emoji].discard(self.world.bot.id)
            if not message.reactions[emoji]:
                del message.reactions[emoji]
            self._tell_reaction("MESSAGE_REACTION_REMOVE", message, emoji)
        return web.Response(status=204)

    def _may_write(self, channel: Channel, body: RequestBody) -> None:
        if channel.kind in (GUILD_CATEGORY, GUILD_FORUM):
            raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
        if channel.recipient is not None:
            if not accepts_dms(self.world, channel.recipient):
                raise _unreachable()
            return
        self.require(channel, Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES)
        if channel.locked and not self.world.bot_may(channel, Permission.MANAGE_THREADS):
            raise ApiError(403, 160005, "Thread is locked")
        if body.payload.get("embeds"):
            self.require(channel, Permission.EMBED_LINKS)
        if body.files:
            self.require(channel, Permission.ATTACH_FILES)

    def _same(self, message: Message) -> Message | None:
        known = (each for each in message.channel.before(None, 100) if message.posted_at - each.posted_at < _NONCE_KEPT)
        return next((each for each in known if each.author is self.world.bot and each.nonce == message.nonce), None)

    def _tell_reaction(self, event: str, message: Message, emoji: str) -> None:
        channel, bot = message.channel, self.world.bot
        self.world.changed()
        if channel.kind != DM:
            ids = {"user_id": str(bot.id), "channel_id": str(channel.id), "message_id": str(message.id)}
            more = {"guild_id": str(channel.guild.id), "emoji": {"id": None, "name": emoji}, "burst": False, "type": 0}
            if event == "MESSAGE_REACTION_ADD":
                more |= {"member": payloads.member(self.world.me(channel.guild)), "message_author_id": str(message.author.id)}
            self.world.tell(channel.guild, event, ids | more, intent=GUILD_MESSAGE_REACTIONS_INTENT)


def _refuse_archived(channel: Channel) -> None:
    if channel.archived:
        raise ApiError(400, 50083, "Thread is archived")


def _unreachable() -> ApiError:
    return ApiError(403, 50007, "Cannot send messages to this user")


def _nonce(body: RequestBody) -> str | int | None:
    nonce = body.payload.get("nonce")
    if nonce is None or (isinstance(nonce, (str, int)) and len(str(nonce)) <= _NONCE_LENGTH):
        return nonce
    raise invalid_form_error(["nonce"], "NONCE_TYPE_TOO_LONG", f"Nonces must be {_NONCE_LENGTH} or fewer in length.")


def _emoji(request: web.Request) -> str:
    """A Unicode emoji; custom ones there are none."""
    emoji = request.match_info["emoji"]
    if emoji.isascii():
        raise unknown_error("Emoji")
    return emoji
