"""Buttons under an answer, pressed through the real disnake client: what is recorded, and what the member sees at once."""

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from contracts.envelope import Origin
from contracts.events import (
    AlertCancelled,
    AlertRequested,
    AlertSet,
    Calibration,
    Person,
    SearchMatched,
    SearchVoted,
)
from infra.discord.answers import buttons as custom_ids
from infra.discord.answers.buttons import build_custom_id
from infra.discord.wording import localize
from infra.sandbox.simulator import Message, Overwrite, Permission, VisibleAnswer
from tests.support.answers import read_answer_text, say_in_english
from tests.support.facts import QUESTION
from tests.support.fakes import MemoryJournal
from tests.support.gateway import PNG, Discord, run_listening_gateway
from tests.support.waiting import eventually

CALIBRATION = Calibration(match_at=0.9, possible_at=0.8)


async def record_matches(discord: Discord, journal: MemoryJournal) -> None:
    """Record the matches of search 77."""
    fact = SearchMatched(
        guild_id=str(discord.guild.id),
        search_id="77",
        question=QUESTION,
        generation="g1",
        verdict="none",
        matches=(),
        trained=True,
    )
    await journal.record(fact, Origin("interaction-77"))


async def show_buttons(discord: Discord, interaction: Any, *pressable: str) -> Message:
    """Answer an interaction with buttons, as the reply stage does."""
    buttons = [{"type": 2, "style": 2, "label": str(number), "custom_id": each} for number, each in enumerate(pressable)]
    url = f"{discord.simulator.api_base}/webhooks/{discord.simulator.application_id}/{interaction.token}/messages/@original"
    body = {"content": "an answer", "components": [{"type": 1, "components": buttons}]}
    async with aiohttp.ClientSession() as session, session.patch(url, json=body) as response:
        assert response.status == 200, await response.text()
    answer = await discord.simulator.answer(interaction)
    return answer.message


async def send_answer(discord: Discord, *pressable: str, private: bool = True) -> Message:
    interaction = await discord.simulator.slash(
        discord.lounge, discord.steve, "find", attachments={"image": ("shot.png", PNG)}, options={"private": private}
    )
    await eventually(lambda: interaction.original)
    return await show_buttons(discord, interaction, *pressable)


@pytest.mark.usefixtures("hook_calls")
@pytest.mark.parametrize("private", [True, False])
async def test_the_asker_turns_the_page_of_their_own_answer(discord: Discord, journal: MemoryJournal, private: bool) -> None:
    page = build_custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "posts", "2", "1")
    message = await send_answer(discord, page, private=private)
    hidden = discord.gallery
    await discord.simulator.set_overwrites(hidden, [Overwrite(discord.steve, deny=Permission.VIEW_CHANNEL)])
    interaction = await discord.simulator.press(message, discord.steve, page)
    fact: Any = await eventually(lambda: next((each for each in journal.facts if each.name == "browsed"), None))
    assert interaction.callback_type == 6
    assert (fact.search_id, fact.interaction_id, fact.view, fact.piece, fact.page) == ("77", str(interaction.id), "posts", 2, 1)
    assert (fact.question.asker.id, fact.question.private) == (str(discord.steve.id), private)
    assert fact.question.readable_channels == (str(discord.lounge.id),)
    assert fact.question.reply.token == interaction.token


@pytest.mark.usefixtures("hook_calls")
async def test_another_member_gets_a_private_page(discord: Discord, journal: MemoryJournal) -> None:
    page = build_custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "piece", "1", "0")
    message = await send_answer(discord, page, private=False)
    alex = discord.simulator.add_member(discord.guild, "Alex")
    await discord.simulator.set_overwrites(discord.gallery, [Overwrite(alex, deny=Permission.READ_MESSAGE_HISTORY)])
    interaction = await discord.simulator.press(message, alex, page, locale="de")
    fact: Any = await eventually(lambda: next((each for each in journal.facts if each.name == "browsed"), None))
    assert interaction.callback_type == 5
    assert interaction.original is not None
    assert interaction.original.flags & 64
    assert (fact.question.asker.name, fact.question.private, fact.question.locale) == ("Alex", True, "de")
    assert fact.question.readable_channels == (str(discord.lounge.id),)


