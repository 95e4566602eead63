"""Completes payloads of Discord before disnake parses them.

disnake raises an error for a whole guild or interaction if one field of one role, channel or member in it is missing or null. So
what MapSeek does not use is left out here, and fields that Discord may leave out get the values that its documentation gives them.
What still cannot be parsed costs only itself: the role, channel or thread is skipped.

Nobody may seem to be allowed more than they are: a channel whose overwrites cannot be read is skipped, and the roles of a member
are never guessed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import disnake
import structlog
from disnake.channel import _guild_channel_factory
from disnake.state import ConnectionState

from contracts.envelope import JsonObject

log = structlog.get_logger()

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What disnake raises for a payload that it cannot parse."""

THREAD_TYPES = frozenset({10, 11, 12})
UNTOLD_LOCALE = "en-US"
DEFAULT_FILE_LIMIT = 10 * 1024 * 1024
"""The bytes that a file may have in a server without boosts."""

_GUILD_FIELDS = ("id", "name", "unavailable", "member_count")
_ROLE_FIELDS: JsonObject = {"name": "", "position": 0, "hoist": False, "managed": False, "mentionable": False, "flags": 0}
_CHANNEL_FIELDS: JsonObject = {
    "name": "",
    "position": 0,
    "flags": 0,
    "nsfw": False,
    "rate_limit_per_user": 0,
    "default_auto_archive_duration": 1440,
    "bitrate": 0,
    "user_limit": 0,
}
_THREAD_FIELDS: JsonObject = {"name": "", "flags": 0, "rate_limit_per_user": 0, "message_count": 0, "member_count": 0}
_USER_FIELDS: JsonObject = {"username": "", "discriminator": "0", "bot": False, "system": False, "public_flags": 0}
_MEMBER_FIELDS: JsonObject = {"flags": 0, "pending": False, "deaf": False, "mute": False}
_FILE_FIELDS: JsonObject = {"filename": "", "size": 0}
_EMPTY_MESSAGE: JsonObject = {
    "content": "",
    "attachments": [],
    "embeds": [],
    "mentions": [],
    "edited_timestamp": None,
    "type": 0,
    "pinned": False,
    "mention_everyone": False,
    "tts": False,
}


def complete_events(state: ConnectionState) -> None:
    """Let the client of this state complete every event that it uses before it parses it."""
    completions: Mapping[str, Callable[[Any, ConnectionState], Any]] = {
        "READY": lambda event, _: {**event, "user": complete_user(event["user"])},
        "USER_UPDATE": lambda event, _: complete_user(event),
        "GUILD_CREATE": complete_guild,
        "GUILD_UPDATE": _complete_guild_update,
        "GUILD_ROLE_CREATE": lambda event, _: {**event, "role": complete_role(event["role"])},
        "GUILD_ROLE_UPDATE": lambda event, _: {**event, "role": complete_role(event["role"])},
        "GUILD_MEMBER_UPDATE": lambda event, _: {**complete_member(event), "guild_id": event["guild_id"]},
        "CHANNEL_CREATE": lambda event, _: complete_channel(event),
        "CHANNEL_UPDATE": _complete_channel_update,
        "THREAD_CREATE": lambda event, _: complete_thread(event),
        "THREAD_UPDATE": lambda event, _: complete_thread(event),
        "THREAD_LIST_SYNC": _complete_thread_list,
    }

    def build_parser(parse: Callable[[Any], None], complete: Callable[[Any, ConnectionState], Any]) -> Callable[[Any], None]:
        return lambda event: parse(complete(event, state))

    for name, complete in completions.items():
        state.parsers[name] = build_parser(state.parsers[name], complete)
    parse_interaction = state.parsers["INTERACTION_CREATE"]
    state.parsers["INTERACTION_CREATE"] = lambda event: _parse_interaction(parse_interaction, event, state)


