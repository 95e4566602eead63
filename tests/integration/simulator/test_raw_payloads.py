"""Messages whose payload a test gives: shown exactly so by the gateway, by REST and by interactions, readable or not."""

import json
from typing import Any

import aiohttp
import pytest
from disnake.ext import commands

from infra.sandbox.simulator import Channel, Member, Message, Simulator
from tests.support.gateway import RecordingBot, log_in, png_file

GALLERY = [{"type": 12, "id": 2, "items": [{"media": {"url": "https://example.org/x.png"}, "description": None, "spoiler": False}]}]


class MenuCog(commands.Cog):
    """The command of a message's menu."""

    @commands.message_command(name="Find this map")
    async def find_this(self, inter: Any) -> None:
        await inter.response.defer()


async def read_event(bot: RecordingBot, event: str) -> dict[str, Any]:
    """Return the payload of the next event with a name, as it came over the socket."""
    while True:
        frame = json.loads(await bot.next("socket_raw_receive"))
        if frame["t"] == event:
            return dict(frame["d"])


async def read_everywhere(sim: Simulator, http: aiohttp.ClientSession, message: Message) -> list[dict[str, Any]]:
    """Return the payload of a message in a page of the history, and alone."""
    url = f"{sim.api_base}/channels/{message.channel.id}/messages"
    [listed] = [each for each in await (await http.get(url)).json() if each.get("content") != "a plain one"]
    return [listed, await (await http.get(f"{url}/{message.id}")).json()]


@pytest.mark.parametrize(
    ("fields", "without"),
    [
        ({"components": GALLERY, "flags": 1 << 15}, []),
        ({"attachments": None}, []),
        ({"attachments": [{"id": "1"}], "embeds": "none"}, []),
        ({"type": "loud", "something_new": {"a": 1}}, ["author"]),
        ({"message_snapshots": [{}, None, {"message": "?"}], "referenced_message": "?"}, []),
        ({"message_snapshots": "?"}, []),
        ({}, ["id", "channel_id", "member", "timestamp"]),
    ],
)
async def test_a_payload_is_shown_exactly_as_it_was_given(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession, fields: dict[str, Any], without: list[str]
) -> None:
    async with log_in(sim, cog=MenuCog(), enable_debug_events=True) as bot:
        before = await sim.post(channel, steve, "a plain one")
        plain = await read_event(bot, "MESSAGE_CREATE")
        message = await sim.post_payload(channel, fields, by=steve, without=without)
        after = await sim.post(channel, steve, "a plain one")
        own = {"id": str(message.id), "timestamp": message.posted_at.isoformat(), "content": ""}
        expected = {key: value for key, value in (plain | own | fields).items() if key not in without}
        assert await read_event(bot, "MESSAGE_CREATE") == expected
        in_rest = {key: value for key, value in expected.items() if key not in ("guild_id", "member")}
        assert await read_everywhere(sim, http, message) == [in_rest] * 2
        await sim.message_command(channel, steve, "Find this map", message)
        data = (await read_event(bot, "INTERACTION_CREATE"))["data"]
        assert data["target_id"] == str(message.id)
        assert data["resolved"]["messages"][str(message.id)] == in_rest
        assert [each.id for each in channel.before(None, 3)] == [after.id, message.id, before.id]


async def test_an_edit_shows_its_own_fields_alone(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    async with log_in(sim, enable_debug_events=True) as bot:
        message = await sim.post_payload(channel, {"embeds": [{"type": "image", "url": "https://a.org/b.png"}]}, by=steve)
        created = await read_event(bot, "MESSAGE_CREATE")
        await sim.edit_payload(message, {"flags": 4}, without=["edited_timestamp"])
        edited = {key: value for key, value in created.items() if key != "edited_timestamp"} | {"embeds": [], "flags": 4}
        assert await read_event(bot, "MESSAGE_UPDATE") == edited
        in_rest = {key: value for key, value in edited.items() if key not in ("guild_id", "member")}
        assert await read_everywhere(sim, http, message) == [in_rest] * 2


async def test_a_payload_may_show_a_file_that_was_uploaded(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member
) -> None:
    shown = sim.upload_file(channel, "a map.png", png_file(5, 4)) | {"content_type": None}
    await sim.post_payload(channel, {"attachments": [shown]}, by=steve)
    [attachment] = (await bot.next("message")).attachments
    assert (attachment.filename, attachment.width, attachment.content_type) == ("a_map.png", 5, None)
    assert await attachment.read() == png_file(5, 4)


async def test_a_forwarded_payload_keeps_what_was_given(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with log_in(sim, enable_debug_events=True) as bot:
        odd = await sim.post_payload(channel, {"attachments": [{"id": "1"}], "flags": 8}, by=steve, without=["mentions"])
        await read_event(bot, "MESSAGE_CREATE")
        await sim.post(channel, steve, reference=odd, snapshot=True)
        [copied] = (await read_event(bot, "MESSAGE_CREATE"))["message_snapshots"]
        assert (copied["message"]["attachments"], copied["message"]["flags"]) == ([{"id": "1"}], 8)
        assert "mentions" not in copied["message"]


async def test_an_event_is_sent_as_a_test_changes_it(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with log_in(sim, enable_debug_events=True) as bot:
        sim.change_events(lambda event, payload: {"id": "?"} if event == "MESSAGE_CREATE" else payload)
        message = await sim.post(channel, steve, "hello")
        assert await read_event(bot, "MESSAGE_CREATE") == {"id": "?"}
        await sim.edit(message, content="hello again")
        assert (await read_event(bot, "MESSAGE_UPDATE"))["content"] == "hello again"
