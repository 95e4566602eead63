"""Payloads in which a field is missing, null or of another type: a guild is always parsed, and nobody may read more than before."""

import copy
from collections.abc import Iterator
from typing import Any

import disnake
import pytest

from infra.discord.ask.audience import may_open
from infra.discord.completion import complete_guild, complete_interaction
from infra.discord.rest.permissions import guild_from_payload
from tests.support.payloads import GUILD_PAYLOAD, MEMBER, READERS, SECRET, STRANGER, Json, member_payload

MISSING = object()
REPLACEMENTS = {"missing": MISSING, "null": None, "text": "x", "list": [None], "object": {}, "number": -1}
OPTIONAL_OVERWRITES = ("missing", "null")
"""Discord may leave out a channel's overwrites: then it has none."""


def list_fields(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every field in a payload."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from list_fields(each, (*path, key))


def replace_field(payload: Json, path: tuple[str | int, ...], value: object) -> Json:
    changed = copy.deepcopy(payload)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


def list_readable_ids(guild: disnake.Guild) -> dict[int, set[int]]:
    """Return the channels that a member with a role and one without may read."""
    found = {}
    for person, roles in ((MEMBER, [READERS]), (STRANGER, [])):
        payload: Any = member_payload(*roles, user_id=person)
        member = disnake.Member(data=payload, guild=guild, state=guild._state)
        found[person] = {each.id for each in guild.channels if may_open(each, member, age_restricted=False)}
    return found


def build_guild(payload: Json) -> disnake.Guild:
    http: Any = None
    return guild_from_payload(http, payload)


FIELDS = [path for path in list_fields(GUILD_PAYLOAD) if path != ("id",)]


@pytest.mark.parametrize("kind", REPLACEMENTS)
async def test_a_guild_is_parsed_whatever_field_discord_leaves_out(kind: str) -> None:
    before = list_readable_ids(build_guild(GUILD_PAYLOAD))
    assert SECRET in before[MEMBER]
    for path in FIELDS:
        guild = build_guild(replace_field(GUILD_PAYLOAD, path, REPLACEMENTS[kind]))
        if path[-1] == "id" and kind == "number":
            continue  # another id is another thing
        if path[-1] == "permission_overwrites" and kind in OPTIONAL_OVERWRITES:
            continue
        if path[:1] == ("channels",) and "permission_overwrites" in path[:-1] and isinstance(path[-1], int) and kind == "missing":
            continue  # one overwrite less is what a guild may have
        after = list_readable_ids(guild)
        assert all(after[person] <= before[person] for person in before), (path, kind)


async def test_what_is_complete_stays_as_it_is() -> None:
    guild = build_guild(GUILD_PAYLOAD)
    assert {each.id for each in guild.channels} == {int(each["id"]) for each in GUILD_PAYLOAD["channels"]}
    assert {each.id for each in guild.threads} == {int(each["id"]) for each in GUILD_PAYLOAD["threads"]}
    assert complete_guild(GUILD_PAYLOAD, guild._state) == complete_guild(complete_guild(GUILD_PAYLOAD, guild._state), guild._state)


async def test_an_interaction_gets_the_language_of_its_guild() -> None:
    state = build_guild(GUILD_PAYLOAD)._state
    event = {"channel_id": "5", "guild_locale": "de"}
    completed = complete_interaction(event, state)
    assert (completed["locale"], completed["channel"], completed["attachment_size_limit"]) == (
        "de",
        {"id": "5", "type": 0, "parent_id": None},
        10 * 1024 * 1024,
    )
    assert complete_interaction({"channel_id": "5"}, state)["locale"] == "en-US"
