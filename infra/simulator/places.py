"""How guilds, channels and threads look on the wire."""

from typing import Any

from infra.simulator import payloads
from infra.simulator.errors import JSON
from infra.simulator.model import CATEGORY, DIRECT, FORUM, PRIVATE_THREAD, Channel, Guild, Member
from infra.simulator.permissions import Permission, permissions_in
from infra.simulator.snowflake import time_of

_ARCHIVE_AFTER_MINUTES = 4320


def channel(item: Channel, bot: Member | None = None) -> JSON:
    """A channel object of any type; a thread tells of the bot's membership if it has joined."""
    if item.kind == DIRECT:
        return _direct(item)
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
    return shared if item.kind == CATEGORY else shared | _messages(item) | (_FORUM if item.kind == FORUM else {})


def thread(item: Channel, bot: Member | None = None) -> JSON:
    """A thread object."""
    parent, changed = item.parent, item.archive_changed_at or time_of(item.id)
    if parent is None:
        raise ValueError(f"{item.name} is not a thread")
    metadata: JSON = {
        "archived": item.archived,
        "archive_timestamp": changed.isoformat(),
        "auto_archive_duration": _ARCHIVE_AFTER_MINUTES,
        "locked": item.locked,
        "create_timestamp": time_of(item.id).isoformat(),
    }
    payload: JSON = {
        "id": str(item.id),
        "type": item.kind,
        "guild_id": str(item.guild.id),
        "name": item.name,
        "parent_id": str(parent.id),
        "owner_id": str(item.owner.id if item.owner else item.guild.owner_id),
        "last_message_id": _text(item.last_message_id),
        "message_count": len(item.messages) - (item.id in item.messages),
        "total_message_sent": item.sent,
        "member_count": min(len(item.joined), 50),
        "rate_limit_per_user": 0,
        "thread_metadata": metadata | ({"invitable": True} if item.kind == PRIVATE_THREAD else {}),
        "flags": 0,
    }
    if parent.kind == FORUM:
        payload["applied_tags"] = []
    if bot is not None and bot.id in item.joined:
        payload["member"] = thread_member(item, bot.id)
    return payload


def thread_member(item: Channel, user_id: int) -> JSON:
    """Somebody's membership of a thread."""
    return {
        "id": str(item.id),
        "user_id": str(user_id),
        "join_timestamp": item.joined[user_id].isoformat(),
        "flags": 1,
        "muted": False,
        "mute_config": None,
    }


def thread_list(threads: list[Channel], bot: Member) -> JSON:
    """Threads, and the bot's memberships of them beside."""
    members = [thread_member(each, bot.id) for each in threads if bot.id in each.joined]
    return {"threads": [thread(each) for each in threads], "members": members}


def active_threads(item: Guild, bot: Member) -> list[Channel]:
    """The threads that the bot may see and that are not archived, newest first."""
    active = [each for each in item.threads.values() if not each.archived]
    visible = [each for each in active if Permission.VIEW_CHANNEL in permissions_in(each, bot)]
    return sorted(visible, key=lambda each: each.id, reverse=True)


def guild(item: Guild) -> JSON:
    """A guild object without what is in it."""
    return {
        "id": str(item.id),
        "name": item.name,
        "owner_id": str(item.owner_id),
        "roles": [payloads.role(each) for each in item.roles.values()],
        "preferred_locale": item.locale,
        **_GUILD,
    }


def created_guild(item: Guild, bot: Member) -> JSON:
    """A guild as GUILD_CREATE brings it. Without the members intent it lists one member: the bot."""
    return {
        **guild(item),
        "joined_at": bot.joined_at.isoformat(),
        "large": False,
        "member_count": len(item.members),
        "members": [payloads.member(bot)],
        "channels": [channel(each) for each in item.channels.values()],
        "threads": [_of_created_guild(each, bot) for each in active_threads(item, bot)],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def _of_created_guild(item: Channel, bot: Member) -> JSON:
    """A thread in GUILD_CREATE: its membership tells neither the thread nor the user again."""
    payload = thread(item, bot)
    if "member" in payload:
        payload["member"] = {key: value for key, value in payload["member"].items() if key not in ("id", "user_id")}
    return payload


def _direct(item: Channel) -> JSON:
    recipients = [] if item.recipient is None else [payloads.user(item.recipient)]
    return {
        "id": str(item.id),
        "type": DIRECT,
        "last_message_id": _text(item.last_message_id),
        "recipients": recipients,
        "flags": 0,
    }


def _messages(item: Channel) -> JSON:
    newest = max((each.id for each in item.guild.threads.values() if each.parent is item), default=None)
    last = newest if item.kind == FORUM else item.last_message_id
    return {"last_message_id": _text(last), "topic": None, "nsfw": item.nsfw, "rate_limit_per_user": 0}


def _text(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)


_FORUM: JSON = {
    "available_tags": [],
    "default_reaction_emoji": None,
    "default_sort_order": None,
    "default_forum_layout": 0,
    "template": "",
}
_GUILD: dict[str, Any] = {
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
    "max_members": 500000,
}
