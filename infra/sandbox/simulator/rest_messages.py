"""REST calls that write: the bot's messages in guilds and DMs, and its reactions. Also the body of a message: its checks, with
Discord's own error codes (50035 and others), and its application, which responses to interactions share.
"""

from datetime import timedelta
from typing import Any

from aiohttp import web

from infra.sandbox.simulator import channels, fields, payloads
from infra.sandbox.simulator.cdn import clean_filename
from infra.sandbox.simulator.channels import accepts_dms
from infra.sandbox.simulator.fields import JSON, ApiError, FieldPath, invalid_form_error, required_error, unknown_error
from infra.sandbox.simulator.gateway import GUILD_MESSAGE_REACTIONS_INTENT
from infra.sandbox.simulator.message_parts import (
    MAX_DESCRIPTION_LENGTH,
    check_components,
    check_embeds,
    complete_components,
    list_shown_filenames,
)
from infra.sandbox.simulator.model import (
    DM,
    EPHEMERAL,
    IS_COMPONENTS_V2,
    LOADING,
    SUPPRESS_EMBEDS,
    SUPPRESS_NOTIFICATIONS,
    WITHOUT_MESSAGES,
    Channel,
    Message,
    Permission,
)
from infra.sandbox.simulator.payloads import MAX_FILE_SIZE_BYTES
from infra.sandbox.simulator.rest import API_PREFIX, AuthenticatedRest, RequestBody, cannot_dm_error, json_response, read_body
from infra.sandbox.simulator.world import Upload, World

MAX_CONTENT_LENGTH = 2000
MAX_ATTACHMENTS = 10
MAX_STICKERS = 3

SETTABLE_FLAGS = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | IS_COMPONENTS_V2
"""The flags that a new message may be sent with."""
_EDITABLE_FLAGS = SUPPRESS_EMBEDS | IS_COMPONENTS_V2

_REPLY, _FORWARD = 0, 1
_MENTION_TYPES = ("roles", "users", "everyone")
_MAX_LISTED_MENTIONS = 100
_MAX_POLL_QUESTION_LENGTH, _MAX_POLL_ANSWER_LENGTH, _MAX_POLL_ANSWERS = 300, 55, 10
_NONCE_LENGTH = 25
_NONCE_KEPT = timedelta(minutes=5)
"""How long a nonce is remembered. Discord says "a few minutes"."""


def check_message_body(body: JSON, *, flags: int = 0) -> None:
    """Check a body of a message that has `flags` already. Raises ApiError 400."""
    version_2 = bool((flags | fields.read_integer(body.get("flags"), ["flags"])) & IS_COMPONENTS_V2)
    fields.check_text(body.get("content"), ["content"], MAX_CONTENT_LENGTH)
    fields.read_boolean(body.get("tts"), ["tts"])
    check_embeds(body.get("embeds"))
    check_components(body.get("components"), version_2=version_2)
    _check_allowed_mentions(body.get("allowed_mentions"))
    for index, entry in enumerate(fields.read_list(body.get("attachments"), ["attachments"], MAX_ATTACHMENTS)):
        _check_attachment(entry, ["attachments", index])
    _check_poll(body.get("poll"))
    stickers = fields.read_list(body.get("sticker_ids"), ["sticker_ids"], MAX_STICKERS)
    if version_2:
        _refuse_legacy_fields(body)
    for index, sticker in enumerate(stickers):
        fields.read_snowflake(sticker, ["sticker_ids", index])
        raise ApiError(400, 50081, "Invalid sticker sent")


def check_file_sizes(sizes: list[int]) -> None:
    """Check the number and the sizes in bytes of the files of a message. Raises ApiError 400 or 413."""
    if len(sizes) > MAX_ATTACHMENTS:
        raise fields.too_many_error(["attachments"], MAX_ATTACHMENTS)
    if any(size > MAX_FILE_SIZE_BYTES for size in sizes):
        raise ApiError(413, 40005, "Request entity too large")


def _refuse_legacy_fields(body: JSON) -> None:
    for key in ("content", "embeds", "poll", "sticker_ids"):
        if body.get(key):
            message = f"The '{key}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            raise invalid_form_error([key], "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", message)


