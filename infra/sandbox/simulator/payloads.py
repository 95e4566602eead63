"""Builds Discord's JSON objects from the simulator's records, with every field that disnake reads."""

import re
from typing import Any

from infra.sandbox.simulator.fields import JSON
from infra.sandbox.simulator.message_parts import list_shown_filenames, render_component, render_embed
from infra.sandbox.simulator.model import (
    DM,
    GUILD_CATEGORY,
    IS_SPOILER,
    POST_CHANNELS,
    PRIVATE_THREAD,
    SUPPRESS_EMBEDS,
    VOICE_CHANNELS,
    Attachment,
    Channel,
    Guild,
    Interaction,
    Member,
    Message,
    Permission,
    Role,
    Sign,
    User,
    compute_permissions,
    snowflake_time,
)

_MENTION = re.compile(r"<@([!&]?)(\d+)>")
_EVERYONE = re.compile(r"@(everyone|here)\b")

MAX_FILE_SIZE_BYTES = 10 * 1024 * 1024


_SNAPSHOT_KEYS = (
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

_ARCHIVE_AFTER_MINUTES = 4320


_VOICE_FIELDS: JSON = {"bitrate": 64000, "user_limit": 0, "rtc_region": None, "video_quality_mode": 1}
_FORUM_FIELDS: JSON = {
    "available_tags": [],
    "default_reaction_emoji": None,
    "default_sort_order": None,
    "default_forum_layout": 0,
    "template": "",
}
_GUILD_FIELDS: dict[str, Any] = {
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
    "home_header": None,
    "region": "deprecated",
    "widget_enabled": False,
    "widget_channel_id": None,
    "max_presences": None,
    "max_members": 500000,
    "max_stage_video_channel_users": 50,
    "max_video_channel_users": 25,
    "nsfw": False,
}


def user(account: User) -> JSON:
    """Build a user object."""
    return {
        "id": str(account.id),
        "username": account.name if account.bot else account.name.lower(),
        "global_name": None if account.bot else account.name,
        "discriminator": "0000" if account.bot else "0",
        "avatar": None,
        "bot": account.bot,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
    }


def own_user(account: User) -> JSON:
    """Build the user object of the bot itself, with what only the account itself may see."""
    return {**user(account), "mfa_enabled": False, "locale": "en-US", "verified": True, "email": None}


def application(bot: User, flags: int, guild_count: int) -> JSON:
    """Build the application object that its own bot sees."""
    account = user(bot)
    return {
        "id": account["id"],
        "name": account["username"],
        "icon": None,
        "description": "",
        "type": None,
        "bot": account,
        "bot_public": True,
        "bot_require_code_grant": False,
        "owner": account,
        "team": None,
        "verify_key": "0" * 64,
        "flags": flags,
        "flags_new": str(flags),
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "approximate_guild_count": guild_count,
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": ["bot", "applications.commands"],
    }


def role(item: Role) -> JSON:
    """Build a role object."""
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
    """Build a member object without its user, as messages contain it."""
    return {
        "nick": member.nick,
        "avatar": None,
        "banner": None,
        "roles": [str(item.id) for item in member.roles],
        "joined_at": member.joined_at.isoformat(),
        "premium_since": None,
        "communication_disabled_until": None if member.timed_out_until is None else member.timed_out_until.isoformat(),
        "deaf": False,
        "mute": False,
        "pending": False,
        "flags": 0,
    }


def member(item: Member) -> JSON:
    """Build a member object."""
    return {**partial_member(item), "user": user(item.user)}


def attachment(item: Attachment, sign: Sign) -> JSON:
    """Build an attachment object with a URL that is signed now."""
    url = sign(item)
    payload: JSON = {
        "id": str(item.id),
        "filename": item.filename,
        "size": len(item.data),
        "url": url,
        "proxy_url": url,
        "flags": IS_SPOILER if item.spoiler else 0,
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
    """Build a message object. As on Discord, a file that an embed or a component shows is not listed as an attachment."""
    shown = list_shown_filenames(item.embeds, item.components)
    files = {each.filename: each for each in item.attachments}
    payload: JSON = {
        "id": str(item.id),
        "channel_id": str(item.channel.id),
        "author": user(item.author),
        "content": item.content,
        "timestamp": item.posted_at.isoformat(),
        "edited_timestamp": None if item.edited_at is None else item.edited_at.isoformat(),
        "tts": False,
        "attachments": [attachment(each, sign) for each in item.attachments if each.filename not in shown],
        "embeds": [] if item.flags & SUPPRESS_EMBEDS else [render_embed(each, files, sign) for each in item.embeds],
        "components": [render_component(each, files, sign) for each in item.components],
        "pinned": False,
        "type": item.kind,
        "flags": item.flags,
        **_mention_fields(item),
    }
    if item.webhook is not None:
        payload["webhook_id"] = str(item.webhook.id)
    if item.source is not None:
        payload["message_reference"] = _reference(item.source, forward=False)
    if item.nonce is not None:
        payload["nonce"] = item.nonce
    if item.reactions:
        payload["reactions"] = [_reaction(item, emoji, users) for emoji, users in item.reactions.items()]
    if item.reference is not None:
        payload |= _reference_fields(item, item.reference, sign)
    if item.interaction is not None:
        payload |= _response_fields(item, item.interaction)
    return _replace_fields(item, payload)


class GivenPayload(JSON):
    """A message object in which a test replaced or removed fields: Discord may never send such a one."""


def _replace_fields(item: Message, payload: JSON) -> JSON:
    """Return a payload of a message with the fields that a test replaced and removed."""
    if not (item.replaced or item.removed):
        return payload
    return GivenPayload({key: value for key, value in (payload | item.replaced).items() if key not in item.removed})


def guild_message(item: Message, sign: Sign) -> JSON:
    """Build a message as the gateway sends it, with its guild and the author as a member."""
    if item.channel.kind == DM:
        return message(item, sign)
    payload = message(item, sign) | {"guild_id": str(item.channel.guild.id)}
    author = item.channel.guild.members.get(item.author.id)
    return _replace_fields(item, payload if author is None else payload | {"member": partial_member(author)})


def hide_content(payload: JSON) -> JSON:
    """Return a message object as an application without the message content intent sees it."""
    hidden = type(payload)(payload | {"content": "", "attachments": [], "embeds": [], "components": []})
    replied_to, snapshots = payload.get("referenced_message"), payload.get("message_snapshots")
    if isinstance(replied_to, dict):
        hidden["referenced_message"] = hide_content(replied_to)
    if isinstance(snapshots, list):
        hidden["message_snapshots"] = [_hide_snapshot(each) for each in snapshots]
    return hidden


def _hide_snapshot(snapshot: Any) -> Any:
    """Return a snapshot without its content. One that a test gave may be anything."""
    message_in_it = snapshot.get("message") if isinstance(snapshot, dict) else None
    return {**snapshot, "message": hide_content(message_in_it)} if isinstance(message_in_it, dict) else snapshot


def _reference_fields(item: Message, target: Message, sign: Sign) -> JSON:
    """Return the fields of a reply or a forwarded message that describe the message it refers to."""
    reference = _reference(target, forward=item.snapshot is not None)
    if item.snapshot is not None:
        whole = message(item.snapshot, sign)
        copied = type(whole)({key: whole[key] for key in _SNAPSHOT_KEYS if key in whole})
        return {"message_reference": reference, "message_snapshots": [{"message": copied}]}
    there = message(target, sign) if target.id in target.channel.messages else None
    if there is not None:
        there.pop("referenced_message", None)
    return {"type": item.kind or 19, "message_reference": reference, "referenced_message": there}


def _reference(target: Message, *, forward: bool) -> JSON:
    reference: JSON = {"type": int(forward), "message_id": str(target.id), "channel_id": str(target.channel.id)}
    if target.channel.kind != DM:
        reference["guild_id"] = str(target.channel.guild.id)
    return reference


def _mention_fields(item: Message) -> JSON:
    """Return whom a message mentions: what its text names, the author that it replies to, and of these what it allows."""
    guild, allowed = item.channel.guild, item.allowed_mentions
    parsed = ("users", "roles", "everyone") if allowed is None else allowed.get("parse") or ()
    listed = {kind: set(map(str, (allowed or {}).get(kind) or ())) for kind in ("users", "roles")}
    named = [(mark == "&", number) for mark, number in _MENTION.findall(item.content)]
    users = [number for is_role, number in named if not is_role and ("users" in parsed or number in listed["users"])]
    if item.reference is not None and item.snapshot is None and (allowed is None or allowed.get("replied_user")):
        users.append(str(item.reference.author.id))
    roles = [number for is_role, number in named if is_role and ("roles" in parsed or number in listed["roles"])]
    author = guild.members.get(item.author.id)
    may_mention = author is not None and Permission.MENTION_EVERYONE in compute_permissions(item.channel, author)
    return {
        "mention_everyone": bool(may_mention and "everyone" in parsed and _EVERYONE.search(item.content)),
        "mentions": [user(guild.members[int(each)].user) for each in dict.fromkeys(users) if int(each) in guild.members],
        "mention_roles": [each for each in dict.fromkeys(roles) if int(each) in guild.roles],
    }


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
    """Return the fields of a response that describe its interaction.

    The response to a button press is a reply to the message with the button.
    """
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


def channel(item: Channel, bot: Member | None = None) -> JSON:
    """Build a channel object of any type. A thread contains the bot's membership if the bot has joined it."""
    if item.kind == DM:
        return _dm_channel(item)
    if item.is_thread:
        return thread(item, bot)
    shared: JSON = {
        "id": str(item.id),
        "type": item.kind,
        "guild_id": str(item.guild.id),
        "name": item.name,
        "position": list(item.guild.channels).index(item.id) if item.id in item.guild.channels else 0,
        "permission_overwrites": [
            {
                "id": str(overwrite.target.id),
                "type": int(isinstance(overwrite.target, Member)),
                "allow": str(int(overwrite.allow)),
                "deny": str(int(overwrite.deny)),
            }
            for overwrite in item.overwrites
        ],
        "parent_id": None if item.category is None else str(item.category.id),
        "flags": 0,
    }
    if item.kind == GUILD_CATEGORY:
        return shared
    more = _FORUM_FIELDS if item.kind in POST_CHANNELS else _VOICE_FIELDS if item.kind in VOICE_CHANNELS else {}
    return shared | _message_channel_fields(item) | more


def thread(item: Channel, bot: Member | None = None) -> JSON:
    """Build a thread object."""
    parent, changed = item.parent, item.archive_changed_at or snowflake_time(item.id)
    if parent is None:
        raise ValueError(f"{item.name} is not a thread")
    metadata: JSON = {
        "archived": item.archived,
        "archive_timestamp": changed.isoformat(),
        "auto_archive_duration": _ARCHIVE_AFTER_MINUTES,
        "locked": item.locked,
        "create_timestamp": snowflake_time(item.id).isoformat(),
    }
    payload: JSON = {
        "id": str(item.id),
        "type": item.kind,
        "guild_id": str(item.guild.id),
        "name": item.name,
        "parent_id": str(parent.id),
        "owner_id": str(item.owner.id if item.owner else item.guild.owner_id),
        "last_message_id": _optional_id(item.last_message_id),
        "message_count": len(item.messages) - (item.id in item.messages),
        "total_message_sent": item.sent,
        "member_count": min(len(item.joined), 50),
        "rate_limit_per_user": 0,
        "thread_metadata": metadata | ({"invitable": True} if item.kind == PRIVATE_THREAD else {}),
        "flags": 0,
    }
    if parent.kind in POST_CHANNELS:
        payload["applied_tags"] = []
    if bot is not None and bot.id in item.joined:
        payload["member"] = thread_member(item, bot.id)
    return payload


def thread_member(item: Channel, user_id: int) -> JSON:
    """Build a thread member object."""
    return {
        "id": str(item.id),
        "user_id": str(user_id),
        "join_timestamp": item.joined[user_id].isoformat(),
        "flags": 1,
        "muted": False,
        "mute_config": None,
    }


def thread_list(threads: list[Channel], bot: Member) -> JSON:
    """Build a list of threads with the bot's memberships of them."""
    members = [thread_member(each, bot.id) for each in threads if bot.id in each.joined]
    return {"threads": [thread(each) for each in threads], "members": members}


def active_threads(item: Guild, bot: Member) -> list[Channel]:
    """Return the active threads of a guild that the bot may see, newest first."""
    active = [each for each in item.threads.values() if not each.archived]
    visible = [each for each in active if Permission.VIEW_CHANNEL in compute_permissions(each, bot)]
    return sorted(visible, key=lambda each: each.id, reverse=True)


def guild(item: Guild) -> JSON:
    """Build a guild object without its members and channels."""
    return {
        "id": str(item.id),
        "name": item.name,
        "owner_id": str(item.owner_id),
        "roles": [role(each) for each in item.roles.values()],
        "preferred_locale": item.locale,
        **_GUILD_FIELDS,
    }


def guild_create(item: Guild, bot: Member) -> JSON:
    """Build the payload of GUILD_CREATE. Without the members intent it lists only one member, the bot."""
    return {
        **guild(item),
        "joined_at": bot.joined_at.isoformat(),
        "large": False,
        "member_count": len(item.members),
        "members": [member(bot)],
        "channels": [channel(each) for each in item.channels.values()],
        "threads": [_guild_create_thread(each, bot) for each in active_threads(item, bot)],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def _guild_create_thread(item: Channel, bot: Member) -> JSON:
    """Build a thread of GUILD_CREATE. There the membership does not repeat the ids of thread and user."""
    payload = thread(item, bot)
    if "member" in payload:
        payload["member"] = {key: value for key, value in payload["member"].items() if key not in ("id", "user_id")}
    return payload


def _dm_channel(item: Channel) -> JSON:
    recipients = [] if item.recipient is None else [user(item.recipient)]
    return {
        "id": str(item.id),
        "type": DM,
        "last_message_id": _optional_id(item.last_message_id),
        "recipients": recipients,
        "flags": 0,
    }


def _message_channel_fields(item: Channel) -> JSON:
    newest = max((each.id for each in item.guild.threads.values() if each.parent is item), default=None)
    last = newest if item.kind in POST_CHANNELS else item.last_message_id
    return {"last_message_id": _optional_id(last), "topic": None, "nsfw": item.nsfw, "rate_limit_per_user": 0}


def _optional_id(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)


def partial_channel(place: Channel, member: Member) -> JSON:
    """Build the channel object of an interaction, with the permissions of a member. A DM channel has none."""
    whole = channel(place)
    if place.kind == DM:
        return whole
    seen = {key: value for key, value in whole.items() if key not in ("permission_overwrites", "member")}
    return seen | {"permissions": str(int(compute_permissions(place, member)))}


def resolved_member(member: Member, channel: Channel) -> JSON:
    """Build the member object of an option: without the user, and with the permissions in the channel of the command."""
    partial = {key: value for key, value in partial_member(member).items() if key not in ("deaf", "mute")}
    return partial | {"permissions": str(int(compute_permissions(channel, member)))}