@pytest.mark.usefixtures("hook_calls")
@pytest.mark.parametrize("asks", ["steve", "alex"])
async def test_the_reason_for_a_match_is_shown_in_private(discord: Discord, journal: MemoryJournal, asks: str) -> None:
    why = build_custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "why", "1", "0")
    message = await send_answer(discord, why, private=False)
    presser = discord.steve if asks == "steve" else discord.simulator.add_member(discord.guild, "Alex")
    await discord.simulator.set_overwrites(discord.gallery, [Overwrite(presser, deny=Permission.VIEW_CHANNEL)])
    interaction = await discord.simulator.press(message, presser, why)
    fact: Any = await eventually(lambda: next((each for each in journal.facts if each.name == "browsed"), None))
    assert interaction.callback_type == 5
    assert interaction.original is not None
    assert interaction.original.flags & 64
    assert (fact.view, fact.piece, fact.question.private) == ("why", 1, True)
    assert (fact.question.asker.id, fact.question.readable_channels) == (str(presser.id), (str(discord.lounge.id),))


async def test_an_old_button_works_after_a_restart(discord: Discord, journal: MemoryJournal) -> None:
    page = build_custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "piece", "1", "0")
    async with run_listening_gateway(discord, journal):
        message = await send_answer(discord, page)
    async with run_listening_gateway(discord, journal):
        await discord.simulator.press(message, discord.steve, page)
        await eventually(lambda: any(fact.name == "browsed" for fact in journal.facts))


@pytest.mark.usefixtures("hook_calls")
async def test_the_answer_stays_if_its_page_cannot_be_turned(discord: Discord, journal: MemoryJournal) -> None:
    page = build_custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "piece", "1", "0")
    message = await send_answer(discord, page)
    journal.down = True
    interaction = await discord.simulator.press(message, discord.steve, page)
    (followup,) = await discord.simulator.followups(interaction, 1)
    assert (followup.content, followup.ephemeral) == (
        say_in_english("failures-unavailable", reference=f"interaction-{interaction.id}"),
        True,
    )
    assert message.content == "an answer"


@pytest.mark.usefixtures("hook_calls")
async def test_buttons_of_another_version_are_answered_with_a_sentence(discord: Discord, journal: MemoryJournal) -> None:
    strange = ("ms0:browse:1", "ms1:gone:1", build_custom_id(custom_ids.BROWSE, "77", "1", "piece", "x", "0"))
    message = await send_answer(discord, *strange)
    for pressed in strange:
        interaction = await discord.simulator.press(message, discord.steve, pressed)
        assert await read_answer_text(discord, interaction) == say_in_english("asking-button-unknown")
    assert [fact.name for fact in journal.facts] == ["requested"]


@pytest.mark.usefixtures("hook_calls")
async def test_votes_are_recorded_and_may_change(discord: Discord, journal: MemoryJournal) -> None:
    await record_matches(discord, journal)
    right, wrong = (build_custom_id(custom_ids.VOTE, "77", "88", each) for each in "10")
    message = await send_answer(discord, right, wrong)
    for pressed, word in ((right, "yes"), (wrong, "no")):
        interaction = await discord.simulator.press(message, discord.steve, pressed)
        assert await read_answer_text(discord, interaction) == say_in_english("asking-voted", right=word)
    votes: list[Any] = [fact for fact in journal.facts if fact.name == "voted"]
    assert [(vote.search_id, vote.image_id, vote.right, vote.voter.name) for vote in votes] == [
        ("77", "88", True, "Steve"),
        ("77", "88", False, "Steve"),
    ]


@pytest.mark.usefixtures("hook_calls")
@pytest.mark.parametrize("pressed", [build_custom_id(custom_ids.VOTE, "77", "88", "1"), build_custom_id(custom_ids.ALERT, "77")])
async def test_a_search_that_the_log_has_dropped_is_too_old(discord: Discord, journal: MemoryJournal, pressed: str) -> None:
    interaction = await discord.simulator.press(await send_answer(discord, pressed), discord.steve, pressed)
    assert await read_answer_text(discord, interaction) == say_in_english("answers-too-old")
    assert not any(isinstance(fact, SearchVoted | AlertRequested) for fact in journal.facts)


