"""How the records look on the wire: Discord's objects, with every field that disnake reads."""

from infra.simulator.embeds import Sign, embedded_names, shown_embed
from infra.simulator.errors import JSON
from infra.simulator.model import DIRECT, Attachment, Interaction, Member, Message, Role, User

FILE_SIZE_LIMIT = 10 * 1024 * 1024


def user(account: User) -> JSON:
    """A user object."""
    return {
        "id": str(account.id),
        "username": account.name if account.bot else account.name.lower(),
        "global_name": None if account.bot else account.name,
        "discriminator": "0000" if account.bot else "0",
        "avatar": None,
        "bot": account.bot,
        "public_flags": 0,
    }


def role(item: Role) -> JSON:
    """A role object."""
    return {
        "id": str(item.id),
        "name": item.name,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "icon": None,
        "unicode_emoji": None,
        "position": item.position,
        "permissions": str(int(item.permissions)),
        "managed": item.managed,
        "mentionable": False,
        "flags": 0,
    }


def partial_member(member: Member) -> JSON:
    """A member object without its user, as messages carry it."""
    return {
        "nick": member.nick,
        "avatar": None,
        "roles": [str(item.id) for item in member.roles],
        "joined_at": member.joined_at.isoformat(),
        "premium_since": None,
        "communication_disabled_until": None,
        "deaf": False,
        "mute": False,
        "pending": False,
        "flags": 0,
    }


def member(item: Member) -> JSON:
    """A member object."""
    return {**partial_member(item), "user": user(item.user)}


def attachment(item: Attachment, sign: Sign) -> JSON:
    """An attachment object with a URL issued now."""
    url = sign(item)
    payload: JSON = {
        "id": str(item.id),
        "filename": item.filename,
        "size": len(item.data),
        "url": url,
        "proxy_url": url,
        "flags": 0,
    }
    optional = {
        "title": item.title,
        "description": item.description,
        "content_type": item.content_type,
        "width": item.width,
        "height": item.height,
        "ephemeral": item.ephemeral or None,
    }
    return payload | {key: value for key, value in optional.items() if value is not None}


def message(item: Message, sign: Sign) -> JSON:
    """A message object. A file that an embed shows is not listed as an attachment besides, as on Discord."""
    embedded = embedded_names(item.embeds)
    files = {each.filename: each for each in item.attachments}
    payload: JSON = {
        "id": str(item.id),
        "channel_id": str(item.channel.id),
        "author": user(item.author),
        "content": item.content,
        "timestamp": item.posted_at.isoformat(),
        "edited_timestamp": None if item.edited_at is None else item.edited_at.isoformat(),
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [attachment(each, sign) for each in item.attachments if each.filename not in embedded],
        "embeds": [shown_embed(each, files, sign) for each in item.embeds],
        "components": item.components,
        "pinned": False,
        "type": item.kind,
        "flags": item.flags,
    }
    if item.nonce is not None:
        payload["nonce"] = item.nonce
    if item.reactions:
        payload["reactions"] = [_reaction(item, emoji, users) for emoji, users in item.reactions.items()]
    if item.reference is not None:
        payload |= _reference_fields(item, item.reference, sign)
    if item.interaction is not None:
        payload |= _response_fields(item, item.interaction)
    return payload


def guild_message(item: Message, sign: Sign) -> JSON:
    """A message as the gateway sends it, with its guild and its author's membership."""
    if item.channel.kind == DIRECT:
        return message(item, sign)
    payload = message(item, sign) | {"guild_id": str(item.channel.guild.id)}
    author = item.channel.guild.members.get(item.author.id)
    return payload if author is None else payload | {"member": partial_member(author)}


def without_content(payload: JSON) -> JSON:
    """A message as an application without the message content intent is shown it."""
    hidden = payload | {"content": "", "attachments": [], "embeds": [], "components": []}
    if payload.get("referenced_message"):
        hidden["referenced_message"] = without_content(payload["referenced_message"])
    if "message_snapshots" in payload:
        hidden["message_snapshots"] = [{"message": without_content(each["message"])} for each in payload["message_snapshots"]]
    return hidden


_SNAPSHOT = (
    "type",
    "content",
    "embeds",
    "attachments",
    "timestamp",
    "edited_timestamp",
    "flags",
    "mentions",
    "mention_roles",
    "components",
)


def _reference_fields(item: Message, target: Message, sign: Sign) -> JSON:
    """What a reply or a forwarded message tells of the message it refers to."""
    reference: JSON = {"type": int(item.snapshot is not None), "message_id": str(target.id), "channel_id": str(target.channel.id)}
    if target.channel.kind != DIRECT:
        reference["guild_id"] = str(target.channel.guild.id)
    if item.snapshot is not None:
        copied = message(item.snapshot, sign)
        return {"message_reference": reference, "message_snapshots": [{"message": {key: copied[key] for key in _SNAPSHOT}}]}
    there = message(target, sign) if target.id in target.channel.messages else None
    if there is not None:
        there.pop("referenced_message", None)
    return {"type": item.kind or 19, "message_reference": reference, "referenced_message": there}


def _reaction(item: Message, emoji: str, users: set[int]) -> JSON:
    accounts = item.channel.guild.members
    return {
        "emoji": {"id": None, "name": emoji},
        "count": len(users),
        "count_details": {"burst": 0, "normal": len(users)},
        "burst_colors": [],
        "me": any(accounts[each].user.bot for each in users if each in accounts),
        "me_burst": False,
    }


def _response_fields(item: Message, cause: Interaction) -> JSON:
    """What tells of the interaction that a message answers. The answer to a press is a reply to the message with the button."""
    application_id, asker = str(item.author.id), user(cause.user)
    installed = {"0": "0" if cause.member is None else str(item.channel.guild.id)}
    metadata: JSON = {"id": str(cause.id), "type": cause.kind, "user": asker, "authorizing_integration_owners": installed}
    if item is not cause.original and cause.original is not None:
        metadata["original_response_message_id"] = str(cause.original.id)
    payload: JSON = {"application_id": application_id, "webhook_id": application_id, "interaction_metadata": metadata}
    if cause.message is not None:
        metadata["interacted_message_id"] = str(cause.message.id)
        return payload
    metadata["name"] = cause.name
    named = {"id": str(cause.id), "type": cause.kind, "name": cause.name, "user": asker}
    return payload | {"type": 20 if item is cause.original else 0, "interaction": named}