def complete_guild(guild: Any, state: ConnectionState) -> Any:
    """Return a guild with those of its roles, channels, threads and members that can be parsed.

    A guild without the role of all its members gets one that permits nothing.
    """
    home = _bare_guild(guild["id"], state)
    completed = {name: guild[name] for name in _GUILD_FIELDS if guild.get(name) is not None}
    completed |= {"owner_id": _id(guild.get("owner_id")), **_take(guild, {"preferred_locale": UNTOLD_LOCALE})}
    roles = list_readable("role", guild.get("roles"), lambda item: _try_role(complete_role(item), home, state))
    if not any(str(role["id"]) == str(guild["id"]) for role in roles):
        roles.append(complete_role({"id": guild["id"]}))
    completed["roles"] = roles
    completed["channels"] = list_readable("channel", guild.get("channels"), lambda item: try_channel(item, home))
    completed["threads"] = list_readable("thread", guild.get("threads"), lambda item: try_thread(item, home))
    completed["members"] = list_readable("member", guild.get("members"), lambda item: _try_member(item, home, state))
    return completed


def list_readable(what: str, items: Any, attempt: Callable[[Any], JsonObject]) -> list[Any]:
    """Return the completed items, without those that cannot be parsed."""
    readable = []
    for item in items if isinstance(items, list) else ():
        try:
            readable.append(attempt(item))
        except UNREADABLE as error:
            item_id = item.get("id") if isinstance(item, dict) else None
            log.warning("discord_object_skipped", kind=what, object_id=item_id, error=f"{type(error).__name__}: {error}")
    return readable


def _bare_guild(guild_id: Any, state: ConnectionState) -> disnake.Guild:
    """Return a guild of which only the id is known, to try whether something of it can be parsed."""
    payload: Any = {"id": guild_id}
    return disnake.Guild(data=payload, state=state)


def _try_role(role: Any, home: disnake.Guild, state: ConnectionState) -> Any:
    disnake.Role(guild=home, state=state, data=role)
    return role


def try_channel(channel: Any, home: disnake.Guild) -> Any:
    """Return a completed channel. Raises one of UNREADABLE if disnake cannot parse it."""
    completed = complete_channel(channel)
    kind, _ = _guild_channel_factory(completed["type"])
    if kind is not None:
        kind(guild=home, state=home._state, data=completed)
    return completed


def try_thread(thread: Any, home: disnake.Guild) -> Any:
    """Return a completed thread. Raises one of UNREADABLE if disnake cannot parse it."""
    completed = complete_thread(thread)
    disnake.Thread(guild=home, state=home._state, data=completed)
    return completed


def _try_member(member: Any, home: disnake.Guild, state: ConnectionState) -> Any:
    completed = complete_member(member)
    disnake.Member(guild=home, state=state, data=completed)
    return completed


def complete_role(role: Any) -> Any:
    """Return a role with every field that disnake needs. Without permissions it permits nothing."""
    colors = _dict(role.get("colors"))
    return {
        **_take(role, _ROLE_FIELDS),
        "id": role["id"],
        "permissions": _number(role.get("permissions")),
        "colors": {
            "primary_color": _int(colors.get("primary_color")) or _int(role.get("color")) or 0,
            "secondary_color": _int(colors.get("secondary_color")),
            "tertiary_color": _int(colors.get("tertiary_color")),
        },
    }


def complete_channel(channel: Any) -> Any:
    """Return a channel with every field that disnake needs. Raises one of UNREADABLE if an overwrite cannot be read."""
    overwrites = channel.get("permission_overwrites")
    if not isinstance(overwrites, (list, type(None))):
        raise TypeError("the overwrites are no list")
    return {
        **_take(channel, _CHANNEL_FIELDS),
        **{name: channel[name] for name in ("guild_id", "permissions") if name in channel},
        "id": channel["id"],
        "type": channel["type"],
        "parent_id": _id(channel.get("parent_id")),
        "last_message_id": _id(channel.get("last_message_id")),
        "permission_overwrites": [_complete_overwrite(each) for each in overwrites or ()],
    }


def _complete_overwrite(overwrite: Any) -> JsonObject:
    allow, deny = int(overwrite.get("allow") or 0), int(overwrite["deny"])
    if allow < 0 or deny < 0:
        raise ValueError("permissions are not negative")
    return {"id": str(int(overwrite["id"])), "type": int(overwrite["type"]), "allow": str(allow), "deny": str(deny)}