@pytest.mark.usefixtures("hook_calls")
async def test_an_alert_is_requested_once_until_it_is_cancelled(discord: Discord, journal: MemoryJournal) -> None:
    await record_matches(discord, journal)
    alert = build_custom_id(custom_ids.ALERT, "77")
    message = await send_answer(discord, alert)
    for _ in range(2):
        answer = await discord.simulator.answer(await discord.simulator.press(message, discord.steve, alert))
        (cancel,) = answer.buttons
    assert [fact.alert_id for fact in journal.facts if isinstance(fact, AlertRequested)] == ["77"]
    await read_answer_text(discord, await discord.simulator.press(answer, discord.steve, cancel))
    again = await discord.simulator.press(message, discord.steve, alert)
    assert await read_answer_text(discord, again) == say_in_english("asking-alert-noted")
    assert [fact.alert_id for fact in journal.facts if isinstance(fact, AlertRequested)] == ["77", str(again.id)]


async def test_an_alert_is_requested_and_cancelled(discord: Discord, journal: MemoryJournal) -> None:
    await record_matches(discord, journal)
    alex = discord.simulator.add_member(discord.guild, "Alex")
    alert = build_custom_id(custom_ids.ALERT, "77")
    async with run_listening_gateway(discord, journal):
        message = await send_answer(discord, alert)
        interaction = await discord.simulator.press(message, discord.steve, alert)
        answer = await discord.simulator.answer(interaction)
        assert (answer.content, answer.ephemeral) == (say_in_english("asking-alert-noted"), True)
        fact: Any = next(each for each in journal.facts if isinstance(each, AlertRequested))
        assert (fact.alert_id, fact.person.name, fact.search_id) == ("77", "Steve", "77")
        assert (fact.channel_id, fact.locale, fact.age_restricted) == (str(discord.lounge.id), "en-US", False)
        (cancel,) = answer.buttons
    async with run_listening_gateway(discord, journal):
        other = await discord.find(member=alex)
        await eventually(lambda: other.original)
        theft = await show_buttons(discord, other, cancel)
        assert await read_answer_text(discord, await discord.simulator.press(theft, alex, cancel)) == say_in_english(
            "asking-alert-not-yours"
        )
        pressed = await discord.simulator.press(answer, discord.steve, cancel)
        assert await read_answer_text(discord, pressed) == say_in_english("asking-alert-cancelled")
    (cancelled,) = [each for each in journal.facts if isinstance(each, AlertCancelled)]
    assert cancelled.key == fact.key


def build_alert(discord: Discord, number: int) -> AlertSet:
    return AlertSet(
        guild_id=str(discord.guild.id),
        alert_id=str(number),
        person=Person(id=str(discord.steve.id), name="Steve"),
        channel_id=str(discord.lounge.id),
        locale="en-US",
        age_restricted=False,
        requested_at=datetime(2026, 1, 1, tzinfo=UTC),
        pixels="0" * 64,
        generation="g1",
        vector=bytes(4),
        calibration=CALIBRATION,
    )


def set_alerts(discord: Discord, journal: MemoryJournal, *numbers: int) -> None:
    for number in numbers:
        journal.recorded[f"alert-{number}"] = (build_alert(discord, number), None)  # type: ignore[assignment]


async def list_alerts(discord: Discord, messages: int = 1, locale: str = "en-US") -> list[VisibleAnswer]:
    """Use /alerts. Return the answer and the messages after it."""
    interaction = await discord.simulator.slash(discord.lounge, discord.steve, "alerts", locale=locale)
    return [await discord.simulator.answer(interaction), *await discord.simulator.followups(interaction, messages - 1)]


