"""How the records look on the wire: Discord's objects, with every field that disnake reads."""

from collections.abc import Callable

from infra.simulator.errors import JSON
from infra.simulator.model import Attachment, Channel, Guild, Interaction, Member, Message, Role, User
from infra.simulator.permissions import permissions_in

Sign = Callable[[Attachment], str]
"""Issues a fresh URL for a file."""

FILE_SIZE_LIMIT = 10 * 1024 * 1024
_SCHEME = "attachment://"
_IMAGES = ("image", "thumbnail")
_ICONS = ("author", "footer")


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


def channel(item: Channel) -> JSON:
    """A guild text channel object."""
    last = item.last_message_id
    return {
        "id": str(item.id),
        "type": 0,
        "guild_id": str(item.guild.id),
        "name": item.name,
        "position": list(item.guild.channels).index(item.id),
        "permission_overwrites": [
            {
                "id": str(overwrite.target.id),
                "type": int(isinstance(overwrite.target, Member)),
                "allow": str(int(overwrite.allow)),
                "deny": str(int(overwrite.deny)),
            }
            for overwrite in item.overwrites
        ],
        "last_message_id": None if last is None else str(last),
        "topic": None,
        "nsfw": False,
        "parent_id": None,
        "rate_limit_per_user": 0,
        "flags": 0,
    }


def guild(item: Guild, bot: Member) -> JSON:
    """A guild as GUILD_CREATE brings it when the bot joins. Without the members intent it lists one member: the bot."""
    return {
        "id": str(item.id),
        "name": item.name,
        "owner_id": str(item.owner_id),
        "joined_at": bot.joined_at.isoformat(),
        "large": False,
        "member_count": len(item.members),
        "members": [member(bot)],
        "roles": [role(each) for each in item.roles.values()],
        "channels": [channel(each) for each in item.channels.values()],
        "threads": [],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
        "emojis": [],
        "stickers": [],
        "features": [],
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "description": None,
        "vanity_url_code": None,
        "application_id": None,
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "incidents_data": None,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "max_members": 500000,
    }


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


def embedded_names(embeds: list[JSON]) -> set[str]:
    """The files that embeds show by `attachment://name`."""
    urls = [(embed.get(part) or {}).get("url") for embed in embeds for part in _IMAGES]
    urls += [(embed.get(part) or {}).get("icon_url") for embed in embeds for part in _ICONS]
    return {url.removeprefix(_SCHEME) for url in urls if url is not None and url.startswith(_SCHEME)}


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
        "embeds": [_embed(each, files, sign) for each in item.embeds],
        "components": item.components,
        "pinned": False,
        "type": 0,
        "flags": item.flags,
    }
    if item.interaction is not None:
        payload |= _response_fields(item, item.interaction)
    return payload


def guild_message(item: Message, sign: Sign) -> JSON:
    """A message as the gateway sends it, with its guild and its author's membership."""
    payload = message(item, sign) | {"guild_id": str(item.channel.guild.id)}
    author = item.channel.guild.members.get(item.author.id)
    return payload if author is None else payload | {"member": partial_member(author)}


def without_content(payload: JSON) -> JSON:
    """A message as an application without the message content intent is shown it."""
    return payload | {"content": "", "attachments": [], "embeds": [], "components": []}


def interaction(item: Interaction, application_id: int, bot: Member) -> JSON:
    """A slash command as INTERACTION_CREATE brings it."""
    where, guild_id = item.channel, str(item.channel.guild.id)
    asker = permissions_in(where, item.member)
    return {
        "id": str(item.id),
        "application_id": str(application_id),
        "type": 2,
        "token": item.token,
        "version": 1,
        "guild_id": guild_id,
        "guild": {"id": guild_id, "locale": "en-US", "features": []},
        "guild_locale": "en-US",
        "locale": "en-GB",
        "channel_id": str(where.id),
        "channel": {
            "id": str(where.id),
            "type": 0,
            "name": where.name,
            "guild_id": guild_id,
            "position": 0,
            "permissions": str(int(asker)),
        },
        "member": {**member(item.member), "permissions": str(int(asker))},
        "app_permissions": str(int(permissions_in(where, bot))),
        "attachment_size_limit": FILE_SIZE_LIMIT,
        "entitlements": [],
        "authorizing_integration_owners": {"0": guild_id},
        "context": 0,
        "data": item.data,
    }


def _embed(item: JSON, files: dict[str, Attachment], sign: Sign) -> JSON:
    shown: JSON = {"type": "rich", **item}
    for part in _IMAGES:
        url = (item.get(part) or {}).get("url") or ""
        if url.startswith(_SCHEME):
            file = files[url.removeprefix(_SCHEME)]
            signed = sign(file)
            shown[part] = {"url": signed, "proxy_url": signed, "width": file.width or 0, "height": file.height or 0}
    for part in _ICONS:
        url = (item.get(part) or {}).get("icon_url") or ""
        if url.startswith(_SCHEME):
            signed = sign(files[url.removeprefix(_SCHEME)])
            shown[part] = {**item[part], "icon_url": signed, "proxy_icon_url": signed}
    return shown


def _response_fields(item: Message, cause: Interaction) -> JSON:
    application_id = str(item.author.id)
    asker, name = user(cause.member.user), cause.command["name"]
    return {
        "type": 20 if item is cause.original else 0,
        "application_id": application_id,
        "webhook_id": application_id,
        "interaction": {"id": str(cause.id), "type": 2, "name": name, "user": asker},
        "interaction_metadata": {
            "id": str(cause.id),
            "type": 2,
            "name": name,
            "user": asker,
            "authorizing_integration_owners": {"0": str(item.channel.guild.id)},
        },
    }
