"""Payloads in which Discord leaves something out, or sends what disnake cannot parse: they cost nothing, or only themselves."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from contracts.events import ImagePosted, SearchRequested
from infra.sandbox.simulator import Overwrite, Permission
from tests.support.fakes import MemoryJournal, MemoryState, MemoryUnreadable
from tests.support.gateway import Discord, run_listening_gateway
from tests.support.waiting import eventually

Json = dict[str, Any]
Change = Callable[[Json], object]


def change_only(event_name: str, change: Change) -> Callable[[str, Json], Json]:
    """Return what changes the payloads of one kind of event."""

    def change_event(name: str, payload: Json) -> Json:
        if name != event_name:
            return payload
        changed = copy.deepcopy(payload)
        change(changed)
        return changed

    return change_event


def drop_from_all(items: str, *fields: str) -> Change:
    return lambda payload: [each.pop(field, None) for each in payload[items] for field in fields]


def null_in_all(items: str, *fields: str) -> Change:
    return lambda payload: [each.update(dict.fromkeys(fields)) for each in payload[items]]


GUILD_CHANGES: dict[str, Change] = {
    "roles without colours": drop_from_all("roles", "colors", "color"),
    "roles with null": null_in_all("roles", "colors", "position", "hoist", "flags", "tags", "mentionable", "managed"),
    "roles of another type": lambda guild: [role.update(colors=7, tags=[]) for role in guild["roles"]],
    "a role without id": lambda guild: guild["roles"].append({"name": "?"}),
    "a role that is no object": lambda guild: guild["roles"].append(None),
    "channels without fields": drop_from_all("channels", "position", "name", "nsfw", "topic", "flags"),
    "channels with null": null_in_all("channels", "position", "permission_overwrites", "flags", "nsfw", "parent_id"),
    "a channel without type": lambda guild: guild["channels"].append({"id": "5"}),
    "a channel of a new type": lambda guild: guild["channels"].append({"id": "5", "type": 99}),
    "a thread without metadata": lambda guild: guild["threads"].append({"id": "5", "type": 11, "parent_id": "6"}),
    "a thread without parent": lambda guild: guild["threads"].append({"id": "5", "type": 11}),
    "threads that are null": lambda guild: guild.update(threads=None),
    "emojis without id": lambda guild: guild.update(emojis=[{}], stickers=[{}], soundboard_sounds=[{}]),
    "other parts": lambda guild: guild.update(
        voice_states=[{}], stage_instances=[{}], guild_scheduled_events=[{}], presences=[{}], incidents_data={"x": 1}
    ),
    "no own member": lambda guild: guild.update(members=[]),
    "members that are missing": lambda guild: guild.pop("members"),
    "an own member without roles": drop_from_all("members", "roles"),
    "an own member with null": null_in_all("members", "joined_at", "flags", "nick", "avatar", "premium_since"),
    "a member without user": lambda guild: guild["members"].append({"roles": []}),
    "an own account without fields": lambda guild: [
        member.update(user={"id": member["user"]["id"]}) for member in guild["members"]
    ],
    "no details": lambda guild: [guild.pop(name, None) for name in ("features", "preferred_locale", "emojis", "name", "owner_id")],
}


@pytest.mark.parametrize("change", GUILD_CHANGES.values(), ids=GUILD_CHANGES)
async def test_a_server_is_archived_whatever_discord_leaves_out(discord: Discord, journal: MemoryJournal, change: Change) -> None:
    await discord.post("missed.png")
    discord.simulator.change_events(change_only("GUILD_CREATE", change))
    state = MemoryState()
    async with run_listening_gateway(discord, journal, state=state) as heard:
        await discord.post("live.png")
        await eventually(lambda: "live.png" in list_posts(journal))
        assert heard.malformed == []
    await discord.post("away.png")
    async with run_listening_gateway(discord, journal, state=state) as heard:
        await eventually(lambda: "away.png" in list_posts(journal))
        assert heard.malformed == []


def list_posts(journal: MemoryJournal) -> list[str]:
    return [fact.filename for fact in journal.facts if isinstance(fact, ImagePosted)]


INTERACTION_CHANGES: dict[str, Change] = {
    "no locale": lambda event: [event.pop(name) for name in ("locale", "guild_locale")],
    "null locale": lambda event: event.update(locale=None, guild_locale=None),
    "no limits": lambda event: [event.pop(name) for name in ("attachment_size_limit", "entitlements", "version", "context")],
    "entitlements": lambda event: event.update(entitlements=[{}], authorizing_integration_owners=[]),
    "no channel": lambda event: event.pop("channel"),
    "a channel without fields": lambda event: event.update(channel={"id": event["channel_id"]}),
    "an author without fields": lambda event: event["member"].update(user={"id": event["member"]["user"]["id"]}),
    "an author with null": lambda event: event["member"].update(joined_at=None, flags=None, nick=None, deaf=None),
    "permissions left out": lambda event: event.pop("app_permissions"),
}


@pytest.mark.parametrize("change", INTERACTION_CHANGES.values(), ids=INTERACTION_CHANGES)
async def test_a_search_is_taken_whatever_discord_leaves_out(discord: Discord, journal: MemoryJournal, change: Change) -> None:
    async with run_listening_gateway(discord, journal) as heard:
        discord.simulator.change_events(change_only("INTERACTION_CREATE", change))
        await discord.find()
        asked = await eventually(lambda: [fact for fact in journal.facts if isinstance(fact, SearchRequested)])
        assert str(discord.gallery.id) in (asked[0].question.readable_channels or ())
        assert heard.malformed == []


async def test_a_message_command_takes_a_message_that_disnake_cannot_parse(discord: Discord, journal: MemoryJournal) -> None:
    def change(event: Json) -> None:
        for message in event["data"]["resolved"]["messages"].values():
            for name in ("tts", "pinned", "mention_everyone", "edited_timestamp"):
                del message[name]
            message |= {"sticker_items": [None], "poll": {}, "reactions": [None], "interaction_metadata": {}}

    async with run_listening_gateway(discord, journal) as heard:
        message = await discord.post("a.png")
        discord.simulator.change_events(change_only("INTERACTION_CREATE", change))
        await discord.simulator.message_command(discord.gallery, discord.steve, "Find this map", message)
        await eventually(lambda: [fact for fact in journal.facts if isinstance(fact, SearchRequested)])
        assert heard.malformed == []


async def test_a_role_that_changes_without_colours_changes(discord: Discord, journal: MemoryJournal) -> None:
    role = discord.simulator.add_role(discord.guild, "readers", Permission.NONE)
    await discord.simulator.set_overwrites(discord.gallery, [Overwrite(discord.guild.everyone, deny=Permission.VIEW_CHANNEL)])
    await discord.simulator.set_roles(discord.steve, [role])
    async with run_listening_gateway(discord, journal) as heard:
        discord.simulator.change_events(change_only("GUILD_ROLE_UPDATE", lambda event: event["role"].pop("colors")))
        await discord.simulator.edit_role(role, Permission.ADMINISTRATOR)
        await discord.find()
        asked = await eventually(lambda: [fact for fact in journal.facts if isinstance(fact, SearchRequested)])
        assert str(discord.gallery.id) in (asked[0].question.readable_channels or ())
        assert heard.malformed == []


@pytest.mark.parametrize(
    "change",
    [
        lambda channel: channel.update(permission_overwrites=[{"id": "1"}]),
        lambda channel: channel.update(permission_overwrites="none"),
        lambda channel: channel["permission_overwrites"][0].pop("deny"),
        lambda channel: channel["permission_overwrites"][0].update(deny=None),
        lambda channel: channel["permission_overwrites"].append(None),
    ],
)
@pytest.mark.parametrize("live", [False, True], ids=["at the start", "by a change"])
async def test_a_channel_whose_overwrites_cannot_be_read_is_open_to_nobody(
    discord: Discord, journal: MemoryJournal, change: Change, live: bool
) -> None:
    secret = [Overwrite(discord.guild.everyone, deny=Permission.VIEW_CHANNEL)]

    def change_gallery(guild: Json) -> None:
        [change(each) for each in guild["channels"] if each["id"] == str(discord.gallery.id)]  # type: ignore[func-returns-value]

    discord.simulator.change_events(change_only("CHANNEL_UPDATE", change) if live else change_only("GUILD_CREATE", change_gallery))
    if not live:
        await discord.simulator.set_overwrites(discord.gallery, secret)
    async with run_listening_gateway(discord, journal):
        if live:
            await discord.simulator.set_overwrites(discord.gallery, secret)
        await discord.find()
        asked = await eventually(lambda: [fact for fact in journal.facts if isinstance(fact, SearchRequested)])
        assert str(discord.gallery.id) not in (asked[0].question.readable_channels or ())
        assert str(discord.lounge.id) in (asked[0].question.readable_channels or ())


async def test_a_message_that_was_put_back_is_read_again(discord: Discord, journal: MemoryJournal) -> None:
    kept = MemoryUnreadable()
    async with run_listening_gateway(discord, journal, unreadable=kept):
        broken = change_only("MESSAGE_CREATE", lambda message: message.update(attachments="none"))
        discord.simulator.change_events(broken)
        message = await discord.post("a.png")
        gone = await discord.post("gone.png")
        await eventually(lambda: len(kept.kept) == 2)
        await discord.simulator.delete(gone)
        for each in (message, gone):
            kept.put_back(str(discord.guild.id), str(each.id))
        await eventually(lambda: list_posts(journal) == ["a.png"])
        await eventually(lambda: not kept.waiting)
        assert kept.kept == {}
