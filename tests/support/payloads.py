"""Minimal payloads of Discord that disnake can read: a guild with channels and threads, messages and members."""

from datetime import UTC, datetime
from typing import Any

import disnake

GUILD, MEMBER, OWNER, STRANGER = 100, 300, 301, 302
EVERYONE, READERS = GUILD, 110
CATEGORY, OPEN, SECRET, STAFF, FORUM = 200, 201, 202, 203, 204
MESSAGE = disnake.utils.time_snowflake(datetime(2024, 3, 1, 12, 30, tzinfo=UTC))
VIEW, HISTORY, MANAGE_THREADS = 1 << 10, 1 << 16, 1 << 34

Json = dict[str, Any]


def user(user_id: int = MEMBER, **fields: Any) -> Json:
    return {"id": str(user_id), "username": "steve", "global_name": "Steve", "discriminator": "0", "avatar": None, **fields}


def role(role_id: int, permissions: int) -> Json:
    return {
        "id": str(role_id),
        "name": str(role_id),
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "color": 0,
        "hoist": False,
        "position": 0,
        "permissions": str(permissions),
        "managed": False,
        "mentionable": False,
    }


def channel(channel_id: int, kind: int = 0, parent: int | None = CATEGORY, **deny_or_allow: int) -> Json:
    overwrites = [{"id": str(EVERYONE), "type": 0, "allow": "0", "deny": str(deny_or_allow.get("deny", 0))}]
    if allow := deny_or_allow.get("allow"):
        overwrites.append({"id": str(READERS), "type": 0, "allow": str(allow), "deny": "0"})
    return {
        "id": str(channel_id),
        "type": kind,
        "name": str(channel_id),
        "position": 0,
        "parent_id": str(parent) if parent else None,
        "permission_overwrites": overwrites,
        "available_tags": [],
    }


def thread(thread_id: int, parent: int, kind: int = 11) -> Json:
    return {
        "id": str(thread_id),
        "guild_id": str(GUILD),
        "parent_id": str(parent),
        "owner_id": str(OWNER),
        "type": kind,
        "name": str(thread_id),
        "message_count": 1,
        "member_count": 1,
        "rate_limit_per_user": 0,
        "thread_metadata": {
            "archived": False,
            "auto_archive_duration": 60,
            "archive_timestamp": "2024-03-01T00:00:00+00:00",
            "locked": False,
        },
    }


GUILD_PAYLOAD: Json = {
    "id": str(GUILD),
    "name": "G",
    "owner_id": str(OWNER),
    "roles": [role(EVERYONE, VIEW | HISTORY), role(READERS, 0), role(111, MANAGE_THREADS)],
    "channels": [
        channel(CATEGORY, kind=4, parent=None),
        channel(OPEN),
        channel(SECRET, deny=VIEW, allow=VIEW),
        channel(STAFF, deny=HISTORY),
        channel(FORUM, kind=15, parent=None),
    ],
    "threads": [
        thread(401, OPEN),
        thread(402, SECRET),
        thread(403, OPEN, kind=12),
        thread(404, OPEN, kind=12),
        thread(405, FORUM),
    ],
    "features": [],
    "emojis": [],
    "stickers": [],
    "verification_level": 0,
    "default_message_notifications": 0,
    "explicit_content_filter": 0,
    "mfa_level": 0,
    "nsfw_level": 0,
    "premium_tier": 0,
    "preferred_locale": "en-US",
    "system_channel_flags": 0,
    "afk_timeout": 60,
    "premium_progress_bar_enabled": False,
    "description": None,
}


def attachment(number: int, **fields: Any) -> Json:
    url = f"https://cdn.discordapp.com/attachments/{OPEN}/{number}/map.png?ex=1"
    return {
        "id": str(number),
        "filename": "map.png",
        "size": 10,
        "url": url,
        "proxy_url": url,
        "content_type": "image/png",
        **fields,
    }


def message_payload(attachments: list[Json] | None = None, embeds: list[Json] | None = None, **fields: Any) -> Json:
    return {
        "id": str(MESSAGE),
        "channel_id": str(OPEN),
        "author": user(),
        "content": "look",
        "edited_timestamp": None,
        "type": 0,
        "pinned": False,
        "mention_everyone": False,
        "tts": False,
        "attachments": attachments or [],
        "embeds": embeds or [],
        **fields,
    }


def member_payload(*roles: int, user_id: int = MEMBER) -> Json:
    return {"user": user(user_id), "roles": [str(each) for each in roles], "joined_at": "2024-01-01T00:00:00+00:00", "flags": 0}