def complete_thread(thread: Any) -> Any:
    """Return a thread with every field that disnake needs. One without a time was archived when it began."""
    metadata = _dict(thread.get("thread_metadata"))
    began = disnake.utils.snowflake_time(int(thread["id"])).isoformat()
    member = _dict(thread.get("member"))
    return {
        **_take(thread, _THREAD_FIELDS),
        **{name: thread[name] for name in ("guild_id", "permissions", "newly_created") if name in thread},
        **({"member": {"flags": 0, **member}} if isinstance(member.get("join_timestamp"), str) else {}),
        "id": thread["id"],
        "type": thread["type"],
        "parent_id": thread["parent_id"],
        "owner_id": _id(thread.get("owner_id")),
        "last_message_id": _id(thread.get("last_message_id")),
        "thread_metadata": {
            **_take(metadata, {"archived": False, "auto_archive_duration": 1440, "locked": False, "invitable": True}),
            "archive_timestamp": _time(metadata.get("archive_timestamp")) or began,
            "create_timestamp": _time(metadata.get("create_timestamp")),
        },
    }


def complete_user(user: Any) -> Any:
    """Return an account with every field that disnake needs."""
    names = {name: user[name] for name in ("global_name", "avatar") if isinstance(user.get(name), str)}
    return {**user, **_take(user, _USER_FIELDS), "avatar": None, **_take_none(user, *_UNUSED_OF_USERS), **names, "id": user["id"]}


_UNUSED_OF_USERS = ("banner", "accent_color", "avatar_decoration_data", "collectibles", "primary_guild", "global_name")


def complete_member(member: Any) -> Any:
    """Return a member with every field that disnake needs, except for the roles: without them nobody can tell what is permitted."""
    return {
        **{name: member[name] for name in ("permissions", "nick", "avatar") if isinstance(member.get(name), str)},
        **_take(member, _MEMBER_FIELDS),
        **({"user": complete_user(member["user"])} if "user" in member else {}),
        "nick": member.get("nick") if isinstance(member.get("nick"), str) else None,
        "roles": member["roles"],
        "joined_at": _time(member.get("joined_at")),
        "premium_since": None,
        "communication_disabled_until": member.get("communication_disabled_until"),
    }


def _complete_guild_update(guild: Any, state: ConnectionState) -> Any:
    """Complete a change of a guild. It has no channels: those that are known stay."""
    completed = complete_guild({**guild, "roles": list(guild["roles"])}, state)
    return {name: value for name, value in completed.items() if name in guild}


def _complete_channel_update(channel: Any, state: ConnectionState) -> Any:
    """Complete a change of a channel. If it cannot be read, nobody can tell who may read the channel now: it is forgotten."""
    try:
        return try_channel(channel, _bare_guild(channel["guild_id"], state))
    except UNREADABLE:
        guild = state._get_guild(_int(channel.get("guild_id")))
        known = guild.get_channel(int(channel["id"])) if guild is not None else None
        if guild is not None and known is not None:
            guild._remove_channel(known)
        raise


def _complete_thread_list(event: Any, state: ConnectionState) -> Any:
    home = _bare_guild(event["guild_id"], state)
    completed = {**event, "threads": list_readable("thread", event.get("threads"), lambda item: try_thread(item, home))}
    known = {str(thread["id"]) for thread in completed["threads"]}
    members = [each for each in event.get("members") or () if str(each.get("id")) in known and each.get("join_timestamp")]
    return {**completed, "members": [{"flags": 0, **each} for each in members]}


def _parse_interaction(parse: Callable[[Any], None], event: Any, state: ConnectionState) -> None:
    """Parse an interaction. The messages in it are parsed without what they show, and are there as Discord sent them afterwards.

    disnake only creates the tasks of listeners meanwhile, so every listener sees the messages of Discord.
    """
    completed = complete_interaction(event, state)
    resolved = _dict(_dict(completed.get("data")).get("resolved"))
    messages = resolved.get("messages")
    if isinstance(messages, dict):
        resolved["messages"] = {
            message_id: _build_stand_in(message, message_id, completed) for message_id, message in messages.items()
        }
    parse(completed)
    if isinstance(messages, dict):
        resolved["messages"] = messages