def _check_attachment(value: Any, path: FieldPath) -> None:
    entry = fields.read_object(value, path)
    fields.read_snowflake(entry.get("id"), [*path, "id"])
    for key in ("filename", "description", "title"):
        fields.check_text(entry.get(key), [*path, key], MAX_DESCRIPTION_LENGTH)
    fields.read_boolean(entry.get("is_spoiler"), [*path, "is_spoiler"])


def _check_poll(value: Any) -> None:
    """Check a poll. One that Discord would take is refused too, because polls are not simulated."""
    if value is None:
        return
    path: FieldPath = ["poll"]
    poll = fields.read_object(value, path)
    question = fields.read_object(poll.get("question"), [*path, "question"])
    fields.check_text(question.get("text"), [*path, "question", "text"], _MAX_POLL_QUESTION_LENGTH, required=True)
    for index, answer in enumerate(fields.read_list(poll.get("answers"), [*path, "answers"], _MAX_POLL_ANSWERS, least=1)):
        where: FieldPath = [*path, "answers", index, "poll_media"]
        media = fields.read_object(fields.read_object(answer, where[:-1]).get("poll_media"), where)
        fields.check_text(media.get("text"), [*where, "text"], _MAX_POLL_ANSWER_LENGTH, required=True)
    raise invalid_form_error(path, "UNSUPPORTED", "Polls are not simulated.")


def _check_allowed_mentions(value: Any) -> None:
    path: FieldPath = ["allowed_mentions"]
    allowed = fields.read_object(value, path)
    parsed = fields.read_list(allowed.get("parse"), [*path, "parse"], len(_MENTION_TYPES))
    for index, kind in enumerate(parsed):
        fields.check_choice(kind, [*path, "parse", index], _MENTION_TYPES)
    fields.check_unique(parsed, [*path, "parse"])
    for kind in ("roles", "users"):
        listed = fields.read_list(allowed.get(kind), [*path, kind], _MAX_LISTED_MENTIONS)
        for index, number in enumerate(listed):
            fields.read_snowflake(number, [*path, kind, index])
        fields.check_unique(listed, [*path, kind])
        if listed and kind in parsed:
            message = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            raise invalid_form_error(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)
    fields.read_boolean(allowed.get("replied_user"), [*path, "replied_user"])


def apply_body(world: World, message: Message, payload: JSON, files: dict[int, Upload]) -> None:
    """Apply a request body to a message. Fields that are absent stay as they are. Raises ApiError, and changes nothing then.

    If `attachments` is given, it lists the files of the message afterwards: the ids of files to keep, and the numbers of new files.
    If it is absent, the new files are added to the old ones.
    """
    check_message_body(payload, flags=message.flags)
    listed = payload.get("attachments")
    entries: list[JSON] = [{"id": number} for number in files] if listed is None else listed
    named = {int(entry["id"]): entry for entry in entries}
    kept = [each for each in message.attachments if listed is None or each.id in named]
    known = {each.id for each in message.attachments} | set(files)
    for number in (*named, *files):
        if number not in known or number not in named:
            text = f"Attachment {number} has no file, or its file no entry."
            raise invalid_form_error(["attachments"], "ATTACHMENT_NOT_FOUND", text)
    check_file_sizes([len(each.data) for each in kept] + [len(data) for _, data in files.values()])
    content = message.content if "content" not in payload else payload["content"] or ""
    embeds = message.embeds if "embeds" not in payload else payload["embeds"] or []
    components = message.components
    if "components" in payload:
        components = complete_components(payload["components"] or [], lambda: world.new_id(None))
    if (message.flags | payload.get("flags", 0)) & IS_COMPONENTS_V2:
        _refuse_legacy_fields({"content": content, "embeds": embeds})
        empty = not components
    else:
        empty = not (content or embeds or components or kept or files)
    if empty:
        raise ApiError(400, 50006, "Cannot send an empty message")
    _check_references(embeds, components, {each.filename for each in kept} | {clean_filename(name) for name, _ in files.values()})
    folder = "ephemeral-attachments" if message.flags & EPHEMERAL else "attachments"
    place = world.application_id if message.flags & EPHEMERAL else message.channel.id
    added = {number: world.upload(f"{folder}/{place}", name, data) for number, (name, data) in files.items()}
    for attachment in message.attachments:
        if attachment not in kept:
            world.cdn.discard(attachment)
    message.content, message.embeds, message.components = content, embeds, components
    message.attachments = [*kept, *added.values()]
    if {"content", "allowed_mentions"} & set(payload):
        message.allowed_mentions = payload.get("allowed_mentions")
    for number, entry in named.items():
        file = added.get(number) or next(each for each in kept if each.id == number)
        file.description = entry.get("description", file.description)
        file.spoiler = file.spoiler or bool(entry.get("is_spoiler"))


