"""Presses that Discord's client does not allow, and responses to a press that Discord does not accept."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import disnake
import pytest

from contracts.errors import MapSeekError
from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Overwrite, Permission, Simulator
from tests.support.gateway import (
    BACK_BUTTON,
    LINK_BUTTON,
    NEXT_BUTTON,
    PressCog,
    RecordingBot,
    answer_with_buttons,
    log_in,
    png_file,
    press_button_payload,
    webhook,
)


@pytest.fixture
async def bot(sim: Simulator, channel: Channel) -> AsyncIterator[RecordingBot]:
    async with log_in(sim, cog=PressCog()) as client:
        yield client


@pytest.fixture
def alex(sim: Simulator, steve: Member) -> Member:
    return sim.add_member(steve.guild, "Alex")


async def test_a_deleted_answer_is_not_edited(
    sim: Simulator, interaction: Interaction, steve: Member, http: aiohttp.ClientSession
) -> None:
    await sim.delete(await answer_with_buttons(sim, interaction, http, NEXT_BUTTON))
    with pytest.raises(disnake.NotFound) as refused:
        await webhook(sim, http, interaction.token).edit_message("@original", content="too late")
    assert refused.value.code == 10008


@pytest.mark.parametrize(
    ("custom_id", "label", "message"),
    [
        ("turn:1", None, "'Previous' is disabled"),
        ("turn:3", None, "no button 'turn:3'"),
        ("turn", None, "2 buttons 'turn'"),
        (None, "Open", "'Open' is a link"),
        (None, "Away", "no button 'Away'"),
        (None, None, "no button"),
    ],
)
async def test_a_button_that_cannot_be_pressed_is_refused(
    sim: Simulator,
    interaction: Interaction,
    steve: Member,
    http: aiohttp.ClientSession,
    custom_id: str | None,
    label: str | None,
    message: str,
) -> None:
    with pytest.raises(MapSeekError, match=message):
        await sim.press(
            await answer_with_buttons(sim, interaction, http, BACK_BUTTON, NEXT_BUTTON, LINK_BUTTON), steve, custom_id, label=label
        )


async def test_a_member_cannot_press_a_button_that_they_do_not_see(
    sim: Simulator, interaction: Interaction, channel: Channel, steve: Member, alex: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, NEXT_BUTTON)
    await sim.set_overwrites(channel, [Overwrite(alex, deny=Permission.VIEW_CHANNEL)])
    with pytest.raises(MapSeekError, match="nor see it"):
        await sim.press(message, alex, "turn:2")
    stranger = sim.add_member(sim.add_guild("Elsewhere"), "Herobrine")
    with pytest.raises(MapSeekError, match="not asking as a member"):
        await sim.press(message, stranger, "turn:2")


async def test_an_ephemeral_message_has_no_commands_in_its_menu(
    sim: Simulator, interaction: Interaction, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    url = f"{sim.api_base}/applications/{sim.application_id}/commands"
    assert (await http.put(url, json=[{"name": "Find this map", "type": 3}])).status == 200
    copy = await sim.answer(
        await sim.press(await answer_with_buttons(sim, interaction, http, press_button_payload("copy")), steve, "copy")
    )
    with pytest.raises(MapSeekError, match="ephemeral message has no commands"):
        await sim.message_command(channel, steve, "Find this map", copy.message)


async def test_a_removed_bot_gets_no_press(
    sim: Simulator, interaction: Interaction, guild: Guild, steve: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, NEXT_BUTTON)
    await sim.remove_guild(guild)
    with pytest.raises(MapSeekError, match="no longer in Mapmakers"):
        await sim.press(message, steve, "turn:2")


async def test_a_press_can_be_answered_only_in_time_and_once(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, steve: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, press_button_payload("silent"))
    press = await sim.press(message, steve, "silent")
    url = f"{sim.api_base}/interactions/{press.id}/{press.token}/callback"

    async def respond(body: Any) -> int:
        return (await http.post(url, json=body)).status

    created = press.created_at
    sim.now = lambda: created + timedelta(seconds=3.1)
    assert await respond({"type": 6}) == 404
    sim.now = lambda: created + timedelta(seconds=1)
    assert await respond({"type": 9}) == 400
    assert await respond({"type": 7, "data": {"content": "x" * 2001}}) == 400
    assert message.content == "page 1"
    assert await respond({"type": 7, "data": {"content": "2"}}) == 204
    assert await respond({"type": 6}) == 400
    sim.now = lambda: created + timedelta(minutes=15, seconds=1)
    with pytest.raises(disnake.HTTPException) as refused:
        await webhook(sim, http, press.token).edit_message("@original", content="too late")
    assert (refused.value.status, message.content) == (401, "2")


async def test_a_command_cannot_be_answered_by_an_update(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    bot.remove_slash_command("find")
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
    url = f"{sim.api_base}/interactions/{interaction.id}/{interaction.token}/callback"
    for kind in (6, 7):
        response = await http.post(url, json={"type": kind, "data": {"content": "x"}})
        assert (response.status, (await response.json())["code"]) == (400, 50035)