def complete_interaction(event: Any, state: ConnectionState) -> Any:
    """Return an interaction with every field that disnake needs."""
    data = _dict(event.get("data"))
    completed = {
        **{name: value for name, value in event.items() if name not in ("entitlements", "authorizing_integration_owners")},
        "version": 1,
        "locale": next((event[name] for name in ("locale", "guild_locale") if isinstance(event.get(name), str)), UNTOLD_LOCALE),
        "guild_locale": event.get("guild_locale") if isinstance(event.get("guild_locale"), str) else None,
        "app_permissions": _number(event.get("app_permissions")),
        "attachment_size_limit": _int(event.get("attachment_size_limit")) or DEFAULT_FILE_LIMIT,
        "channel": _complete_place(event, state),
        "data": {**data, "resolved": _complete_resolved(_dict(data.get("resolved")))} if "resolved" in data else data,
    }
    if isinstance(event.get("member"), dict):
        completed["member"] = complete_member(event["member"])
    if isinstance(event.get("user"), dict):
        completed["user"] = complete_user(event["user"])
    if isinstance(event.get("message"), dict):
        completed["message"] = _build_clicked(event["message"], data, completed)
    return completed


def _complete_place(event: Any, state: ConnectionState) -> JsonObject:
    """Return the channel of an interaction. If Discord leaves it out, only its id is told, and maybe the client knows the rest."""
    place: JsonObject = _dict(event.get("channel")) or {"id": event["channel_id"]}
    guild = state._get_guild(_int(event.get("guild_id")))
    known: Any = guild.get_channel_or_thread(int(place["id"])) if guild is not None else None
    type_, parent_id = (0, None) if known is None else (known.type.value, getattr(known, "parent_id", None))
    place = {"type": type_, "parent_id": parent_id, **place}
    if guild is None:
        return place
    if place["type"] not in THREAD_TYPES:
        return complete_channel(place)  # type: ignore[no-any-return]
    # A thread whose parent nobody knows is like a channel that nobody knows: nothing is shown there.
    return complete_thread(place) if _id(place["parent_id"]) else {"id": place["id"], "type": 0}


def _complete_resolved(resolved: JsonObject) -> JsonObject:
    completers: Mapping[str, Callable[[Any], Any]] = {
        "users": complete_user,
        "members": lambda member: {name: value for name, value in complete_member(member).items() if name != "user"},
        "roles": complete_role,
        "channels": lambda item: complete_thread(item) if item["type"] in THREAD_TYPES else complete_channel(item),
        "attachments": lambda file: {**file, **_take(file, _FILE_FIELDS), "proxy_url": file.get("proxy_url") or file["url"]},
    }
    completed = dict(resolved)
    for name, complete in completers.items():
        completed[name] = {key: complete(item) for key, item in _dict(resolved.get(name)).items()}
    return completed


def _build_stand_in(message: Any, message_id: str, interaction: JsonObject) -> JsonObject:
    """Return a message with nothing in it but its ids and its author, which disnake can parse."""
    author = _dict(_dict(message).get("author"))
    return {
        **_EMPTY_MESSAGE,
        "id": message_id,
        "channel_id": _id(_dict(message).get("channel_id")) or interaction["channel"]["id"],
        "author": complete_user(author if _id(author.get("id")) else {"id": "0"}),
    }


def _build_clicked(message: Any, data: JsonObject, interaction: JsonObject) -> JsonObject:
    """Return the message of a component that was used, with that component and the message's flags."""
    used: JsonObject = {"type": data.get("component_type"), "custom_id": data.get("custom_id"), "style": 2, "options": []}
    row = [{"type": 1, "components": [used]}] if "custom_id" in data else []
    return {**_build_stand_in(message, message["id"], interaction), "flags": _int(message.get("flags")) or 0, "components": row}


def _take(payload: Mapping[str, Any], defaults: Mapping[str, Any]) -> JsonObject:
    """Return the fields that have a default; the default where a field is missing, null or of another type."""
    return {name: value if isinstance(value := payload.get(name), type(default)) else default for name, default in defaults.items()}


def _take_none(payload: Mapping[str, Any], *names: str) -> JsonObject:
    """Return the fields of a payload that are not used, as null."""
    return dict.fromkeys(name for name in names if name in payload)


def _dict(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _int(value: Any) -> int | None:
    """Return a whole number, which may be given as text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _id(value: Any) -> str | None:
    number = _int(value)
    return None if number is None else str(number)


def _number(value: Any) -> str:
    """Return permissions as Discord writes them; none if they cannot be read."""
    return str(max(0, _int(value) or 0))


def _time(value: Any) -> str | None:
    """Return a time that disnake can parse, None for anything else."""
    try:
        return value if isinstance(value, str) and disnake.utils.parse_time(value) else None
    except ValueError:
        return None
