"""Discord takes no answer after three seconds: one warning with the correlation id, and nothing else happens."""

from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from infra.discord.answers import buttons as custom_ids
from infra.discord.answers.buttons import build_custom_id
from infra.discord.cogs.errors import ALREADY_ACKNOWLEDGED, UNKNOWN_INTERACTION
from infra.sandbox.simulator import Interaction, Permission, Status
from tests.integration.discord.test_buttons import send_answer
from tests.support.answers import read_answer_text, say_in_english
from tests.support.fakes import MemoryJournal
from tests.support.gateway import PNG, Discord, HookCalls
from tests.support.waiting import eventually

FIRST_ANSWERS = "/api/v10/interactions/*/callback"
LATE = Status(404, code=UNKNOWN_INTERACTION)


async def use_find(discord: Discord) -> Interaction:
    return await discord.find()


async def use_find_wrongly(discord: Discord) -> Interaction:
    return await discord.simulator.slash(discord.lounge, discord.steve, "find")


async def search_in_menu(discord: Discord) -> Interaction:
    message = await discord.simulator.post(discord.lounge, discord.steve, files=[("a.png", PNG)])
    return await discord.simulator.message_command(discord.lounge, discord.steve, "Find this map", message)


async def search_with_words(discord: Discord) -> Interaction:
    return await discord.simulator.slash(discord.lounge, discord.steve, "find-text", options={"query": "dragon"})


async def list_alerts(discord: Discord) -> Interaction:
    return await discord.simulator.slash(discord.lounge, discord.steve, "alerts")


async def ask_about_privacy(discord: Discord) -> Interaction:
    return await discord.simulator.slash(discord.lounge, discord.steve, "privacy")


async def change_settings(discord: Discord) -> Interaction:
    managers = discord.simulator.add_role(discord.guild, "managers", Permission.MANAGE_GUILD)
    manager = discord.simulator.add_member(discord.guild, "Mo", [managers])
    return await discord.simulator.slash(discord.lounge, manager, "archive settings")


WAYS = (use_find, use_find_wrongly, search_in_menu, search_with_words, list_alerts, ask_about_privacy, change_settings)

BUTTONS = {
    "page": build_custom_id(custom_ids.BROWSE, "77", "1", "piece", "1", "0"),
    "vote": build_custom_id(custom_ids.VOTE, "77", "9", "1"),
    "alert": build_custom_id(custom_ids.ALERT, "77"),
    "cancelled alert": build_custom_id(custom_ids.CANCEL_ALERT, "1", "77"),
    "forget": build_custom_id(custom_ids.FORGET, "yes", "1"),
    "old": "ms0:more:1",
}


async def expect_one_warning(discord: Discord, use: Callable[[Discord], Awaitable[Interaction]], hook_calls: HookCalls) -> None:
    """Use the bot while Discord takes no first answer, and check what is logged."""
    with capture_logs() as lines:
        interaction = await use(discord)
        await eventually(lambda: any(line["event"] == "interaction_answered_too_late" for line in lines))
        # The next interaction is handled after whatever is left of this one.
        discord.simulator.faults.clear()
        await read_answer_text(discord, await ask_about_privacy(discord))
    (warning,) = [line for line in lines if line["log_level"] in ("warning", "error", "critical")]
    assert warning["event"] == "interaction_answered_too_late"
    assert warning["correlation_id"] == f"interaction-{interaction.id}"
    assert "exc_info" not in warning
    assert interaction.token not in str(lines)
    assert hook_calls.malformed == []


@pytest.mark.parametrize("use", WAYS)
async def test_a_command_that_is_answered_too_late_is_one_warning(
    discord: Discord, hook_calls: HookCalls, use: Callable[[Discord], Awaitable[Interaction]]
) -> None:
    discord.simulator.faults.add(LATE, FIRST_ANSWERS, times=None)
    await expect_one_warning(discord, use, hook_calls)


@pytest.mark.parametrize("code", [UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED])
@pytest.mark.parametrize("button", BUTTONS)
async def test_a_button_that_is_answered_too_late_is_one_warning(
    discord: Discord, hook_calls: HookCalls, button: str, code: int
) -> None:
    message = await send_answer(discord, BUTTONS[button])
    discord.simulator.faults.add(Status(404 if code == UNKNOWN_INTERACTION else 400, code=code), FIRST_ANSWERS, times=None)

    async def press(discord: Discord) -> Interaction:
        return await discord.simulator.press(message, discord.steve, BUTTONS[button])

    await expect_one_warning(discord, press, hook_calls)


async def test_a_late_search_is_not_recorded_and_does_not_count_as_running(
    discord: Discord, journal: MemoryJournal, hook_calls: HookCalls
) -> None:
    discord.simulator.faults.add(LATE, FIRST_ANSWERS, times=None)
    for _ in range(3):
        await expect_one_warning(discord, use_find, hook_calls)
        discord.simulator.faults.add(LATE, FIRST_ANSWERS, times=None)
    assert journal.facts == []
    discord.simulator.faults.clear()
    assert await read_answer_text(discord, await use_find_wrongly(discord)) == say_in_english("asking-image-or-link")