def edit_own_message(world: World, message: Message, body: RequestBody) -> None:
    """Edit a message of the bot, its flags included. Raises ApiError, and changes nothing then."""
    apply_body(world, message, body.payload, body.files)
    message.flags &= ~LOADING
    if (flags := body.payload.get("flags")) is not None:
        kept = message.flags & ~_EDITABLE_FLAGS | message.flags & IS_COMPONENTS_V2
        message.flags = kept | flags & _EDITABLE_FLAGS
    message.edited_at = world.clock()
    world.dispatch_message_event(message, "MESSAGE_UPDATE")


def _check_references(embeds: list[JSON], components: list[JSON], filenames: set[str]) -> None:
    for key, shown in (("embeds", list_shown_filenames(embeds, ())), ("components", list_shown_filenames((), components))):
        if missing := shown - filenames:
            raise invalid_form_error([key], "ATTACHMENT_NOT_FOUND", f"No file is called {sorted(missing)[0]}.")


def find_referenced_message(world: World, channel: Channel, reference: Any) -> Message | None:
    """Find the message that a message replies to. Raises ApiError.

    None if there is no reference, or if the message does not exist and `fail_if_not_exists` is false.
    """
    if reference is None:
        return None
    path: FieldPath = ["message_reference"]
    wanted = fields.read_object(reference, path)
    if wanted.get("type") is not None:
        fields.check_choice(wanted["type"], [*path, "type"], (_REPLY, _FORWARD))
    elsewhere = wanted.get("channel_id")
    if wanted.get("type") == _FORWARD:
        if elsewhere is None:
            raise required_error([*path, "channel_id"])
        raise invalid_form_error([*path, "type"], "UNSUPPORTED", "Only replies of the bot are simulated: the type must be 0.")
    if not world.bot_may(channel, Permission.READ_MESSAGE_HISTORY):
        raise ApiError(403, 160002, "Cannot reply without permission to read message history")
    if elsewhere is not None and fields.read_snowflake(elsewhere, [*path, "channel_id"]) != channel.id:
        raise invalid_form_error(path, "REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", "Cannot reply to a message in another channel")
    found = channel.messages.get(fields.read_snowflake(wanted.get("message_id"), [*path, "message_id"]))
    if found is None and fields.read_boolean(wanted.get("fail_if_not_exists", True), [*path, "fail_if_not_exists"]):
        raise invalid_form_error(path, "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
    return found


class RestMessages(AuthenticatedRest):
    """The calls that create, edit and delete messages and reactions."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this class."""
        messages = f"{API_PREFIX}/channels/{{channel}}/messages"
        reaction = f"{messages}/{{message}}/reactions/{{emoji}}/@me"
        return [
            web.post(messages, self.create_message),
            web.patch(f"{messages}/{{message}}", self.edit_message),
            web.delete(f"{messages}/{{message}}", self.delete_message),
            web.put(reaction, self.create_reaction),
            web.delete(reaction, self.delete_own_reaction),
        ]

    async def create_message(self, request: web.Request) -> web.Response:
        """Create a message of the bot. With `enforce_nonce`, return an earlier message with the same nonce instead."""
        channel, body = self.find_channel(request), await read_body(request)
        self._check_may_write(channel, body)
        message = self.world.new_message(channel, self.world.bot)
        message.flags = fields.read_integer(body.payload.get("flags"), ["flags"]) & SETTABLE_FLAGS
        message.reference = find_referenced_message(self.world, channel, body.payload.get("message_reference"))
        message.nonce = _read_nonce(body)
        enforced = fields.read_boolean(body.payload.get("enforce_nonce"), ["enforce_nonce"])
        if enforced and message.nonce is not None and (same := self._find_same_nonce(message)) is not None:
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
        edit_own_message(self.world, message, body)
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
        if channel.kind in WITHOUT_MESSAGES:
            raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
        if channel.recipient is not None:
            if not accepts_dms(self.world, channel.recipient):
                raise cannot_dm_error()
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
