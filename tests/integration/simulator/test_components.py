"""Buttons: pressed, answered by an update or a message, here and in direct messages, and refused as Discord refuses them."""

from collections.abc import AsyncIterator

import aiohttp
import disnake
import pytest

from contracts.errors import MapSeekError
from infra.sandbox.simulator import Button, Channel, Interaction, Member, Simulator
from tests.support.gateway import (
    BACK_BUTTON,
    LINK_BUTTON,
    NEXT_BUTTON,
    WAIT_S,
    PressCog,
    RecordingBot,
    answer_with_buttons,
    log_in,
    press_button_payload,
)


@pytest.fixture
async def bot(sim: Simulator, channel: Channel) -> AsyncIterator[RecordingBot]:
    async with log_in(sim, cog=PressCog()) as client:
        yield client


@pytest.fixture
def alex(sim: Simulator, steve: Member) -> Member:
    return sim.add_member(steve.guild, "Alex")


async def test_buttons_are_shown_with_the_answer(sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession) -> None:
    await answer_with_buttons(sim, interaction, http, BACK_BUTTON, NEXT_BUTTON, LINK_BUTTON)
    answer = await sim.answer(interaction)
    assert answer.buttons == {
        "turn:1": Button("Previous", True, None, 2, "turn:1", None),
        "turn:2": Button("Next", False, None, 1, "turn:2", None),
        LINK_BUTTON["url"]: Button("Open", False, LINK_BUTTON["url"], 5, None, None),
    }
    assert [each["id"] for each in (answer.components[0], *answer.components[0]["components"])] == [1, 2, 3, 4]


async def test_a_press_changes_the_message_for_everybody(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, channel: Channel, alex: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, BACK_BUTTON, NEXT_BUTTON)
    press = await sim.press(message, alex, "turn:2", locale="de")
    inter = await bot.next("button_click")
    assert (inter.message.id, inter.component.label, inter.author.id, inter.locale) == (
        message.id,
        "Next",
        alex.id,
        disnake.Locale.de,
    )
    assert inter.permissions.view_channel
    assert inter.app_permissions.send_messages
    answer = await sim.answer(press, timeout=WAIT_S)
    assert (answer.message, answer.content, answer.buttons, answer.edits) == (message, "page 2 for Alex", {}, 0)
    (kept,) = await bot.get_channel(channel.id).history().flatten()
    assert (kept.content, kept.edited_at is None, kept.interaction_metadata.id) == ("page 2 for Alex", False, interaction.id)


async def test_a_deferred_press_changes_the_message_later(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, steve: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, press_button_payload("later"))
    answer = await sim.answer(await sim.press(message, steve, "later"), timeout=WAIT_S)
    assert (answer.content, answer.attachments, answer.message) == ("changed later", [("t.png", b"pixels")], message)
    assert answer.deferred_after_s is not None


async def test_only_its_owner_can_press_a_private_copy(
    sim: Simulator,
    interaction: Interaction,
    bot: RecordingBot,
    channel: Channel,
    steve: Member,
    alex: Member,
    http: aiohttp.ClientSession,
) -> None:
    message = await answer_with_buttons(sim, interaction, http, press_button_payload("copy"))
    press = await sim.press(message, alex, label="Copy")
    copy = await sim.answer(press)
    assert (copy.content, copy.ephemeral, message.content) == ("your copy", True, "page 1")
    with pytest.raises(MapSeekError, match="answer to somebody else"):
        await sim.press(copy, steve, "turn:9")
    page = await sim.answer(await sim.press(copy, alex, "turn:9"), timeout=WAIT_S)
    assert (page.content, page.message, page.ephemeral) == ("page 2 for Alex", copy.message, True)
    assert len(channel.messages) == 1


async def test_the_first_follow_up_has_the_privacy_of_the_deferral(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, press_button_payload("think"))
    press = await sim.press(message, steve, "think:1")
    assert ((await sim.answer(press)).content, (await sim.answer(press)).ephemeral) == ("thought", True)
    (aloud,) = await sim.followups(press, 1)
    assert (aloud.content, aloud.ephemeral) == ("aloud", False)
    reply = await bot.get_channel(channel.id).fetch_message(aloud.message.id)
    assert (reply.type, reply.reference.message_id) == (disnake.MessageType.reply, message.id)


async def test_a_press_may_get_a_reply_and_leave_the_message(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, steve: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, press_button_payload("vote"))
    press = await sim.press(message, steve, "vote")
    (thanks,) = await sim.followups(press, 1)
    assert (thanks.content, thanks.ephemeral, message.content, press.edits) == ("thank you", True, "page 1", 0)


async def test_a_press_may_delete_the_message(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    message = await answer_with_buttons(sim, interaction, http, press_button_payload("drop"))
    await sim.press(message, steve, "drop")
    await bot.next("raw_message_delete")
    with pytest.raises(MapSeekError, match="was deleted"):
        await sim.press(message, steve, "drop")


async def test_a_button_in_a_direct_message(sim: Simulator, bot: RecordingBot, steve: Member) -> None:
    user = await bot.fetch_user(steve.id) if bot.get_user(steve.id) is None else bot.get_user(steve.id)
    assert user is not None
    await user.send("it page up", components=[disnake.ui.Button(custom_id="turn:2", label="Show")])
    (message,) = sim.direct_messages(steve)
    press = await sim.press(message, steve, label="Show")
    inter = await bot.next("button_click")
    assert (inter.guild_id, inter.guild_locale, type(inter.author), inter.context.bot_dm) == (None, None, disnake.User, True)
    assert isinstance(inter.channel, disnake.DMChannel)
    assert (await sim.answer(press)).content == "page 2 for Steve"
    with pytest.raises(MapSeekError, match="somebody else"):
        await sim.press(message, sim.add_member(steve.guild, "Alex"), "turn:2")