@pytest.mark.usefixtures("hook_calls")
async def test_open_alerts_are_listed_with_buttons_to_cancel_them(discord: Discord, journal: MemoryJournal) -> None:
    await record_matches(discord, journal)
    [empty] = await list_alerts(discord)
    assert (empty.content, empty.ephemeral, empty.buttons) == (say_in_english("asking-alerts-none"), True, {})
    set_alerts(discord, journal, *range(1, 31))
    pages = await list_alerts(discord, messages=3)
    assert [(len(page.embeds), page.ephemeral) for page in pages] == [(10, True), (10, True), (5, True)]
    assert [page.content for page in pages] == [say_in_english("asking-alerts-some", count=25), "", ""]
    cancels = [build_custom_id(custom_ids.CANCEL_ALERT, str(discord.guild.id), str(number)) for number in range(1, 26)]
    assert [button for page in pages for button in page.buttons] == cancels
    assert (
        say_in_english("asking-alerts-line", number=25, since="<t:1767225600:R>", channel=f"<#{discord.lounge.id}>")
        in (pages[2].embeds[4]["description"])
    )
    pressed = build_custom_id(custom_ids.ALERT, "77")
    message = await send_answer(discord, pressed)
    interaction = await discord.simulator.press(message, discord.steve, pressed)
    assert await read_answer_text(discord, interaction) == say_in_english("asking-alerts-full", most=25)


@pytest.mark.parametrize("locale", ["en-US", "de"])
async def test_each_alert_shows_its_picture_or_says_that_it_is_gone(discord: Discord, journal: MemoryJournal, locale: str) -> None:
    async def thumbnail(alert: AlertSet) -> bytes | None:
        return None if alert.alert_id == "2" else f"picture {alert.alert_id}".encode()

    set_alerts(discord, journal, *range(1, 13))
    async with run_listening_gateway(discord, journal, alert_thumbnail=thumbnail):
        first, second = await list_alerts(discord, messages=2, locale=locale)
    assert first.content == localize(locale, "asking-alerts-some", count=12)
    assert first.attachments == [(f"alert-{number}.webp", f"picture {number}".encode()) for number in (1, *range(3, 11))]
    assert second.attachments == [(f"alert-{number}.webp", f"picture {number}".encode()) for number in (11, 12)]
    shown = [each["thumbnail"]["url"].split("?")[0].rpartition("/")[2] for each in first.embeds if "thumbnail" in each]
    assert shown == [name for name, _ in first.attachments]
    gone = [number for number, each in enumerate(first.embeds, 1) if "thumbnail" not in each]
    assert gone == [2]
    assert first.embeds[1]["description"].endswith(localize(locale, "asking-alerts-picture-gone"))
    assert localize(locale, "asking-alerts-picture-gone") not in first.embeds[0]["description"]
    assert [file.description for file in second.message.attachments] == [
        localize(locale, "asking-alerts-picture", number=number) for number in (11, 12)
    ]


async def send_direct_message(discord: Discord, button: str) -> Message:
    """Send Steve a direct message from the bot, as the notify stage does."""
    simulator = discord.simulator
    headers = {"Authorization": f"Bot {simulator.token}"}
    components = [{"type": 1, "components": [{"type": 2, "style": 2, "label": "Cancel", "custom_id": button}]}]
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(
            f"{simulator.api_base}/users/@me/channels", json={"recipient_id": str(discord.steve.id)}
        ) as response:
            channel = await response.json()
        url = f"{simulator.api_base}/channels/{channel['id']}/messages"
        async with session.post(url, json={"content": "it turned up", "components": components}) as response:
            assert response.status == 200, await response.text()
    return simulator.direct_messages(discord.steve)[-1]


@pytest.mark.usefixtures("hook_calls")
async def test_an_alert_is_cancelled_in_a_direct_message(discord: Discord, journal: MemoryJournal) -> None:
    await record_matches(discord, journal)
    alert = build_custom_id(custom_ids.ALERT, "77")
    interaction = await discord.simulator.press(await send_answer(discord, alert), discord.steve, alert)
    answer = await discord.simulator.answer(interaction)
    (cancel,) = answer.buttons
    message = await send_direct_message(discord, cancel)
    assert await read_answer_text(discord, await discord.simulator.press(message, discord.steve, cancel)) == say_in_english(
        "asking-alert-cancelled"
    )
    assert any(isinstance(fact, AlertCancelled) for fact in journal.facts)
