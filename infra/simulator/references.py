"""What a message of the bot may refer to, and whom it may mention."""

from typing import Any

from infra.simulator import fields
from infra.simulator.access import snowflake
from infra.simulator.errors import JSON, ApiError, invalid_form
from infra.simulator.model import Channel, Message
from infra.simulator.permissions import Permission
from infra.simulator.world import World

_PARSED = ("roles", "users", "everyone")
_LISTED = 100


def referenced(world: World, channel: Channel, reference: Any) -> Message | None:
    """The message that is replied to; None if there is no reference, or it need not exist and does not. Raises ApiError."""
    if reference is None:
        return None
    path: fields.Path = ["message_reference"]
    wanted = fields.obj(reference, path)
    if wanted.get("type") not in (None, 0):
        raise invalid_form([*path, "type"], "BASE_TYPE_CHOICES", "Only replies are simulated: the type must be 0.")
    if not world.bot_may(channel, Permission.READ_MESSAGE_HISTORY):
        raise ApiError(403, 160002, "Cannot reply without permission to read message history")
    elsewhere = wanted.get("channel_id")
    if elsewhere is not None and snowflake(str(elsewhere), "channel_id") != channel.id:
        raise invalid_form(path, "REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", "Cannot reply to a message in another channel")
    found = channel.messages.get(snowflake(str(wanted.get("message_id")), "message_id"))
    if found is None and wanted.get("fail_if_not_exists", True):
        raise invalid_form(path, "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
    return found


def check_mentions(payload: JSON) -> None:
    """Refuse `allowed_mentions` that contradict themselves. Raises ApiError 400."""
    path: fields.Path = ["allowed_mentions"]
    allowed = fields.obj(payload.get("allowed_mentions"), path)
    parsed = fields.items(allowed.get("parse"), [*path, "parse"], len(_PARSED))
    for index, kind in enumerate(parsed):
        if kind not in _PARSED:
            raise invalid_form([*path, "parse", index], "BASE_TYPE_CHOICES", f"Value must be one of {_PARSED}.")
    for kind in ("roles", "users"):
        if fields.items(allowed.get(kind), [*path, kind], _LISTED) and kind in parsed:
            message = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            raise invalid_form(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)
